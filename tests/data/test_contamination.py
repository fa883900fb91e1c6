"""Overlap with the training text, against a slow count of tuples; a planted leak is found."""

import random
import re
from collections.abc import Sequence

import numpy as np
import pytest

from lmlab.data.contamination import (
    NGRAM,
    document_overlap,
    fact_overlap,
    ngram_overlap,
    shared_facts,
    story_facts,
)
from lmlab.data.stories import stories

WORDS = [
    "ada",
    "baker",
    "clock",
    "dune",
    "elm",
    "ferry",
    "goat",
    "harp",
    "iron",
    "jug",
    "kite",
    "lamp",
    "moon",
]


def text(words: int, *, seed: str) -> str:
    """Prose of so many words, in mixed case and with marks between them."""
    draw = random.Random(seed)
    return "".join(
        draw.choice([str.upper, str.lower, str.title])(draw.choice(WORDS))
        + draw.choice([" ", ", ", ".\n"])
        for _ in range(words)
    )


def slow_counts(
    documents: Sequence[str], training: Sequence[str], length: int
) -> list[tuple[int, int]]:
    """(shared, pieces) of each document, by tuples of words."""

    def grams(document: str) -> list[tuple[str, ...]]:
        words = re.findall(r"\w+", document.lower())
        return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]

    known = {gram for document in training for gram in grams(document)}
    return [(sum(gram in known for gram in grams(one)), len(grams(one))) for one in documents]


@pytest.mark.parametrize("length", [1, 3, 5, NGRAM])
def test_ngram_overlap_is_what_a_count_of_tuples_gives(length: int):
    training = [text(200, seed=f"train {number}") for number in range(20)]
    documents = [text(40, seed=f"test {number}") for number in range(8)] + ["", "two words"]
    documents.append(" ".join(training[3].split()[50:90]))
    found = ngram_overlap(documents, training, length=length)
    expected = slow_counts(documents, training, length)
    assert list(zip(found.shared.tolist(), found.pieces.tolist(), strict=True)) == expected
    shared, pieces = (sum(column) for column in zip(*expected, strict=True))
    assert shared > 0
    assert found.share == shared / pieces


def test_a_planted_leak_is_found_and_its_removal_too():
    training = [text(300, seed=f"train {number}") for number in range(30)]
    documents = [text(60, seed=f"test {number}") for number in range(10)]
    clean = ngram_overlap(documents, training)
    assert clean.shared.sum() == 0
    assert not document_overlap(documents, training).any()
    # 14 words of it in other case and lines: two 13-grams.
    piece = "  \n".join(documents[4].upper().split()[20:34])
    planted = [*training[:10], f"{training[10]} rim {piece} rim {training[11]}", *training[12:]]
    assert np.flatnonzero(ngram_overlap(documents, planted).shared).tolist() == [4]
    assert ngram_overlap(documents, planted).shared[4] == 2
    assert not document_overlap(documents, planted).any()
    whole = [*training, documents[7].lower()]
    assert np.flatnonzero(document_overlap(documents, whole)).tolist() == [7]
    found = ngram_overlap(documents, whole)
    assert found.shared.tolist() == [60 - 12 if one == 7 else 0 for one in range(10)]


def test_no_ngram_crosses_from_one_training_document_into_the_next():
    document = " ".join(f"word{number}" for number in range(20))
    words = document.split()
    apart = [" ".join(words[:10]), " ".join(words[10:])]
    assert ngram_overlap([document], apart).shared.sum() == 0
    assert ngram_overlap([document], [" ".join(apart)]).shared.sum() == 8


def test_a_document_without_words_is_in_no_training_text():
    assert not document_overlap(["", " \n- -", "one"], ["", "two"]).any()


def test_the_splits_of_the_stories_share_no_village_and_no_hero():
    facts = [story_facts(one) for one in stories("test", 60, seed=0)]
    shared = shared_facts(facts, stories("train", 200, seed=0))
    assert not [one for one in shared if not one.startswith("thing")]


def test_a_test_story_planted_in_training_is_known_by_its_facts():
    facts = [story_facts(one) for one in stories("test", 40, seed=3)]
    training = list(stories("train", 50, seed=3))
    before = shared_facts(facts, training)
    leaked = next(iter(stories("test", 1, seed=3)))
    shared = shared_facts(facts, [*training, leaked])
    assert shared - before == facts[0] - before
    assert f"village {leaked.world.village}" in shared
    found = fact_overlap(facts, shared)
    assert found.shared[0] == found.pieces[0] == len(facts[0])
    assert found.shared.sum() == sum(fact in shared for one in facts for fact in one)
