"""What a training will take, against hand-made sums."""

import functools
import json
import re
from pathlib import Path

import pytest
import stages
import tiny
import torch

from lmlab.engine.batch_size import measured_apart
from lmlab.engine.config import load_preset
from lmlab.models.attention import KeyValueCache
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.estimate import stage_works
from lmlab.studies.scratch.memory import end_bytes, layer_bytes, reading_memory, training_memory
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
    assert cells(found, "pretrain")[:2] == [f"{parameters:,}", f"{12 * 4 * 64:,}"]
    # The tied embedding is multiplied once, as the head.
    each = 6 * parameters + 12 * 1 * 32 * 64
    assert found["FLOPs a token"].startswith(f"{each:,} ")
    assert float(found["FLOPs"]) == pytest.approx(each * 12 * 4 * 64, rel=0.01)
    assert found["not counted"] == "prepare, evaluate"


def test_every_stage_has_its_line_and_all_add_up(cache: Path):
    config = load_preset(tiny.PRESET, STAGES, dev=False).config
    assert isinstance(config, Config)
    works, context = dict(stage_works(config)), 512
    tokens = {
        "pretrain": 12 * 4 * context,
        # 12 instructions and 12 problems are at most 24 rows, gone through twice.
        "sft": 2 * 24 * context,
        # Of all pairs, trained on or held out, both responses.
        "dpo reference": 2 * (12 + 4) * context,
        "dpo": 4 * 2 * 2 * context,
        "solve": (6 + 4 + 6) * 4 * context,
        "verifier": 3 * 6 * 4 * context,
    }
    assert {name: one.tokens for name, one in works.items()} == tokens
    parameters = config.model.num_parameters(300)
    heads = {name: one.parameters - parameters for name, one in works.items()}
    assert heads == {name: 33 * (name == "verifier") for name in tokens}
    each = config.model.flops_per_token(300)
    forward = 2 * (parameters - 300 * 32 + 300 * 32) + 4 * 32 * context
    flops = {
        name: count * (forward if name in ("dpo reference", "solve") else each)
        for name, count in tokens.items()
    }
    assert {name: one.flops for name, one in works.items()} == flops
    found = config.estimate()
    assert float(found["FLOPs"]) == pytest.approx(sum(flops.values()), rel=0.01)
    assert cells(found, "total")[0] == f"<= {sum(tokens.values()):,}"
    assert cells(found, "total")[-1] == max(cells(found, name)[-1] for name in tokens)
    assert len({len(found[name]) for name in ("stage", *tokens, "total")}) == 1
    assert list(found).index("total") == list(found).index("stage") + 7


def test_of_a_public_set_as_much_is_known_as_is_asked_for(cache: Path):
    others = [one for one in STAGES if not one.startswith("dpo.data")]
    unknown = "dpo.data={kind: named, name: hh_rlhf}"
    found = load_preset(tiny.PRESET, [*others, unknown], dev=False).config.estimate()
    assert cells(found, "dpo reference")[1:4] == cells(found, "total")[:3] == ["?", "?", "?"]
    assert cells(found, "dpo")[1] == f"<= {4 * 2 * 2 * 512:,}"
    assert "FLOPs" not in found
    known = "dpo.data={kind: named, name: hh_rlhf, max_records: 9}"
    found = load_preset(tiny.PRESET, [*others, known], dev=False).config.estimate()
    assert cells(found, "dpo reference")[1] == f"<= {2 * (9 + 9) * 512:,}"
    # As many are held out of it, and no more.
    known = "dpo.data={kind: named, name: hh_rlhf, max_records: 2000}"
    found = load_preset(tiny.PRESET, [*others, known], dev=False).config.estimate()
    assert cells(found, "dpo reference")[1] == f"<= {2 * (2000 + 1000) * 512:,}"


def test_time_is_unknown_until_the_machine_was_measured(cache: Path):
    assert estimate()["time"] == "unknown: `lmlab doctor` measures this machine"
    assert "cost" not in estimate("cost.hourly_rate_usd=1000")


def test_time_and_cost_follow_from_the_measured_peak(cache: Path):
    (cache / "gemm.json").write_text(json.dumps({"here": {"float32": 1e11, "bfloat16": 5e11}}))
    steps = "pretrain.max_steps=1000000"
    found = estimate(steps, "cost.hourly_rate_usd=1000")
    hours = float(found["FLOPs"]) / (0.4 * 5e11) / 3600
    minutes, said = cells(found, "pretrain")[3].split(" ", 1)
    assert float(minutes) == pytest.approx(60 * hours, abs=0.06)
    assert said == "min"
    assert found["time"] == "at 40% of 500 GFLOP/s, sampling at 4%"
    assert float(found["cost"].removesuffix(" USD")) == pytest.approx(1000 * hours, rel=0.01)
    assert "cost" not in estimate(steps)


