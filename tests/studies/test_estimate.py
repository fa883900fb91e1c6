"""What a training will take, against hand-made sums."""

import json
from pathlib import Path

import pytest
import tiny

from lmlab.engine.config import load_preset


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
