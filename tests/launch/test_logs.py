"""What `lmlab logs` follows: the newest start, then those that come after it."""

import json
from pathlib import Path

import pytest

from lmlab.engine.run import Run
from lmlab.launch.logs import follow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has said nothing."""
    made = Run(tmp_path, "scratch", "tiny")
    (made.folder / "logs").mkdir(parents=True)
    return made


def test_later_starts_are_followed_too(run: Run):
    run.log_path(1).write_text("old\n")
    run.log_path(2).write_text("two\n")
    said = follow(run)
    assert next(said) == "two\n"
    with run.log_path(2).open("a") as file:
        file.write("saved\n")
    assert next(said) == "saved\n"
    run.log_path(3).write_text("three\n")
    assert [next(said), next(said)] == ["three\n", ""]


def test_a_job_is_followed_by_its_own_file_and_says_nothing_twice(run: Run):
    logs = run.folder / "logs"
    (logs / "slurm-1.out").write_text("one\n")
    run.log_path(1).write_text("12:00 one\n")
    said = follow(run)
    assert next(said) == "one\n"
    (logs / "slurm-2.out").write_text("No module named torch\n")
    run.log_path(2).write_text("12:01 two\n")
    assert [next(said), next(said)] == ["No module named torch\n", ""]


def test_what_the_task_of_an_array_said_lies_with_its_sweep(run: Run, tmp_path: Path):
    run.jobs_path.write_text(json.dumps({"prepare": {"job_id": "7_0", "cluster": "c"}}))
    logs = tmp_path / "sweeps" / "seeds" / "logs"
    logs.mkdir(parents=True)
    (logs / "slurm-7_0.out").write_text("mine\n")
    (logs / "slurm-7_1.out").write_text("of another cell\n")
    assert next(follow(run)) == "mine\n"


def test_where_nothing_was_said_the_message_names_the_command_that_knows(run: Run):
    with pytest.raises(ValueError, match="no log yet: lmlab status scratch/tiny says why"):
        next(follow(run))
