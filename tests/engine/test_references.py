"""References: the grammar, presets that mean runs, and the nearest names."""

import os

import pytest

from lmlab.engine.config import dump, load_preset
from lmlab.engine.references import resolve
from lmlab.engine.run import Run, create_run
from lmlab.engine.steps import run_steps, step_fingerprints, study_steps

pytestmark = pytest.mark.usefixtures("outside_study", "runs")


@pytest.mark.parametrize(
    ("written", "part", "at"),
    [
        ("outside_study/run", None, "last"),
        ("outside_study/run@best", None, "best"),
        ("outside_study/run@last", None, "last"),
        ("outside_study/run@500", None, "500"),
        ("outside_study/run:train", "train", "last"),
        ("outside_study/run:train/rope/seed_3@500", "train/rope/seed_3", "500"),
    ],
)
def test_a_reference_names_run_part_and_moment(written: str, part: str | None, at: str):
    made = _make("run")
    found = resolve(written)
    assert (found.run, found.part, found.at) == (made, part, at)


@pytest.mark.parametrize(
    "written", ["run", "", "a/b@", "a/b@first", "a/b@-1", "a/b:", "/b", "a/", "a/b@1@2", "a/b@1:c"]
)
def test_anything_else_is_no_reference(written: str):
    with pytest.raises(ValueError, match="is no reference; write study/name"):
        resolve(written)


def test_an_unknown_run_is_an_error_with_the_nearest_names():
    _make("first_run")
    with pytest.raises(ValueError, match=r"no run outside_study/frst_run in .*outside_study/first"):
        resolve("outside_study/frst_run")


def test_a_preset_means_its_newest_finished_run_of_equal_settings():
    with pytest.raises(ValueError, match="no finished run of the preset outside_study/small"):
        resolve("outside_study/small")
    for created, (name, overrides, finish) in enumerate(
        [
            ("oldest", (), True),
            ("equal", ("train.log_every=3",), True),
            ("other", ("train.max_steps=11",), True),
            ("unfinished", (), False),
        ]
    ):
        run = _make(name, *overrides)
        config = load_preset("outside_study/small", overrides, dev=False).config
        steps = study_steps("outside_study")
        marks = step_fingerprints(steps, config)
        run.write_manifest({"created": created, "fingerprints": marks})
        if finish:
            run_steps(steps, config, run)
    assert resolve("outside_study/small@best").run.name == "equal"


def test_a_run_called_like_a_preset_comes_first():
    assert resolve(_make("small").reference).run.name == "small"


def test_the_training_meant_is_the_one_named_else_the_last():
    run = _make("run")
    with pytest.raises(ValueError, match="outside_study/run has no training yet"):
        resolve("outside_study/run").model_part()
    for age, name in [(5, "pretrain"), (1, "sft"), (3, "dpo")]:
        then = run.config_path.stat().st_mtime - age
        os.utime(run.part(name).checkpoints, (then, then))
    assert resolve("outside_study/run").model_part().name == "sft"
    assert resolve("outside_study/run:pretrain").model_part().name == "pretrain"
    with pytest.raises(ValueError, match=r"has no part 'pretran'; nearest: pretrain"):
        resolve("outside_study/run:pretran").model_part()


def _make(name: str, *overrides: str) -> Run:
    config = load_preset("outside_study/small", overrides, dev=False).config
    return create_run("outside_study", name, config=dump(config), manifest={}, unique=False)
