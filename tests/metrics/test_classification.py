"""Facts about labels: against scikit-learn, hand results, and calibration by its definition."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from lmlab.metrics.classification import (
    calibrate,
    chance,
    label_tokens,
    likeliest,
    majority,
    parse_label,
    score_labels,
)

LABELS = ("negative", "neutral", "positive")


def drawn(n: int, *, seed: int) -> tuple[list[str | None], list[str]]:
    """Predictions, a fifth of them unparsable, and true labels."""
    generator = np.random.default_rng(seed)
    gold = generator.choice(LABELS, n, p=[0.5, 0.2, 0.3]).tolist()
    given = generator.choice([*LABELS, ""], n, p=[0.3, 0.2, 0.3, 0.2]).tolist()
    return [one or None for one in given], gold


def test_scores_are_those_of_scikit_learn_with_unparsable_outputs_as_no_label():
    predicted, gold = drawn(500, seed=0)
    found = score_labels(predicted, gold, labels=LABELS)
    named = [one or "unparsable" for one in predicted]
    theirs = confusion_matrix(gold, named, labels=[*LABELS, "unparsable"])
    assert found.confusion.tolist() == theirs[:-1].tolist()
    assert found.accuracy == pytest.approx(accuracy_score(gold, named))
    f1 = f1_score(gold, named, labels=LABELS, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(f1)
    assert found.num_unparsable == predicted.count(None)
    assert found.values.tolist() == [one == true for one, true in zip(predicted, gold, strict=True)]


def test_an_unparsable_output_is_not_negative():
    found = score_labels([None, None], ["negative", "positive"], labels=("negative", "positive"))
    assert (found.accuracy, found.macro_f1, found.num_unparsable) == (0.0, 0.0, 2)
    assert found.confusion.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_a_label_that_nobody_knows_is_an_error():
    with pytest.raises(ValueError, match="item 1 has the label 'neutral'"):
        score_labels(["positive"] * 2, ["positive", "neutral"], labels=("negative", "positive"))
    with pytest.raises(ValueError, match="item 0 has the label 'Positive'"):
        score_labels(["Positive"], ["positive"], labels=("negative", "positive"))
    with pytest.raises(ValueError, match="1 predictions for 2 items"):
        score_labels(["positive"], ["positive", "positive"], labels=("negative", "positive"))
    with pytest.raises(ValueError, match="no labels"):
        score_labels([], [], labels=("negative", "positive"))


def test_the_majority_is_that_of_the_training_split():
    """SST-2's validation: 428 negative, 444 positive."""
    gold = ["negative"] * 428 + ["positive"] * 444
    labels = ("negative", "positive")
    found = majority(gold, labels=labels, training=["positive"] * 3 + ["negative"] * 2)
    assert found.accuracy == pytest.approx(0.509, abs=5e-4)
    assert found.macro_f1 == pytest.approx(f1_score(gold, ["positive"] * 872, average="macro"))
    other = majority(gold, labels=labels, training=["negative"] * 3 + ["positive"] * 2)
    assert other.accuracy == pytest.approx(428 / 872)


def test_chance_is_what_drawing_labels_comes_to():
    _, gold = drawn(90, seed=1)
    found = chance(gold, labels=LABELS)
    generator = np.random.default_rng(0)
    draws = [
        score_labels(generator.choice(LABELS, 90).tolist(), gold, labels=LABELS)
        for _ in range(2_000)
    ]
    mean = np.mean([one.confusion for one in draws], axis=0)
    np.testing.assert_allclose(found.confusion, mean, atol=0.4)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.values.shape == (90,)
    assert found.num_unparsable == 0


def encode(text: str) -> list[int]:
    """A toy tokenizer: some words with their space are one token, other texts one a character."""
    known = {" positive": 7, " negative": 8, " great": 8}
    return [known[text]] if text in known else [100 + ord(one) for one in text]


def test_label_words_are_one_token_with_their_space():
    assert label_tokens(("negative", "positive"), encode=encode).tolist() == [8, 7]
    with pytest.raises(ValueError, match="label word ' terrible' is 9 tokens, not 1"):
        label_tokens(("positive", "terrible"), encode=encode)
    with pytest.raises(ValueError, match="' great' is the same token"):
        label_tokens(("negative", "great"), encode=encode)


def test_the_likeliest_label_is_chosen_and_a_shared_place_is_none():
    log_probs = np.log([[0.2, 0.5, 0.1], [0.3, 0.1, 0.3], [1e-300, 1e-301, 1e-302]])
    assert likeliest(log_probs, labels=LABELS) == ["neutral", None, "negative"]
    with pytest.raises(ValueError, match="item 1 has no"):
        likeliest(np.array([[0.0, 1, 2], [np.nan, 1, 2]]), labels=LABELS)


def test_calibration_divides_by_what_the_prompt_favours():
    """Probabilities over p_cf, normalised, in plain arithmetic (Zhao et al. 2021, section 5)."""
    generator = np.random.default_rng(0)
    items, free = generator.uniform(0.01, 0.3, (6, 3)), generator.uniform(0.01, 0.3, (4, 3))
    favoured = np.mean([row / row.sum() for row in free], axis=0)
    slow = [row / row.sum() / favoured for row in items]
    found = calibrate(np.log(items), np.log(free))
    np.testing.assert_allclose(np.exp(found), [row / row.sum() for row in slow], rtol=1e-12)


def test_calibration_makes_a_content_free_input_even_and_undoes_a_bias():
    free = np.log(np.array([[0.08, 0.02]]))
    np.testing.assert_allclose(np.exp(calibrate(free, free)), [[0.5, 0.5]])
    # Both inputs look positive until the prompt's preference for it is taken away.
    items = np.log(np.array([[0.07, 0.03], [0.09, 0.01]]))
    labels = ("positive", "negative")
    assert likeliest(items, labels=labels) == ["positive", "positive"]
    assert likeliest(calibrate(items, free), labels=labels) == ["negative", "positive"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" positive\nReview: a negative one", "positive"),
        ("Negative.", "negative"),
        ("It is not positive, but negative", "positive"),
        ("negatively", None),
        ("positives", None),
        ("I liked it", None),
        ("", None),
    ],
)
def test_the_first_label_word_is_taken(text, label):
    assert parse_label(text, labels=("negative", "positive")) == label
