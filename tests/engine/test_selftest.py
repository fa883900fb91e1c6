"""The self-test passes where all is well, and says what is wrong where it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import toys

from lmlab.engine.records import read_records
from lmlab.engine.run import Part, write_json
from lmlab.engine.selftest import Generated, Trainings, _kill_in_training, find_problems
from lmlab.engine.trainer import train

SOME = Generated("text", 64, 1.0)


@pytest.fixture
def train_toy(tmp_path: Path):
    """Train the toy in a folder of that name, from that noise."""

    def train_toy(name: str, *, noise: float = 0.1) -> Part:
        plan, part = toys.make_plan(), toys.make_part(tmp_path / name)
        write_json(part.folder / "decided.json", {"device": "cpu"})
        with toys.make_loader(plan) as loader:
            train(toys.MaskedLanguage(noise=noise), loader, plan, run=part)
        return part

    return train_toy


def test_equal_trainings_that_learned_and_generate_have_no_problem(train_toy):
    trainings = Trainings(train_toy("a"), train_toy("b"), 1.0)
    assert find_problems(trainings, SOME) == []


def test_a_resumed_training_that_differs_is_a_problem_with_its_size(train_toy):
    trainings = Trainings(train_toy("a"), train_toy("b", noise=0.2), 1.0)
    (problem,) = find_problems(trainings, SOME)
    assert problem.startswith("the resumed training differs by up to ")
    assert 0 < float(problem.rsplit(" ", 1)[1]) < 1


def test_on_a_gpu_a_difference_is_a_figure_and_no_problem(train_toy):
    broken = train_toy("b", noise=0.2)
    write_json(broken.folder / "decided.json", {"device": "cuda"})
    assert find_problems(Trainings(train_toy("a"), broken, 1.0), SOME) == []


def test_no_text_and_no_learning_are_problems(train_toy):
    part = train_toy("a")
    rows = part.metrics_path.read_text().splitlines(keepends=True)
    part.metrics_path.write_text("".join(reversed(rows)))
    problems = find_problems(Trainings(part, part, 1.0), Generated("", 0, 1.0))
    assert problems == ["training did not lower the loss", "nothing was generated"]


def test_a_training_that_ends_before_it_can_be_killed_is_an_error(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    with pytest.raises(RuntimeError, match="could not be killed half-way"):
        _kill_in_training(process, toys.make_part(tmp_path))


@pytest.mark.slow
def test_the_doctor_tests_this_machine_and_leaves_records(tmp_path: Path):
    overrides = ["device.kind=cpu", "device.precision=float32", "device.threads=1"]
    environment = os.environ | {"LMLAB_RUNS": str(tmp_path), "DEV_MODE": "True"}
    done = subprocess.run(
        tiny.command("doctor", "--selftest", *overrides),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("doctor/*/results.jsonl")
    found = {one.metric: one for one in read_records(path)}
    assert found["resumed_equal"].value == 1
    assert found["largest_difference"].value == 0
    assert found["tokens_per_second"].value > 0
    assert 0 < found["resume_seconds"].value < 120
    assert found["generated_tokens_per_second"].n == 64
    assert not any(one.dev or one.weightless for one in found.values())
    logs = sorted(path.parent.glob("scratch/broken/logs/*.log"))
    assert len(logs) == 2, "killed once, resumed once"
    assert "That Sunday in April," in done.stdout
    assert all(metric in done.stdout for metric in found)
