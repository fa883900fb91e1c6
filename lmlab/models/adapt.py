"""What of a pretrained model is trained: LoRA matrices through PEFT, a class head, or all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lmlab.models.pretrained import Kind, Pretrained, class_head
from lmlab.models.schema import Adaptation, FullTuning, Lora, Probe

_PEFT_TASKS: Mapping[Kind, TaskType] = {
    "causal": TaskType.CAUSAL_LM,
    "seq2seq": TaskType.SEQ_2_SEQ_LM,
    "classification": TaskType.SEQ_CLS,
}


@dataclass(frozen=True)
class Adapted:
    """A model of which `trained` is trained; `hit` names the layers that got LoRA matrices."""

    model: nn.Module
    trained: "Trainable"
    hit: tuple[str, ...]


class Trainable(nn.Module):
    """The trained tensors of a model under their own names: what checkpoints hold.

    Moved or switched between training and evaluation, it takes the whole model along.
    """

    def __init__(self, model: nn.Module, *, placed: bool) -> None:
        super().__init__()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                _place(self, name, parameter)
        # In a tuple, so that it is no part of this module.
        self._whole, self._placed = (model,), placed

    def to(self, *args: Any, **kwargs: Any) -> "Trainable":
        """The whole model, unless its loader has placed it."""
        if not self._placed:
            self._whole[0].to(*args, **kwargs)
        return self

    def train(self, mode: bool = True) -> "Trainable":
        """The whole model."""
        self._whole[0].train(mode)
        return super().train(mode)


def adapt(base: Pretrained, method: Adaptation, *, seed: int) -> Adapted:
    """The model with what `method` trains, and nothing else, asking for gradients.

    Raises ValueError for a target that no layer is called by, and for a probe without a class head.
    """
    match method:
        case Lora():
            model = _with_lora(base, method, seed=seed)
            hit = hit_modules(model)
            _check_targets(method, hit, model)
        case FullTuning():
            model, hit = base.model.requires_grad_(requires_grad=True), ()
        case Probe():
            if base.kind != "classification":
                raise ValueError(f"a probe trains a class head, which {base.name} has not here")
            model, hit = base.model.requires_grad_(requires_grad=False), ()
            model.get_submodule(class_head(model)).requires_grad_(requires_grad=True)
    return Adapted(model, Trainable(model, placed=base.placed), hit)


def hit_modules(model: nn.Module) -> tuple[str, ...]:
    """The layers that have LoRA matrices, by their names in the model as it was."""
    names = (name for name, module in model.named_modules() if isinstance(module, LoraLayer))
    return tuple(name.removeprefix("base_model.model.") for name in names)


def save_adapted(adapted: Adapted, base: Pretrained, folder: Path) -> Path:
    """What PEFT (or, where all was trained, transformers) loads, with the tokenizer beside it."""
    model, temporary = adapted.model, folder.with_name(f"{folder.name}.tmp")
    assert isinstance(model, PeftModel | PreTrainedModel)
    if isinstance(model, PeftModel):
        # "auto" asks the hub whether the base's vocabulary was enlarged; nothing here enlarges it.
        model.save_pretrained(str(temporary), save_embedding_layers=False)
    else:
        model.save_pretrained(str(temporary))
    base.tokenizer.save_pretrained(str(temporary))
    return temporary.rename(folder)


def _with_lora(base: Pretrained, method: Lora, *, seed: int) -> PeftModel:
    """PEFT's own layers; A is drawn from `seed`, B is zero."""
    heads = [class_head(base.model)] if base.kind == "classification" else None
    config = LoraConfig(
        r=method.r,
        lora_alpha=method.alpha,  # type: ignore[arg-type]
        lora_dropout=method.dropout,
        use_rslora=method.rslora,
        target_modules=list(method.target_modules),
        modules_to_save=heads,
        # GPT-2's layers keep their weight as [in, out].
        fan_in_fan_out=_hits_conv1d(base.model, method),
        task_type=_PEFT_TASKS[base.kind],
    )
    model = base.model
    if base.placed:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            wrapped = get_peft_model(model, config)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"LoRA on {base.name}: {' '.join(str(error).split())}") from error
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _hits_conv1d(model: nn.Module, method: Lora) -> bool:
    ends = {name: module for name, module in model.named_modules() if isinstance(module, Conv1D)}
    return any(_is_called(name, target) for name in ends for target in method.target_modules)


def _check_targets(method: Lora, hit: tuple[str, ...], model: nn.Module) -> None:
    """PEFT is content when one of several targets is there."""
    for target in method.target_modules:
        if not any(_is_called(name, target) for name in hit):
            names = (name for name, one in model.named_modules() if isinstance(one, nn.Linear))
            known = {name.removesuffix(".base_layer").split(".")[-1] for name in names}
            raise ValueError(
                f"target_modules: no layer is called {target!r}; "
                f"there are {', '.join(sorted(known))}"
            )


def _is_called(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _place(root: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """The parameter under its dotted name, in modules made on the way."""
    *path, last = name.split(".")
    for step in path:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    root.register_parameter(last, parameter)
