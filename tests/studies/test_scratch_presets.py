"""The presets of the scratch study: each says what it takes, and those of the diary are its own."""

import pytest

from lmlab.engine.config import load_preset
from lmlab.engine.presets import list_presets
from lmlab.engine.steps import config_steps
from lmlab.launch.local import Options, describe
from lmlab.studies.scratch.config import Config

PRESETS = [one.name for one in list_presets() if one.study == "scratch"]


def preset(name: str) -> Config:
    config = load_preset(name, dev=False).config
    assert isinstance(config, Config)
    return config


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_planned_and_estimated_without_its_data(
    name: str, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    monkeypatch.delenv("LMLAB_DATA", raising=False)
    resolved = load_preset(name, dev=False)
    said = describe(resolved, Options())
    names = [step.name for step in config_steps(resolved.config)]
    assert said[1 : 1 + len(names)] == [f"step {step}: pending" for step in names]
    lines = resolved.config.estimate()
    stages = [one for one in names if one in ("pretrain", "sft", "dpo", "solve", "verifier")]
    assert {*stages, "total"} <= set(lines)
    assert not any(tmp_path.iterdir())


def test_the_diarys_pipeline_has_its_shape_and_its_steps():
    config = preset("scratch/h100_253m")
    assert round(config.model.num_parameters(50_257) / 1e6) == 253
    assert config.sft is not None
    assert config.dpo is not None
    assert config.verifier is not None
    stages = (config.pretrain, config.sft, config.dpo, config.verifier)
    assert [one.max_steps for one in stages] == [30_000, 5_000, 2_000, 3_000]
    assert [one.optim.learning_rate for one in stages] == [3e-4, 1e-5, 5e-6, 1e-4]
    assert [one.batch_size for one in stages] == [20, 32, 16, 32]
    # About 600M tokens, as the diary says.
    tokens = 30_000 * config.pretrain.batch_size * config.model.context_tokens
    assert round(tokens / 1e8) == 6
    assert config.data.kind == "mixture"
    names = [one.source.model_dump()["name"] for one in config.data.parts]
    assert names == ["wikitext103", "tinystories"]


@pytest.mark.parametrize(("name", "gigabytes"), [("rtx3060_max", 12), ("h100_253m", 80)])
def test_each_of_the_diarys_gpus_holds_its_preset(
    name: str, gigabytes: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lmlab.studies.scratch.memory.read_gpus", lambda: ["one"])
    total = preset(f"scratch/{name}").estimate()["total"].split("  ")[-1]
    assert float(total.removesuffix(" GB")) < gigabytes
