"""The public sets as they lie in the folder of real data: every row is read or counted."""

import re
from collections import Counter

import pytest

from lmlab.data.schema import NamedTasks
from lmlab.data.tasks.load import (
    load_dialogues,
    load_instructions,
    load_pairs,
    load_problems,
    load_reviews,
)

pytestmark = pytest.mark.realdata
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _folder(real_data, monkeypatch):
    monkeypatch.setenv("LMLAB_DATA", str(real_data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def _named(name):
    return NamedTasks(kind="named", name=name)


def _sizes(load, name):
    return [len(load(_named(name), split).records) for split in SPLITS]


def test_alpaca_demo_has_999_instructions():
    assert _sizes(load_instructions, "alpaca_demo") == [799, 100, 100]


def test_dpo_demo_has_300_pairs():
    assert _sizes(load_pairs, "dpo_demo") == [200, 50, 50]


def test_2307_of_2312_harmless_pairs_share_their_prompt():
    found = load_pairs(_named("hh_rlhf"), "test")
    assert len(found.records) == 2307
    assert list(found.dropped.values()) == [5]
    assert all(one.prompt.startswith("Human: ") for one in found.records)
    assert not any(one.prompt.endswith("Assistant:") for one in found.records)


def test_the_cut_harmless_pairs_are_the_same_pairs():
    parts = [load_pairs(_named("hh_rlhf_demo"), split) for split in SPLITS]
    whole = load_pairs(_named("hh_rlhf"), "test").records
    assert sum(sum(part.dropped.values()) for part in parts) == 5
    prompts = Counter(one.chosen for part in parts for one in part.records)
    assert prompts == Counter(one.chosen for one in whole)


def test_gsm8k_has_8792_gold_answers():
    found = {split: load_problems(_named("gsm8k"), split).records for split in SPLITS}
    assert {split: len(one) for split, one in found.items()} == {
        "train": 7000, "validation": 473, "test": 1319,
    }  # fmt: skip
    for problem in (one for several in found.values() for one in several):
        assert re.fullmatch(r"-?\d+", problem.answer)
        assert problem.solution.replace(",", "").endswith(f"#### {problem.answer}")


def test_sst2_has_its_sentences_and_labels():
    found = {split: load_reviews(_named("sst2"), split).records for split in SPLITS}
    counts = {split: Counter(one.label for one in several) for split, several in found.items()}
    assert counts == {
        "train": {"positive": 3610, "negative": 3310},
        "validation": {"positive": 444, "negative": 428},
        "test": {"positive": 909, "negative": 912},
    }


def test_dialogsum_has_one_reference_to_validate_and_three_to_test():
    validation = load_dialogues(_named("dialogsum"), "validation").records
    test = load_dialogues(_named("dialogsum"), "test").records
    assert [len(validation), len(test)] == [500, 500]
    assert {len(one.summaries) for one in validation} == {1}
    assert {len(one.summaries) for one in test} == {3}
    assert _sizes(load_dialogues, "dialogsum_demo") == [400, 100, 500]


def test_limits_are_of_records():
    config = NamedTasks(kind="named", name="hh_rlhf", max_records=2306)
    assert len(load_pairs(config, "test").records) == 2306
