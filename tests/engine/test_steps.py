"""Steps: done ones are skipped, failures recorded, later steps wait."""

from pathlib import Path

import pytest

from lmlab.engine.config import dump, load_preset
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run, create_run
from lmlab.engine.schema import StudyConfig
from lmlab.engine.steps import (
    choose_steps,
    evaluation_results,
    forget,
    is_finished,
    load_target,
    run_steps,
    step_fingerprints,
    step_states,
    study_steps,
)


@pytest.fixture
def run(outside_study: Path, runs: Path) -> Run:
    """A new run of the outside study's preset."""
    steps = study_steps("outside_study")
    marks = {"fingerprints": step_fingerprints(steps, _config())}
    return create_run("outside_study", "run", config=dump(_config()), manifest=marks, unique=False)


def test_steps_run_in_order_and_once(run: Run):
    _start(run)
    assert _calls(run) == "dump train evaluate10"
    _start(run)
    assert _calls(run) == "dump train evaluate10"
    states = run.status()["steps"]
    assert {entry["state"] for entry in states.values()} == {"done"}
    assert {entry["attempt"] for entry in states.values()} == {1}
    assert all(entry["finished"] >= entry["started"] for entry in states.values())


def test_a_failed_step_is_recorded_and_raised_and_later_ones_wait(run: Run):
    (run.folder / "break").touch()
    with pytest.raises(KeyError, match="broken"):
        _start(run)
    assert _calls(run) == "dump train"
    failed = run.status()["steps"]["train"]
    assert failed["state"] == "failed"
    assert failed["error"] == "KeyError: 'broken'"
    assert 'raise KeyError("broken")' in failed["traceback"]
    assert _states(run) == {"dump": "done", "train": "failed", "evaluate": "pending"}
    (run.folder / "break").unlink()
    _start(run)
    assert _calls(run) == "dump train train evaluate10"
    mended = run.status()["steps"]["train"]
    assert (mended["state"], mended["error"], mended["attempt"]) == ("done", None, 2)


def test_a_preempted_step_is_recorded_and_goes_on(run: Run):
    (run.folder / "stop").touch()
    with pytest.raises(Preempted):
        _start(run)
    entry = run.status()["steps"]["train"]
    assert (entry["state"], entry["error"]) == ("preempted", "SIGTERM at step 3")
    assert _states(run)["evaluate"] == "pending"
    (run.folder / "stop").unlink()
    _start(run)
    assert is_finished(study_steps("outside_study"), _config(), run)


def test_a_step_to_be_done_again_takes_along_what_needs_it_and_loses_nothing(run: Run):
    _start(run)
    forget("train", study_steps("outside_study"), run)
    assert _states(run) == {"dump": "done", "train": "pending", "evaluate": "pending"}
    _start(run)
    assert _calls(run) == "dump train evaluate10 train evaluate10"


def test_a_training_to_be_done_again_is_put_aside(run: Run):
    part = run.part("train")
    run.forget_step("train", parts=["train"])
    assert not part.folder.exists()
    assert len(list((run.folder / "redone").glob("train-*"))) == 1
    assert run.parts() == []


def test_what_was_done_for_other_settings_is_not_done(run: Run):
    _start(run)
    other = _config("train.max_steps=11")
    assert _states(run, other) == {"dump": "done", "train": "pending", "evaluate": "pending"}
    assert not is_finished(study_steps("outside_study"), other, run)
    free = _config("train.log_every=1", "evaluate.batch=1")
    assert is_finished(study_steps("outside_study"), free, run)


def test_another_evaluation_is_a_step_of_its_own(run: Run):
    _start(run)
    other = _config("evaluate.items=20")
    run_steps(study_steps("outside_study"), other, run)
    run_steps(study_steps("outside_study"), other, run)
    assert _calls(run) == "dump train evaluate10 evaluate20"
    assert is_finished(study_steps("outside_study"), _config(), run)
    assert evaluation_results("evaluate", _config(), run).folder == run.folder
    assert evaluation_results("evaluate", other, run).folder.parent == run.folder / "evaluations"


def test_a_step_without_what_it_needs_is_refused(run: Run):
    train = choose_steps(study_steps("outside_study"), ["train"])
    with pytest.raises(ValueError, match=rf"step train needs dump, not done in {run.folder}"):
        run_steps(train, _config(), run)
    assert _calls(run) == ""


def test_steps_are_chosen_by_name_in_their_order(outside_study: Path):
    steps = study_steps("outside_study")
    assert [one.name for one in choose_steps(steps, ["train", "dump"])] == ["dump", "train"]
    with pytest.raises(ValueError, match="no step 'trian'; nearest: train"):
        choose_steps(steps, ["trian"])


def test_every_target_of_the_repository_is_there():
    for step in study_steps("scratch"):
        assert callable(load_target(step.target)), step.target


def _config(*overrides: str) -> StudyConfig:
    return load_preset("outside_study/small", overrides, dev=False).config


def _start(run: Run) -> None:
    run_steps(study_steps("outside_study"), _config(), run)


def _states(run: Run, config: StudyConfig | None = None) -> dict[str, str]:
    return dict(step_states(study_steps("outside_study"), config or _config(), run))


def _calls(run: Run) -> str:
    path = run.folder / "calls"
    return path.read_text().strip() if path.exists() else ""
