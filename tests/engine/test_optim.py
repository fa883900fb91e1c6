"""Groups, multipliers, clipping and stored state against torch's own AdamW (check T3)."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from lmlab.engine.checkpoint import CheckpointError
from lmlab.engine.optim import NamedOptimizer, build_optimizer
from lmlab.engine.schema import OptimConfig

RATE, DECAY, BETAS, EPS = 1e-2, 0.1, (0.9, 0.95), 1e-8


class Pair(nn.Module):
    """A matrix with bias, a norm, and a head: what groups tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(inputs)))


@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_the_optimizer_equals_a_loop_written_with_torch(grad_clip: float | None):
    ours = _model()
    theirs = copy.deepcopy(ours)
    named = _build(ours, grad_clip=grad_clip, multipliers={"model.head": 0.1, "model.body": 2.0})
    reference = torch.optim.AdamW(
        [
            {"params": [theirs.body.weight], "lr": 2 * RATE, "weight_decay": DECAY},
            {"params": [theirs.body.bias], "lr": 2 * RATE, "weight_decay": 0.0},
            {"params": [theirs.norm.weight, theirs.norm.bias], "lr": RATE, "weight_decay": 0.0},
            {"params": [theirs.head.weight], "lr": RATE * 0.1, "weight_decay": DECAY},
        ],
        betas=BETAS,
        eps=EPS,
        fused=True,
    )
    first = [group["lr"] for group in reference.param_groups]
    for step in range(5):
        factor = 1 - step / 10
        _backward(ours, step)
        named.set_factor(factor)
        norm = named.clip()
        named.optimizer.step()
        _backward(theirs, step)
        for group, rate in zip(reference.param_groups, first, strict=True):
            group["lr"] = rate * factor
        limit = float("inf") if grad_clip is None else grad_clip
        assert torch.equal(norm, nn.utils.clip_grad_norm_(theirs.parameters(), limit))
        reference.step()
    assert _equal(ours, theirs)


def test_one_update_is_that_of_the_paper_in_float64():
    model = _model()
    before = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    _backward(model, 0)
    named = _build(model, grad_clip=None)
    named.set_factor(0.5)
    named.optimizer.step()
    for name, parameter in model.named_parameters():
        grad = parameter.grad.double()  # pyright: ignore[reportOptionalMemberAccess]
        decay = DECAY if parameter.ndim == 2 else 0.0
        # After one step both bias-corrected moments are the gradient and its square.
        expected = before[name] * (1 - 0.5 * RATE * decay) - 0.5 * RATE * grad / (grad.abs() + EPS)
        torch.testing.assert_close(parameter.double(), expected, atol=1e-6, rtol=0)


def test_only_matrices_decay():
    named = _build(_model())
    by_id = {id(parameter): name for name, parameter in named.names.items()}
    decaying = {
        by_id[id(parameter)]
        for group in named.optimizer.param_groups
        for parameter in group["params"]
        if group["weight_decay"] > 0
    }
    assert decaying == {"model.body.weight", "model.head.weight"}


def test_clipping_scales_to_the_limit_and_tells_the_norm_before():
    model = _model()
    named = _build(model, grad_clip=0.05)
    _backward(model, 0)
    before = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()  # type: ignore[union-attr]
    assert named.clip().item() == pytest.approx(before.item(), rel=1e-6)
    after = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()  # type: ignore[union-attr]
    assert before > 0.05
    assert after.item() == pytest.approx(0.05, rel=1e-4)


def test_the_longest_fitting_prefix_decides():
    named = _build(_model(), multipliers={"model": 0.5, "model.head": 3.0})
    rates = {
        name: group["initial_lr"]
        for group in named.optimizer.param_groups
        for name, parameter in named.names.items()
        if any(parameter is one for one in group["params"])
    }
    assert rates.pop("model.head.weight") == 3.0 * RATE
    assert set(rates.values()) == {0.5 * RATE}


def test_a_multiplier_for_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"multipliers: no parameter begins with 'model\.haed'"):
        _build(_model(), multipliers={"model.haed": 0.1})


def test_stored_state_goes_on_to_the_bit_in_a_fresh_process_and_order():
    model = _model()
    named = _build(model)
    for step in range(3):
        _update(model, named, step)
    stored = load(save(named.state_tensors()))
    other = copy.deepcopy(model)
    fresh = _build(other)
    fresh.load_state_tensors(stored, where="here")
    assert stored.keys() == fresh.state_tensors().keys()
    assert "model.body.weight/exp_avg" in stored
    for step in range(3, 6):
        _update(model, named, step)
        _update(other, fresh, step)
    assert _equal(model, other)


def test_without_the_stored_state_the_next_update_differs():
    model = _model()
    named = _build(model)
    _update(model, named, 0)
    other = copy.deepcopy(model)
    _update(model, named, 1)
    _update(other, _build(other), 1)
    assert not _equal(model, other)


def test_a_parameter_without_gradient_has_no_state_and_does_not_move():
    model = _model()
    model.head.weight.requires_grad_(False)
    before = model.head.weight.clone()
    named = _build(model)
    _update(model, named, 0)
    assert not any(name.startswith("model.head") for name in named.state_tensors())
    assert torch.equal(model.head.weight, before)


def test_state_of_an_unknown_parameter_is_an_error_that_names_both():
    named = _build(_model())
    with pytest.raises(CheckpointError, match=r"step_1 has optimizer state for unknown model\.x"):
        named.load_state_tensors({"model.x/exp_avg": torch.zeros(1)}, where="step_1")


def _model() -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Pair()


def _build(
    model: Pair,
    *,
    grad_clip: float | None = 1.0,
    multipliers: Mapping[str, float] | None = None,
) -> NamedOptimizer:
    values: dict[str, Any] = {
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "betas": BETAS,
        "eps": EPS,
        "grad_clip": grad_clip,
        "multipliers": multipliers or {},
    }
    return build_optimizer(OptimConfig.model_validate(values), {"model": model})


def _backward(model: Pair, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    model.zero_grad()
    model(torch.randn(4, 6, generator=generator)).square().mean().backward()


def _update(model: Pair, named: NamedOptimizer, step: int) -> None:
    _backward(model, step)
    named.clip()
    named.optimizer.step()


def _equal(one: Pair, other: Pair) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
