"""Parameter groups and the optimizer; schedules are in `engine.schedules`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmlab.engine.checkpoint import CheckpointError
from lmlab.engine.distributed import share_like, whole
from lmlab.engine.schema import OptimConfig


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer that knows its parameters by name, so that its state can be stored by name."""

    optimizer: torch.optim.Optimizer
    names: Mapping[str, nn.Parameter]
    grad_clip: float | None

    def set_factor(self, factor: float) -> None:
        """Scale every group's own learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def clip(self) -> Tensor:
        """The gradient's norm before clipping, over all parameters together."""
        parameters = [one for one in self.names.values() if one.grad is not None]
        limit = float("inf") if self.grad_clip is None else self.grad_clip
        return whole(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def state_tensors(self) -> dict[str, Tensor]:
        """`parameter/item` -> tensor; a parameter that never had a gradient has none."""
        state = self.optimizer.state
        return {
            f"{name}/{key}": value
            for name, parameter in self.names.items()
            if parameter in state
            for key, value in state[parameter].items()
        }

    def load_state_tensors(self, stored: Mapping[str, Tensor], *, where: str) -> None:
        """Restore what `state_tensors` gave. Raises CheckpointError for an unknown parameter."""
        unknown = sorted({key.rpartition("/")[0] for key in stored} - self.names.keys())
        if unknown:
            raise CheckpointError(f"{where} has optimizer state for unknown {', '.join(unknown)}")
        self.optimizer.state.clear()
        for key, value in stored.items():
            name, _, item = key.rpartition("/")
            parameter = self.names[name]
            # The fused AdamW keeps its step counter beside the parameter, too.
            self.optimizer.state[parameter][item] = share_like(value, parameter)


def build_optimizer(config: OptimConfig, modules: Mapping[str, nn.Module]) -> NamedOptimizer:
    """AdamW in groups: matrices decay, vectors (norms, biases) do not; prefixes get their factors.

    Raises ValueError for a multiplier that fits no parameter.
    """
    names = _parameters(modules)
    for prefix in config.multipliers:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"optim.multipliers: no parameter begins with {prefix!r}")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in names.items():
        factor = _factor(name, config.multipliers)
        decay = config.weight_decay if parameter.ndim >= 2 else 0.0
        rate = config.learning_rate * factor
        group = {"params": [], "lr": rate, "initial_lr": rate, "weight_decay": decay}
        groups.setdefault((factor, decay), group)["params"].append(parameter)
    optimizer = torch.optim.AdamW(
        list(groups.values()),
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )
    return NamedOptimizer(optimizer, names, config.grad_clip)


def _parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
    }


def _factor(name: str, multipliers: Mapping[str, float]) -> float:
    """The longest prefix that fits decides."""
    fitting = [prefix for prefix in multipliers if name.startswith(prefix)]
    return multipliers[max(fitting, key=len)] if fitting else 1.0
