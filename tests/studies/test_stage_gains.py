"""Gains of stages over the one before, on scores made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmlab.data.tasks.records import Problem, TaskSplit
from lmlab.engine.config import load_preset
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.metrics.significance import difference_of_pairs, pairs
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.gains import comparisons, scored_gains
from lmlab.studies.scratch.scored import Scored, Task, scored_records

ITEMS = 60


@pytest.fixture
def config() -> Config:
    found = load_preset("scratch/demo").config
    assert isinstance(found, Config)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "scratch", "toy")


@pytest.fixture
def task() -> Task:
    problems = [Problem(str(i), f"question {i}", "#### 1", "1") for i in range(ITEMS)]
    data = TaskSplit(
        name="toy", split="test", records=problems, data_kind="real", licence="", dropped={}
    )
    return Task("problems", data, {"rule": "official"}, [one.id for one in problems])


def scored(task: Task, arm: str, right: int, **changes: Any) -> Scored:
    """The first `right` items are right."""
    given: dict[str, Any] = {"part": arm, "weights": {"decoder": arm}, "training_step": 1}
    values = (np.arange(ITEMS) < right).astype(float)
    return Scored(task, changes.pop("metric", "exact_match"), values, arm=arm, **(given | changes))


def gains(found: list[Scored], config: Config, run: Run) -> dict[tuple[str, str], Record]:
    records = scored_records(found, config, run)
    return {(one.arm, str(one.at["against"])): one for one in scored_gains(found, records, config)}


def test_each_decoder_is_compared_with_the_one_before_it_that_there_is():
    every = {"untrained", "trained", "sft", "dpo"}
    chain = [("trained", "untrained"), ("sft", "trained"), ("dpo", "sft")]
    assert list(comparisons(every)) == chain
    assert list(comparisons(every - {"sft"})) == [("trained", "untrained"), ("dpo", "trained")]
    assert list(comparisons({"dpo", "longer answer"})) == [("dpo", "longer answer")]
    assert list(comparisons({"unigram", "random"})) == []


def test_a_gain_is_paired_signed_and_names_both_weights(config: Config, task: Task, run: Run):
    arms = [scored(task, "untrained", 30), scored(task, "trained", 45), scored(task, "sft", 20)]
    found = gains(arms, config, run)
    assert set(found) == {("trained", "untrained"), ("sft", "trained")}
    up, down = found["trained", "untrained"], found["sft", "trained"]
    assert (up.value, down.value) == (pytest.approx(15 / 60), pytest.approx(-25 / 60))
    expected = difference_of_pairs(pairs(arms[1].values, arms[0].values))
    assert up.interval == (expected.low, expected.high)
    assert down.interval is not None
    assert down.interval[1] < 0
    assert down.weights == {"decoder": "sft", "trained decoder": "trained"}
    assert (up.metric, up.better, up.n) == ("exact_match_gain", "higher", ITEMS)
    assert up.protocol == {
        "gain_in": "exact_match",
        "scored_under": scored_records(arms, config, run)[0].protocol_hash,
    }


def test_equal_items_are_told_apart_by_nothing_and_lower_may_be_better(
    config: Config, task: Task, run: Run
):
    cost = {"metric": "cost", "better": "lower"}
    arms = [scored(task, "trained", 40, **cost), scored(task, "sft", 10, **cost)]
    assert gains(arms, config, run)["sft", "trained"].value == pytest.approx(0.5)
    same = [scored(task, "trained", 40), scored(task, "sft", 40)]
    found = gains(same, config, run)["sft", "trained"]
    assert found.interval is not None
    assert found.interval[0] < found.value == 0 < found.interval[1]


def test_choices_are_compared_where_all_samples_are_there(config: Config, task: Task, run: Run):
    arms = [
        scored(task, arm, right * n, metric="best_of_n", at={"n": n}, weights=weights)
        for n in (1, 2, 4)
        for arm, right, weights in (("verifier", 10, {"verifier": "v"}), ("random", 5, {}))
    ]
    records = scored_gains(arms, scored_records(arms, config, run), config)
    assert [(one.arm, one.at) for one in records] == [
        ("verifier", {"task": "problems", "split": "test", "n": 4, "against": "random"})
    ]
    assert records[0].value == pytest.approx(20 / 60)
