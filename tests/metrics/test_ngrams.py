"""Facts about n-gram models, against a dictionary of tuples written apart from them."""

import lzma
from collections import Counter, defaultdict

import numpy as np
import pytest

from lmlab.metrics.ngrams import FALLBACK, NgramModel, fit_ngrams, word_vocabulary

VOCAB = 12


def zipf_ids(size: int, *, seed: int) -> np.ndarray:
    """A text in which an id depends on the one before it, so that longer n-grams repeat."""
    generator = np.random.default_rng(seed)
    steps = generator.choice(6, size, p=np.array([0.45, 0.25, 0.12, 0.08, 0.06, 0.04]))
    # The last two ids of the vocabulary never occur.
    return (np.cumsum(steps) + generator.integers(0, 2, size)) % (VOCAB - 2)


class SlowKneserNey:
    """Interpolated modified Kneser-Ney straight from the formulas, one probability at a time."""

    def __init__(self, ids: list[int], order: int) -> None:
        padded = ["<s>"] * (order - 1) + ids
        grams = Counter(tuple(padded[at : at + order]) for at in range(len(ids)))
        self.counts: dict[int, dict] = {order: grams}
        for k in range(order - 1, 0, -1):
            left = defaultdict(set)
            for gram in self.counts[k + 1]:
                left[gram[1:]].add(gram[0])
            self.counts[k] = {gram: len(neighbours) for gram, neighbours in left.items()}
        self.order = order

    def discount(self, k: int, count: int) -> float:
        n = Counter(self.counts[k].values())
        d = list(FALLBACK)
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            guess = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
            if all(0 <= one <= i + 1 for i, one in enumerate(guess)):
                d = guess
        return d[min(count, 3) - 1]

    def probability(self, word: int, context: tuple) -> float:
        k = len(context) + 1
        shorter = self.probability(word, context[1:]) if context else 1 / VOCAB
        following = {g: c for g, c in self.counts[k].items() if g[:-1] == context}
        if not following:
            return shorter
        total = sum(following.values())
        own = following.get((*context, word), 0)
        seen = max(own - self.discount(k, own), 0) if own else 0
        return (seen + sum(self.discount(k, c) for c in following.values()) * shorter) / total

    def nll(self, ids: list[int]) -> list[float]:
        padded = ["<s>"] * (self.order - 1) + ids
        return [
            -np.log(self.probability(word, tuple(padded[at : at + self.order - 1])))
            for at, word in enumerate(ids)
        ]


def fitted(order: int, *, size: int = 400) -> NgramModel:
    return fit_ngrams(zipf_ids(size, seed=1), order=order, vocab_size=VOCAB)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_probabilities_equal_a_slow_dictionary(order):
    training, text = zipf_ids(400, seed=1), zipf_ids(60, seed=2)
    text[[7, 20]] = VOCAB - 1  # never seen, so that its contexts are unseen as well
    slow = SlowKneserNey(training.tolist(), order)
    np.testing.assert_allclose(fitted(order).nll(text), slow.nll(text.tolist()), rtol=1e-11)


def test_both_estimated_and_fallback_discounts_are_among_those_tests():
    discounts = [table.discounts for table in fitted(5).tables]
    assert FALLBACK in discounts
    assert any(one != FALLBACK for one in discounts)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_all_next_ids_together_have_probability_one(order):
    model, generator = fitted(order), np.random.default_rng(3)
    for length in (0, 1, 2, 4, 9):
        for _ in range(5):
            following = model.probabilities(generator.integers(0, VOCAB, length))
            assert following.min() > 0
            assert abs(following.sum() - 1) < 1e-12


def test_the_nll_is_that_of_the_probabilities():
    model, text = fitted(3), zipf_ids(20, seed=4)
    for at, nll in enumerate(model.nll(text)):
        assert np.exp(-nll) == pytest.approx(model.probabilities(text[:at])[text[at]], rel=1e-12)


def test_the_text_alone_decides_not_what_follows_it():
    model, text = fitted(4), zipf_ids(50, seed=5)
    assert (model.nll(text)[:30] == model.nll(text[:30])).all()


def test_a_longer_memory_helps_where_the_text_has_one():
    held_out = zipf_ids(2_000, seed=6)
    unigram, bigram = (fitted(order, size=20_000).nll(held_out).mean() for order in (1, 2))
    assert bigram < unigram - 0.2


def test_a_unigram_of_ids_that_are_all_frequent_is_their_share():
    ids = np.repeat(np.arange(4), [3, 5, 7, 9])
    shares = fit_ngrams(ids, order=1, vocab_size=4).probabilities(ids[:0])
    np.testing.assert_allclose(shares, np.array([3, 5, 7, 9]) / 24, rtol=1e-12)


@pytest.mark.parametrize(
    ("ids", "order", "error"),
    [([], 2, "no ids"), ([0, 12], 2, "id 12 is outside"), ([0, -1], 2, "id -1"), ([0], 6, "1..5")],
)
def test_what_cannot_be_counted_is_an_error(ids, order, error):
    with pytest.raises(ValueError, match=error):
        fit_ngrams(np.array(ids, dtype=np.int64), order=order, vocab_size=VOCAB)


def test_a_text_with_unseen_words_is_refused_with_their_number_and_an_example():
    vocabulary = word_vocabulary("the cat sat\non the mat\n")
    assert vocabulary.encode(" the mat\n\n").tolist() == [0, 5, 3, 3]
    with pytest.raises(ValueError, match=r"2 of 4 words do not occur .* for example 'dog'"):
        vocabulary.encode("the dog dog\n")


@pytest.mark.realdata
def test_wikitext2_word_ngrams_are_in_their_order(real_data):
    folder = real_data / "wikitext-2"
    training = lzma.decompress((folder / "train.txt.xz").read_bytes()).decode()
    vocabulary = word_vocabulary(training)
    ids, test = (vocabulary.encode(text) for text in (training, (folder / "test.txt").read_text()))
    assert (len(vocabulary.ids), ids.size, test.size) == (33_278, 2_088_628, 245_569)
    unigram, *_, five = (
        np.exp(fit_ngrams(ids, order=order, vocab_size=33_278).nll(test).mean()) for order in (1, 5)
    )
    # No word occurs less than three times: the smoothed unigram is the plain share of each word.
    shares = np.bincount(ids) / ids.size
    assert unigram == pytest.approx(np.exp(-np.log(shares[test]).mean()), rel=1e-9)
    assert five < unigram / 3
