"""Configuration: composition, one-line errors with the nearest names, and identity (T11, T12)."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lmlab.engine.config import (
    Resolved,
    check,
    dump,
    environment_flag,
    fingerprint,
    fingerprinted_values,
    load_preset,
    load_stored,
    study_schema,
)
from lmlab.engine.presets import CONF, find_preset, list_presets
from lmlab.engine.schema import StudyConfig, TrainConfig
from lmlab.engine.steps import drifted_fields, step_fingerprints, study_steps
from lmlab.studies.scratch.config import Config

DEMO = "scratch/demo"


def _load(*overrides: str, preset: str = DEMO, dev: bool | None = False) -> Resolved:
    return load_preset(preset, overrides, dev=dev)


def _scratch(*overrides: str) -> Config:
    config = _load(*overrides).config
    assert isinstance(config, Config)
    return config


# Composition


def test_an_override_changes_its_value_and_leaves_the_defaults():
    resolved = _load("pretrain.max_steps=7", "evaluate.bootstrap_draws=500")
    config = resolved.config
    assert isinstance(config, Config)
    assert config.pretrain.max_steps == 7
    assert config.evaluate.bootstrap_draws == 500
    assert config.seed == 42
    assert config.pretrain.optim.eps == 1e-8
    assert resolved.overrides == ("pretrain.max_steps=7", "evaluate.bootstrap_draws=500")
    assert resolved.preset == DEMO
    assert resolved.question.endswith("?")


def test_a_group_is_chosen_whole():
    assert _scratch("data=pydocs").data.model_dump() == {"kind": "pydocs"}


def test_true_stays_true_where_a_switch_is_wanted():
    assert _scratch("device.compile=true").device.compile is True


def test_a_configuration_is_frozen():
    config = _scratch()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_a_dumped_configuration_reads_back_as_itself(tmp_path: Path):
    config = _scratch("pretrain.checkpoint.save_every=10min", "pretrain.eval_every=1000000")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(dump(config), sort_keys=False))
    assert load_stored(path) == config
    assert check(dump(config), study="scratch") == config


# Errors


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pretrain.max_stps=3", "unknown key pretrain.max_stps; nearest: pretrain.max_steps"),
        ("modl.num_layers=2", "unknown key modl; nearest: model"),
        ("model.num_layer=2", "unknown key model.num_layer; nearest: model.num_layers"),
        ("num_layers=2", "nearest: model.num_layers"),
        (
            "model.position={kind: rope, thet: 3}",
            "unknown key model.position.thet; nearest: model.position.theta",
        ),
        ("data=wikitxt2", "no data=wikitxt2; nearest: wikitext2"),
        ("data=nope", "no data=nope; nearest: pydocs, stories, stories_demo, wikitext2"),
        ("data.kind=storis", "expected tags: 'stories'"),
        ("model.position={kind: rop}", "tags: 'rope'"),
        ("model.position.theta=3", "model.position.kind must be given"),
        ("tokenizer.kind=load", "tokenizer.path must be given"),
        ("pretrain.max_steps=abc", "pretrain.max_steps='abc': Input should be a valid integer"),
        ("pretrain.batch_size=null", "pretrain.batch_size=None: Input should be"),
        ("seed=1.5", "seed=1.5: Input should be a valid integer"),
        ("seed=true", "seed=True: a number is wanted, not true or false"),
        ("pretrain.optim.eps=false", "pretrain.optim.eps=False: a number is wanted"),
        ("pretrain.optim.betas=[true,0.9]", "pretrain.optim.betas=[True, 0.9]: a number is wanted"),
        ("launch.gpus={pretrain: true}", "launch.gpus: a number is wanted"),
        ("pretrain.optim.learning_rate=-1", "learning_rate=-1: Input should be greater than 0"),
        ("evaluate.splits=[tst]", "evaluate.splits.0='tst': Input should be 'validation' or"),
        ("pretrain.optim.schedule.warmup=10sec", "warmup='10sec': '10sec' is no duration"),
        ("pretrain.eval_every=10min", "eval_every='10min': '10min' is no duration"),
        ("pretrain.checkpoint.save_every=x", "save_every='x': 'x' is no duration"),
        ("pretrain.num_epochs=2", "pretrain: give exactly one of max_steps and num_epochs"),
        ("pretrain.micro_batch_size=3", "batch_size 4 is no multiple of micro_batch_size 3"),
        ("model.num_heads=3", "model: d_model 128 is no multiple of num_heads 3"),
        ("~pretrain", "pretrain must be given"),
        ("~model.num_layers", "model.num_layers must be given"),
        ("model.d_ff=???", "Missing mandatory value"),
        ("model.d_ff=${d_model}", "Interpolation key 'd_model' not found"),
        ("study=nope", "no study 'nope': neither lmlab.studies.nope nor a package nope"),
        ("foo", "'foo' is no override; write key=value"),
        ("a b=3", "'a b=3' is no override; write key=value"),
        ("model.d_ff=[1", "'model.d_ff=[1' is no override; write key=value"),
    ],
)
def test_an_error_is_one_line_that_names_key_and_remedy(override: str, said: str):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        _load(override)
    message = str(raised.value)
    assert said in message
    assert "\n" not in message
    assert type(raised.value) is ValueError


@pytest.mark.parametrize(
    "name", ["scratch/dmo", "demo", "scratch", "scratch/../scratch/demo", "", "data/stories"]
)
def test_an_unknown_preset_is_an_error_with_the_nearest(name: str):
    with pytest.raises(
        ValueError, match=rf"no preset '{name}'; nearest: .*scratch/(demo|selftest)"
    ):
        load_preset(name)


def test_every_error_of_a_configuration_is_said_at_once():
    with pytest.raises(ValueError, match=r"unknown key .*modl.*; .*seed='x'|seed='x'.*modl"):
        _load("modl.x=1", "seed=x")


# DEV_MODE


@pytest.mark.parametrize(
    ("written", "flag"),
    [
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("1", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
        ("0", False),
    ],
)
def test_a_flag_is_read_in_any_case(monkeypatch: pytest.MonkeyPatch, written: str, flag: bool):
    monkeypatch.setenv("DEV_MODE", written)
    assert environment_flag("DEV_MODE") is flag
    assert _load(dev=None).config.dev is flag


@pytest.mark.parametrize("written", ["yes", "no", "2", "", " ", "on", "t"])
def test_any_other_flag_is_an_error(monkeypatch: pytest.MonkeyPatch, written: str):
    monkeypatch.setenv("DEV_MODE", written)
    with pytest.raises(ValueError, match=rf"DEV_MODE='{written}' is neither true nor false"):
        _load(dev=None)


def test_an_unset_flag_is_false(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DEV_MODE", raising=False)
    assert environment_flag("DEV_MODE") is False
    assert _load(dev=None).config.dev is False


@pytest.mark.parametrize("preset", ["scratch/demo", "scratch/wikitext2"])
def test_the_dev_size_of_a_preset_is_small_and_saves_more_often(preset: str):
    small, whole = (_load(preset=preset, dev=dev).config for dev in (True, False))
    assert isinstance(small, Config)
    assert isinstance(whole, Config)
    assert small.pretrain.max_steps == 50
    assert small.model == whole.model
    saves = [str(one.pretrain.checkpoint.save_every) for one in (small, whole)]
    assert saves[0] == "10s" != saves[1]
    assert (small.tracker.tensorboard, whole.tracker.tensorboard) == (False, True)


def test_an_override_is_stronger_than_the_dev_size():
    assert _load("seed=7", "dev=false", dev=True).config.dev is False
    assert _load("seed=7", dev=True).config.seed == 7


# A study outside the repository


def test_a_study_outside_is_found_by_its_package(outside_study: Path):
    resolved = _load("evaluate.items=3", preset="outside_study/small")
    assert resolved.question == "Does it find a package outside?"
    assert resolved.config.study == "outside_study"
    assert dump(resolved.config)["evaluate"]["items"] == 3
    assert find_preset("outside_study/small").path == outside_study / "conf" / "small.yaml"
    assert [step.name for step in study_steps("outside_study")] == ["dump", "train", "evaluate"]


def test_an_error_outside_is_as_clear(outside_study: Path):
    with pytest.raises(ValueError, match=r"unknown key train\.max_step; nearest: train\.max_steps"):
        _load("train.max_step=3", preset="outside_study/small")
    with pytest.raises(ValueError, match="no preset 'outside_study/smal'"):
        load_preset("outside_study/smal")
    assert _load(preset="outside_study/small", dev=True).config.dev is True


def test_presets_are_listed_with_their_question():
    for preset in list_presets():
        assert preset.question.endswith("?"), preset.path
        assert len(preset.path.read_text().splitlines()) <= 25, preset.path
        assert find_preset(preset.name) == preset
    assert {path.name for path in CONF.iterdir() if path.is_dir()} >= {"size", "data"}


# Identity


def test_free_fields_change_no_fingerprint_and_all_others_do():
    config = _scratch()
    reads = ("model", "packing", "pretrain", "seed")
    before = fingerprint(config, reads=reads)
    free = ("checkpoint", "eval_every", "log_every", "micro_batch_size")
    assert not any(
        key.startswith(f"pretrain.{name}")
        for key in fingerprinted_values(config, reads=reads)
        for name in free
    )
    for override in (
        "pretrain.checkpoint.keep_last=9",
        "pretrain.eval_every=3",
        "pretrain.log_every=3",
        "pretrain.micro_batch_size=2",
        "evaluate.bootstrap_draws=500",
        "tracker.tensorboard=false",
    ):
        assert fingerprint(_scratch(override), reads=reads) == before, override
    for override in (
        "seed=1",
        "model.num_layers=5",
        "model.position={kind: rope, theta: 500}",
        "packing.attend_across_documents=false",
        "pretrain.max_steps=301",
        "pretrain.optim.betas=[0.8,0.99]",
        "pretrain.optim.schedule.warmup=6%",
        "pretrain.optim.multipliers={model: 0.5}",
        "pretrain.freeze={model: 10}",
        "pretrain.nonfinite=skip",
    ):
        assert fingerprint(_scratch(override), reads=reads) != before, override


def test_every_field_of_a_training_is_fingerprinted_or_declared_free():
    values = fingerprinted_values(_scratch("pretrain.freeze={model: 1}"), reads=("pretrain",))
    for name, info in TrainConfig.model_fields.items():
        counted = any(key.split(".")[1] == name for key in values)
        assert counted != (info.json_schema_extra == {"free": True}), name


def test_a_step_depends_on_the_steps_it_needs():
    steps = study_steps("scratch")
    before = step_fingerprints(steps, _scratch())
    after = step_fingerprints(steps, _scratch("data.documents=7"))
    assert all(before[name] != after[name] for name in ("prepare", "pretrain", "evaluate"))
    after = step_fingerprints(steps, _scratch("pretrain.max_steps=7"))
    assert before["prepare"] == after["prepare"]
    assert before["evaluate"] != after["evaluate"]
    after = step_fingerprints(steps, _scratch("evaluate.bootstrap_draws=500"))
    assert before["pretrain"] == after["pretrain"]


def test_drift_is_named_with_both_values():
    pretrain = next(step for step in study_steps("scratch") if step.name == "pretrain")
    changed = _scratch("pretrain.optim.weight_decay=0.2", "pretrain.log_every=1", "seed=3")
    assert drifted_fields(pretrain, _scratch(), changed) == [
        "pretrain.optim.weight_decay (0.1 -> 0.2)",
        "seed (42 -> 3)",
    ]
    assert drifted_fields(pretrain, _scratch(), _scratch()) == []


def test_a_file_of_the_users_own_counts_with_its_content(outside_study: Path, tmp_path: Path):
    own = tmp_path / "own.py"
    override = f"source={{kind: python, path: '{own}:documents'}}"

    def mark() -> str:
        config = _load(override, preset="outside_study/small").config
        return fingerprint(config, reads=("source",))

    with pytest.raises(ValueError, match=rf"no file {own}; write path/to/file\.py:function"):
        mark()
    own.write_text("def documents(split): return []")
    first = mark()
    assert mark() == first
    own.write_text("def documents(split): return [1]")
    assert mark() != first


def test_no_field_of_any_study_is_left_open():
    seen: list[type[BaseModel]] = []

    def visit(annotation: Any) -> None:
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if is_model and annotation not in seen:
            seen.append(annotation)
            for info in annotation.model_fields.values():
                visit(info.annotation)
        for inner in getattr(annotation, "__args__", ()):
            visit(inner)

    for study in {preset.study for preset in list_presets()}:
        visit(study_schema(study))
    assert StudyConfig in {base for one in seen for base in one.__mro__}
    for model in seen:
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen") is True, model


def test_a_time_limit_in_minutes_may_be_typed_as_a_number():
    for written, expected in [("30", "30"), ("1:30:00", "1:30:00"), ("2-00:00:00", "2-00:00:00")]:
        resolved = load_preset("scratch/demo", [f"launch.time_limit={written}"])
        assert resolved.config.launch.time_limit == expected
