"""Facts about ROUGE: hand results, and a slow count of the pieces that two texts share."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer

from lmlab.metrics.rouge import METRICS, rouge

WORDS = ["running", "dogs", "a", "the", "cat", "sat", "happily", "on", "mats"]


def stems(text: str) -> list[str]:
    """Words of more than three letters are stemmed."""
    stemmer = PorterStemmer()
    return [stemmer.stem(word) if len(word) > 3 else word for word in text.split()]


def f(shared: int, predicted: int, reference: int) -> float:
    return 2 * shared / (predicted + reference) if shared else 0.0


def slow_n(prediction: str, reference: str, n: int) -> float:
    one, two = (
        Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        for words in (stems(prediction), stems(reference))
    )
    return f((one & two).total(), one.total(), two.total())


def slow_l(prediction: str, reference: str) -> float:
    """The longest common subsequence, by trying all of them."""
    one, two = stems(prediction), stems(reference)
    for size in range(len(one), 0, -1):
        ours = set(combinations(one, size))
        if ours & set(combinations(two, size)):
            return f(size, len(one), len(two))
    return 0.0


def test_rouge_is_a_slow_count_of_shared_pieces():
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(40)]
    predictions, references = texts[:20], texts[20:]
    found = rouge(predictions, [[one] for one in references], several="mean")
    assert tuple(found) == METRICS
    for i, (ours, theirs) in enumerate(zip(predictions, references, strict=True)):
        assert found["rouge1"][i] == pytest.approx(slow_n(ours, theirs, 1))
        assert found["rouge2"][i] == pytest.approx(slow_n(ours, theirs, 2))
        assert found["rougeL"][i] == pytest.approx(slow_l(ours, theirs))


def test_words_are_stemmed_and_case_and_points_do_not_count():
    found = rouge(["The cats, RUNNING!"], [["the cat runs"]], several="mean")
    assert all(values.tolist() == [1.0] for values in found.values())


def test_only_rouge_l_sum_sees_lines():
    """Two sentences in the other order: no long common subsequence, but two common lines."""
    one, two = "the cat sat on mats", "dogs ran home again"
    lined = rouge([f"{one}\n{two}"], [[f"{two}\n{one}"]], several="mean")
    assert lined["rougeL"].tolist() == [5 / 9]
    assert lined["rougeLsum"].tolist() == [1.0]
    flat = rouge([f"{one} {two}"], [[f"{two} {one}"]], several="mean")
    assert flat["rougeLsum"].tolist() == flat["rougeL"].tolist() == lined["rougeL"].tolist()


def test_of_several_references_the_mean_or_the_best_one_of_each_metric():
    prediction, references = "a b c d", ["a b x y", "d c b a", "a b c d"]
    each = [rouge([prediction], [[one]], several="mean") for one in references]
    mean = rouge([prediction], [references], several="mean")
    best = rouge([prediction], [references[:2]], several="best")
    for metric in METRICS:
        single = [float(one[metric][0]) for one in each]
        assert mean[metric][0] == pytest.approx(sum(single) / 3)
        assert best[metric][0] == max(single[:2])
    # The best reference for words is not the best one for their pairs.
    assert (best["rouge1"][0], best["rouge2"][0]) == (1.0, 1 / 3)


def test_an_empty_summary_scores_nothing_and_a_missing_reference_is_an_error():
    empty = rouge(["", "!?"], [["a cat"], ["a cat"]], several="best")
    assert all(not values.any() for values in empty.values())
    with pytest.raises(ValueError, match="item 1 has no reference"):
        rouge(["a", "b"], [["a"], []], several="mean")