def test_without_a_number_of_steps_the_tokens_are_not_made_up(cache: Path):
    (cache / "gemm.json").write_text(json.dumps({"here": {"float32": 1e11}}))
    found = estimate("pretrain.max_steps=null", "pretrain.num_epochs=2", "cost.hourly_rate_usd=1")
    assert cells(found, "pretrain")[1:4] == ["?", "?", "?"]
    assert "cost" not in found


STAGES = (
    *stages.OVERRIDES, "sft.max_steps=null", "sft.num_epochs=2",
    "verifier.max_steps=null", "verifier.num_epochs=3",
)  # fmt: skip


def estimate(*overrides: str) -> dict[str, str]:
    """Of the tiny run with other settings."""
    return load_preset(tiny.PRESET, [*tiny.OVERRIDES, *overrides], dev=False).config.estimate()


def cells(found: dict[str, str], stage: str) -> list[str]:
    """Of a line of the table."""
    return re.split(r"  +", found[stage].strip())


SHAPES = {
    "grouped": "num_kv_heads=2",
    "ungrouped": "num_kv_heads=4",
    "experts": "experts={num_experts: 4, top_k: 2}",
    "registers": "sinks={kind: register, num_sinks: 6}",
    "sink logits": "sinks={kind: logit}",
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("context_tokens", "dropout"), [(64, 0.0), (256, 0.1)])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_what_autograd_keeps_of_a_row_is_what_the_formula_says(
    precision: str, apart: bool, context_tokens: int, dropout: float, shape: str
):
    config = resolved(
        *WIDER, f"model.dropout={dropout}", f"model.context_tokens={context_tokens}",
        f"device.precision={precision}", f"packing.attend_across_documents={not apart}",
        f"model.{shape}",
    )  # fmt: skip
    model = config.model
    size = 4 if precision == "float32" else 2
    layer = layer_bytes(model, size=size, kind="cpu", apart=apart)
    expected = context_tokens * (model.num_layers * layer + end_bytes(model, kind="cpu"))
    assert kept_bytes(config, rows=3) - kept_bytes(config, rows=2) == pytest.approx(
        expected, rel=0.04
    )


def test_memory_adds_up_and_recomputing_keeps_only_each_layers_input(cache: Path):
    config = resolved(*WIDER)
    ask = functools.partial(training_memory, vocab_size=VOCABULARY, device=config.device)
    held, more = ask(config.model, rows=2), ask(config.model, rows=4)
    parameters = config.model.num_parameters(VOCABULARY)
    assert held.parameters == more.parameters == 16 * parameters
    assert more.activations == 2 * held.activations
    assert held.logits == 2 * 64 * VOCABULARY * 8
    assert held.total == held.parameters + held.activations + held.logits + held.process
    said = cells(estimate(*WIDER, "pretrain.batch_size=2"), "pretrain")[-1]
    assert said == f"{held.total / 1e9:.2f} GB"
    again = ask(config.model.model_copy(update={"gradient_checkpointing": True}), rows=2)
    layer = layer_bytes(config.model, size=4, kind="cpu", apart=False)
    assert held.activations - again.activations == 2 * 64 * (2 * (layer - 4 * 64) - layer)


def test_what_writes_holds_its_cache_and_what_scores_a_layer(cache: Path):
    config = resolved(*WIDER)
    ask = functools.partial(
        reading_memory, config.model, rows=3, vocab_size=VOCABULARY, device=config.device
    )
    like = torch.zeros(1)
    kept = KeyValueCache(config.model, batch=3, num_tokens=64, like=like)
    assert ask(cached=True).activations == kept.keys.nbytes + kept.values.nbytes
    assert ask(cached=False).activations == 3 * 64 * layer_bytes(
        config.model, size=4, kind="cpu", apart=False
    )
    assert ask(cached=True).parameters == 4 * config.model.num_parameters(VOCABULARY)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_of_a_training_step_lies_within_a_factor_of_the_estimate(precision: str):
    config = load_preset("scratch/demo", [f"device.precision={precision}"], dev=False).config
    assert isinstance(config, Config)
    device = config.device.model_copy(update={"kind": "cpu"})
    config = config.model_copy(update={"device": device})
    step = measured_apart(functools.partial(training_step, config))
    few, many = (
        training_memory(config.model, rows=rows, vocab_size=2048, device=device).total
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
