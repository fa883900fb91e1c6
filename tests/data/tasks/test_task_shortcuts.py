"""Pairs and reviews: what is right is right, and neither length nor single words give it away."""

import logging
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lmlab.data.stories.world import Split
from lmlab.data.tasks import reviews
from lmlab.data.tasks.pairs import KINDS, draw_pair
from lmlab.data.tasks.records import Pair, Review
from lmlab.data.tasks.reviews import draw_review

log = logging.getLogger(__name__)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


# --- pairs ---


@pytest.mark.parametrize("kinds", [KINDS, ("solve",)])
def test_pairs_are_told_apart_neither_by_length_nor_by_words(kinds):
    train = [draw_pair("train", index, seed=0, kinds=kinds) for index in range(1200)]
    test = [draw_pair("test", index, seed=0, kinds=kinds) for index in range(800)]
    by_length = length_auc(test)
    by_words = word_auc(train, test)
    log.info("AUC by length %.3f, by bag of words %.3f", by_length, by_words)
    assert 0.4 < by_length < 0.6
    assert 0.4 < by_words < 0.6


def test_the_measure_finds_pairs_that_are_told_apart():
    """By length where the rejected response is longer, by words where one word gives it away."""
    pairs = [draw_pair("train", index, seed=0) for index in range(200)]
    longer = [Pair(one.id, "", one.chosen, one.rejected + " And so on, and on.") for one in pairs]
    marked = [Pair(one.id, "", one.chosen, f"Well, {one.rejected}") for one in pairs]
    assert length_auc([Pair(o.id, "", "yes", o.rejected) for o in longer]) < 0.01
    assert word_auc(marked[:100], marked[100:]) > 0.95


def length_auc(pairs: list[Pair]) -> float:
    return float(roc_auc_score(is_chosen(pairs), [len(text) for text in responses(pairs)]))


def word_auc(train: list[Pair], test: list[Pair]) -> float:
    """Of a logistic regression on the counts of words, trained on one split, tested on another."""
    words = CountVectorizer(token_pattern=r"[\w'-]+")
    model = LogisticRegression(C=0.1, max_iter=2000)
    model.fit(words.fit_transform(responses(train)), is_chosen(train))
    scores = model.decision_function(words.transform(responses(test)))
    return float(roc_auc_score(is_chosen(test), scores))


def responses(pairs: list[Pair]) -> list[str]:
    return [one.chosen for one in pairs] + [one.rejected for one in pairs]


def is_chosen(pairs: list[Pair]) -> np.ndarray:
    return np.repeat([1, 0], len(pairs))


# --- reviews ---


VERDICTS = {
    "positive": r"(would|shall) (gladly )?go back|can only|not hesitate|not want|no fault|"
    r"not disappointed|was pleased|regret nothing",
    "negative": r"not go back|cannot|would hesitate|would gladly have|no merit|"
    r"was disappointed|not pleased|regret it",
}


def test_a_label_is_that_of_the_verdict():
    for index in range(400):
        review = draw_review(SPLITS[index % 3], index, seed=3)
        found = {label for label, words in VERDICTS.items() if re.search(words, review.text)}
        assert found == {review.label}, review.text


ENTRIES = [entry for text in reviews.POINTS.values() for entry in text.split(";")]
POINTS = {" ".join(entry.split(":")[0].split()) for entry in ENTRIES}
WORDS = {
    word: label
    for entry in ENTRIES
    for label, word in zip(
        ("positive", "negative"), re.findall(r"\w+", entry.split(":")[1]), strict=True
    )
}
JUDGED = re.compile(
    rf"(?P<nobody>nobody could call )?({'|'.join(POINTS)}) (was |to be )?"
    rf"(?P<denied>not |anything but )?(quite |really )?(?P<word>{'|'.join(WORDS)})\b"
    r"( at all| in the least)?(?P<wrong>, and I was wrong)?",
    re.IGNORECASE,
)
CONCEDES = re.compile(r"but |although|still,|all the same|even if|say what", re.IGNORECASE)


def test_both_points_go_with_the_verdict_unless_one_is_conceded():
    opposite = {"positive": "negative", "negative": "positive"}
    for index in range(400):
        review = draw_review(SPLITS[index % 3], index, seed=6)
        verdicts = []
        for found in JUDGED.finditer(review.text):
            plain = WORDS[found["word"]]
            denied = any(found[name] for name in ("nobody", "denied", "wrong"))
            verdicts.append(opposite[plain] if denied else plain)
        conceded = CONCEDES.search(review.text.replace("anything but", ""))
        expected = [review.label] * 2
        if conceded:
            expected = sorted([review.label, opposite[review.label]])
        assert sorted(verdicts) == expected, review.text


def test_no_word_tells_the_label_of_a_review():
    found = [draw_review("test", index, seed=0) for index in range(1000)]
    assert Counter(one.label for one in found) == {"negative": 500, "positive": 500}
    words = CountVectorizer(binary=True)
    has = words.fit_transform([one.text for one in found]).toarray()
    right = (has == labels(found)[:, None]).mean(0)
    assert np.abs(right - 0.5).max() < 0.15


def test_words_alone_do_not_decide_a_review_but_their_order_does():
    train = [draw_review("train", index, seed=0) for index in range(1500)]
    test = [draw_review("test", index, seed=0) for index in range(600)]
    right = {}
    for length in (1, 3):
        words = CountVectorizer(ngram_range=(1, length))
        model = LogisticRegression(max_iter=2000)
        model.fit(words.fit_transform([one.text for one in train]), labels(train))
        scored = model.predict(words.transform([one.text for one in test]))
        right[length] = (scored == labels(test)).mean()
    assert 0.6 < right[1] < 0.85 < right[3]


def labels(found: list[Review]) -> np.ndarray:
    return np.array([one.label == "positive" for one in found])
