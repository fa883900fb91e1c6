"""What a training will take, against hand-made sums."""

import functools
import json
from pathlib import Path

import pytest
import tiny
import torch

from lmlab.engine.batch_size import measured_apart
from lmlab.engine.config import load_preset
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.memory import end_bytes, layer_bytes, needed_memory
from lmlab.studies.scratch.model import LanguageModeling, build_decoder
from lmlab.studies.scratch.sizing import training_step

VOCABULARY = 300


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_CACHE, empty."""
    monkeypatch.setenv("LMLAB_CACHE", str(tmp_path))
    return tmp_path


def test_parameters_tokens_and_flops_follow_from_the_shape(cache: Path):
    found = estimate()
    parameters = 300 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 3 * 32
    assert found["parameters"] == f"{parameters:,}"
    assert found["tokens"] == f"{12 * 4 * 64:,}"
    # The tied embedding is multiplied once, as the head.
    each = 6 * parameters + 12 * 1 * 32 * 64
    assert found["FLOPs a token"].startswith(f"{each:,} ")
    assert float(found["FLOPs"]) == pytest.approx(each * 12 * 4 * 64, rel=0.01)


def test_time_is_unknown_until_the_machine_was_measured(cache: Path):
    assert estimate()["time"] == "unknown: `lmlab doctor` measures this machine"
    assert "cost" not in estimate("cost.hourly_rate_usd=1000")


def test_time_and_cost_follow_from_the_measured_peak(cache: Path):
    (cache / "gemm.json").write_text(json.dumps({"here": {"float32": 1e11, "bfloat16": 5e11}}))
    steps = "pretrain.max_steps=1000000"
    found = estimate(steps, "cost.hourly_rate_usd=1000")
    hours = float(found["FLOPs"]) / (0.4 * 5e11) / 3600
    minutes, said = found["time"].split(" ", 1)
    assert float(minutes) == pytest.approx(60 * hours, abs=0.06)
    assert said == "min at 40% of 500 GFLOP/s"
    assert float(found["cost"].removesuffix(" USD")) == pytest.approx(1000 * hours, rel=0.01)
    assert "cost" not in estimate(steps)


def test_without_a_number_of_steps_the_tokens_are_not_made_up(cache: Path):
    found = estimate("pretrain.max_steps=null", "pretrain.num_epochs=2")
    assert found["tokens"] == "2.0 epochs of the data; its length is not known"
    assert "time" not in found


def estimate(*overrides: str) -> dict[str, str]:
    """Of the tiny run with other settings."""
    return load_preset(tiny.PRESET, [*tiny.OVERRIDES, *overrides], dev=False).config.estimate()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("context_tokens", [64, 256])
@pytest.mark.parametrize("experts", ["null", "{num_experts: 4, top_k: 2}"])
def test_what_autograd_keeps_of_a_row_is_what_the_formula_says(
    precision: str, dropout: float, apart: bool, context_tokens: int, experts: str
):
    config = resolved(
        *WIDER, f"model.dropout={dropout}", f"model.context_tokens={context_tokens}",
        f"device.precision={precision}", f"packing.attend_across_documents={not apart}",
        f"model.experts={experts}",
    )  # fmt: skip
    model = config.model
    size = 4 if precision == "float32" else 2
    layer = layer_bytes(model, size=size, kind="cpu", apart=apart)
    expected = context_tokens * (model.num_layers * layer + end_bytes(model))
    assert kept_bytes(config, rows=3) - kept_bytes(config, rows=2) == pytest.approx(
        expected, rel=0.08
    )


def test_memory_adds_up_and_recomputing_keeps_only_each_layers_input(cache: Path):
    config = resolved(*WIDER)
    ask = functools.partial(needed_memory, vocab_size=VOCABULARY, device=config.device, apart=False)
    held, more = ask(config.model, rows=2), ask(config.model, rows=4)
    parameters = config.model.num_parameters(VOCABULARY)
    assert held.parameters == more.parameters == 16 * parameters
    assert more.activations == 2 * held.activations
    assert held.loss == 2 * 64 * VOCABULARY * 8
    assert held.total == held.parameters + held.activations + held.loss + held.process
    assert str(held) == estimate(*WIDER, "pretrain.batch_size=2")["memory"]
    again = ask(config.model.model_copy(update={"gradient_checkpointing": True}), rows=2)
    layer = layer_bytes(config.model, size=4, kind="cpu", apart=False)
    assert held.activations - again.activations == 2 * 64 * (2 * (layer - 4 * 64) - layer)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_of_a_training_step_lies_within_a_factor_of_the_estimate(precision: str):
    config = load_preset("scratch/demo", [f"device.precision={precision}"], dev=False).config
    assert isinstance(config, Config)
    device = config.device.model_copy(update={"kind": "cpu"})
    config = config.model_copy(update={"device": device})
    step = measured_apart(functools.partial(training_step, config))
    few, many = (
        needed_memory(config.model, rows=rows, vocab_size=2048, device=device, apart=False).total
        for rows in (2, 8)
    )
    measured = {rows: step(rows) for rows in (2, 8)}
    assert 1 / 1.6 < measured[8] / many < 1.6
    assert 1 / 1.8 < (measured[8] - measured[2]) / (many - few) < 1.8


WIDER = (
    "model.num_layers=2", "model.d_model=64", "model.num_heads=4", "model.num_kv_heads=2",
    "model.d_ff=128", "model.dropout=0",
)  # fmt: skip


def resolved(*overrides: str) -> Config:
    """The tiny run's configuration with other settings."""
    found = load_preset(tiny.PRESET, [*tiny.OVERRIDES, *overrides], dev=False).config
    assert isinstance(found, Config)
    return found


def kept_bytes(config: Config, *, rows: int) -> int:
    """The size of all storages that autograd keeps for the way back, parameters aside."""
    model = build_decoder(config.model, vocab_size=VOCABULARY, seed=0).train()
    objective = LanguageModeling(
        model=model,
        validation=None,
        batch_size=rows,
        packed_apart=not config.packing.attend_across_documents,
    )
    tokens = torch.zeros(rows, config.model.context_tokens, dtype=torch.long)
    batch = {"tokens": tokens, "targets": tokens, "documents": tokens}
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    precision = config.device.precision
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), mixed:
        terms = objective.losses(batch, step=0, generator=torch.Generator())
    assert terms["nll"].sum.requires_grad
    return sum(one.untyped_storage().nbytes() for one in kept.values())
