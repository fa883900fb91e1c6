"""What of a task's records was trained on: planted leaks are found, and nothing else."""

import numpy as np
import pytest

from lmlab.data.tasks.records import Dialogue, Instruction, Pair, Problem, Review, TaskSplit
from lmlab.engine.config import load_preset
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.material import judged_records, trained_records
from lmlab.studies.scratch.overlap import ScoredRecords, measure_task_contamination

WORDS = [f"word{number}" for number in range(4000)]


def words(first: int, count: int = 30) -> str:
    """A text that shares no word with those further on."""
    return " ".join(WORDS[first : first + count])


def split(*records: object) -> TaskSplit:
    return TaskSplit(
        name="toy", split="test", records=list(records), data_kind="real", licence="", dropped={}
    )


KINDS = {
    "instructions": lambda i: Instruction(str(i), words(i), "", words(i + 40)),
    "pairs": lambda i: Pair(str(i), words(i), words(i + 40), words(i + 80)),
    "problems": lambda i: Problem(str(i), words(i), f"{words(i + 40)}\n#### 1", "1"),
    "reviews": lambda i: Review(str(i), words(i), "positive"),
    "dialogues": lambda i: Dialogue(str(i), words(i), (words(i + 40),)),
}


@pytest.fixture
def tasks() -> list[ScoredRecords]:
    """Three records of each kind, no two alike."""
    return [
        ScoredRecords(name, "sft", split(*(make(600 * place + 200 * i) for i in range(3))))
        for place, (name, make) in enumerate(KINDS.items())
    ]


@pytest.mark.parametrize("place", range(len(KINDS)))
def test_a_record_among_those_of_any_stage_is_found_in_its_task_alone(
    tasks: list[ScoredRecords], place: int
):
    clean = {"pretrain": [words(3900)], "dpo": [words(3950)]}
    leaked = tasks[place].data.documents[1]
    # Written in another way: case and punctuation are no difference.
    planted = {**clean, "dpo": [*clean["dpo"], leaked.upper().replace(" ", ", ")]}
    for training, expected in ((clean, False), (planted, True)):
        found = measure_task_contamination(tasks, training)
        assert [dict(one.at) for one in found] == [
            {"task": task.name, "split": "test"} for task in tasks
        ]
        for number, one in enumerate(found):
            leaks = [False, expected and number == place, False]
            assert one.documents.tolist() == leaks
            assert ((one.pieces.overlap.shared > 0) == np.array(leaks)).all()
            assert one.against == ["pretrain", "dpo"]


def test_thirteen_words_in_the_pretraining_text_are_found_and_twelve_are_not(
    tasks: list[ScoredRecords],
):
    for count, shared in ((12, 0), (13, 1), (20, 8)):
        text = f"before {words(205, count)} after"
        instructions, *_ = measure_task_contamination(tasks, {"pretrain": [text]})
        assert instructions.pieces.overlap.shared.tolist() == [0, shared, 0]
        assert not instructions.documents.any()


def test_a_run_compares_what_it_is_judged_on_with_what_each_stage_trains_on():
    config = load_preset("scratch/demo").config
    assert isinstance(config, Config)
    judged = [(one.name, one.part, one.data.split) for one in judged_records(config)]
    assert judged == [
        ("instructions", "sft", "test"),
        ("problems", "sft", "test"),
        ("pairs", "dpo", "test"),
        ("problems", "verifier", "test"),
    ]
    trained = trained_records(config)
    assert config.sft is not None
    assert config.sft.problems is not None
    assert list(trained) == ["sft", "dpo", "verifier"]
    sizes = config.sft.data, config.sft.problems
    assert len(trained["sft"]) == sum(one.records for one in sizes if one.kind == "stories")
    alone = config.model_copy(update={"sft": None, "dpo": None, "verifier": None})
    assert (judged_records(alone), trained_records(alone)) == ([], {})
    assert measure_task_contamination([], {"pretrain": ["text"]}) == []


def test_the_built_in_stages_are_judged_on_records_that_none_trains_on():
    config = load_preset("scratch/demo").config
    assert isinstance(config, Config)
    found = measure_task_contamination(judged_records(config), trained_records(config))
    assert [int(one.documents.sum()) for one in found] == [0, 0, 0, 0]
