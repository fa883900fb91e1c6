"""N-gram models with interpolated modified Kneser-Ney smoothing: the controls of a perplexity."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

LONGEST = 5
# Discounts where no n-gram occurs once, twice or three times, so that none can be estimated:
# KenLM's --discount_fallback.
FALLBACK = (0.5, 1.0, 1.5)
_WORD = re.compile(r"\S+|\n")


@dataclass(frozen=True)
class Grams:
    """All k-grams of a training text, sorted by key = context · (vocab_size + 1) + last id.

    A context is the row of a (k-1)-gram in the table one shorter.
    """

    keys: Int64[np.ndarray, "grams"]
    # max(count - discount, 0) / count of the context.
    weight: Float64[np.ndarray, "grams"]
    # The mass that a context leaves to the order below; all of it where it was never followed.
    backoff: Float64[np.ndarray, "contexts"]
    # D1, D2, D3+ (Chen & Goodman 1998, eq. 26).
    discounts: tuple[float, float, float]


@dataclass(frozen=True)
class NgramModel:
    """p(id | the order - 1 ids before it), above zero for every id of the vocabulary.

    The longest order counts occurrences, each shorter one distinct left neighbours, and below
    order 1 lies the uniform distribution, so that an id that never occurred has probability too.
    Order 1 alone is the discounted unigram, interpolated with the uniform.
    """

    vocab_size: int
    tables: tuple[Grams, ...]

    def nll(self, ids: Int64[np.ndarray, "tokens"]) -> Float64[np.ndarray, "tokens"]:
        """In nats, of each id given those before it; the text opens with BOS, as in training."""
        _check_ids(ids, self.vocab_size)
        contexts = [row[:-1] for row in self._contexts(ids)]
        return -np.log(self._interpolate(contexts, ids))

    def probabilities(self, context: Int64[np.ndarray, "tokens"]) -> Float64[np.ndarray, "vocab"]:
        """Of every id that may follow a text, which opens with BOS."""
        _check_ids(context, self.vocab_size)
        contexts = [row[-1:].repeat(self.vocab_size) for row in self._contexts(context)]
        return self._interpolate(contexts, np.arange(self.vocab_size))

    def _contexts(self, ids: Int64[np.ndarray, "tokens"]) -> list[Int64[np.ndarray, "places"]]:
        """For k = 0.. the row of the k-gram before each id and after the last; -1 if never seen."""
        padded = _pad(ids, order=len(self.tables), bos=self.vocab_size)
        rows = [np.zeros_like(padded)]
        for table in self.tables[:-1]:
            rows.append(_find(table.keys, _keys(_shift(rows[-1]), padded, self.vocab_size)))
        return [row[len(self.tables) - 1 :] for row in rows]

    def _interpolate(
        self, contexts: list[Int64[np.ndarray, "tokens"]], ids: Int64[np.ndarray, "tokens"]
    ) -> Float64[np.ndarray, "tokens"]:
        probability = np.full(ids.size, 1 / self.vocab_size)
        for table, context in zip(self.tables, contexts, strict=True):
            gram = _find(table.keys, _keys(context, ids, self.vocab_size))
            seen = np.where(gram >= 0, table.weight[gram], 0.0)
            left = np.where(context >= 0, table.backoff[context], 1.0)
            probability = seen + left * probability
        return probability


def fit_ngrams(ids: Int64[np.ndarray, "tokens"], *, order: int, vocab_size: int) -> NgramModel:
    """Interpolated modified Kneser-Ney (Chen & Goodman 1998) of one text of any tokenizer's ids."""
    if not 1 <= order <= LONGEST:
        raise ValueError(f"order {order} is outside 1..{LONGEST}")
    if not ids.size:
        raise ValueError("no ids to count n-grams in")
    _check_ids(ids, vocab_size)
    tables, num_contexts = [], 1
    for keys, counts in _count(ids, order=order, vocab_size=vocab_size):
        tables.append(_smooth(keys, counts, num_contexts=num_contexts, vocab_size=vocab_size))
        num_contexts = keys.size
    return NgramModel(vocab_size, tuple(tables))


@dataclass(frozen=True)
class WordVocabulary:
    """Ids of the words of a training text, split on white space; a line end is a word too."""

    ids: dict[str, int]

    @property
    def hash(self) -> str:
        """Stands for the tokenizer in a protocol."""
        return hashlib.sha256("\n".join(sorted(self.ids)).encode()).hexdigest()

    def encode(self, text: str) -> Int64[np.ndarray, "words"]:
        """Ids of a text's words and line ends; a word unseen in training is an error."""
        words = _words(text)
        unseen = [word for word in words if word not in self.ids]
        if unseen:
            raise ValueError(
                f"{len(unseen)} of {len(words)} words do not occur in the training text, for "
                f"example {unseen[0]!r}; a word model gives them no probability, so fit the "
                "n-grams on a tokenizer's ids and compare per word or byte"
            )
        return np.array([self.ids[word] for word in words], dtype=np.int64)


def word_vocabulary(text: str) -> WordVocabulary:
    """The vocabulary of a training text, in order of first occurrence."""
    return WordVocabulary({word: at for at, word in enumerate(dict.fromkeys(_words(text)))})


def word_starts(text: str) -> list[int]:
    """The character at which each word or line end starts."""
    return [found.start() for found in _WORD.finditer(text)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _check_ids(ids: Int64[np.ndarray, "tokens"], vocab_size: int) -> None:
    wrong = ids[(ids < 0) | (ids >= vocab_size)]
    if wrong.size:
        raise ValueError(f"id {wrong[0]} is outside the vocabulary 0..{vocab_size - 1}")


def _pad(ids: Int64[np.ndarray, "tokens"], *, order: int, bos: int) -> Int64[np.ndarray, "padded"]:
    return np.concatenate([np.full(order, bos, dtype=np.int64), ids])


def _count(
    ids: Int64[np.ndarray, "tokens"], *, order: int, vocab_size: int
) -> list[tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]]:
    """(keys, counts) of the k-grams for k = 1..order, counted as Kneser and Ney do."""
    padded = _pad(ids, order=order, bos=vocab_size)
    keys, first, rows = [], [], [np.zeros_like(padded)]
    for _ in range(order):
        grams = _keys(_shift(rows[-1]), padded, vocab_size)
        unique, where, row = np.unique(grams, return_index=True, return_inverse=True)
        keys.append(unique)
        first.append(where)
        rows.append(row)
    # The padding itself is never predicted.
    counts = [np.bincount(rows[order][order:], minlength=keys[-1].size)]
    for k in range(order - 1, 0, -1):
        # Each distinct (k+1)-gram is one left neighbour of the k-gram that it ends with.
        endings = rows[k][first[k][counts[0] > 0]]
        counts.insert(0, np.bincount(endings, minlength=keys[k - 1].size))
    return list(zip(keys, counts, strict=True))


def _shift(rows: Int64[np.ndarray, "padded"]) -> Int64[np.ndarray, "padded"]:
    """The row before each place; before the first there is more of the same padding."""
    return np.append(rows[:1], rows[:-1])


def _keys(
    contexts: Int64[np.ndarray, "places"], ids: Int64[np.ndarray, "places"], vocab_size: int
) -> Int64[np.ndarray, "places"]:
    return np.where(contexts >= 0, contexts * (vocab_size + 1) + ids, -1)


def _find(
    keys: Int64[np.ndarray, "grams"], wanted: Int64[np.ndarray, "places"]
) -> Int64[np.ndarray, "places"]:
    place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[place] == wanted, place, -1)


def _smooth(
    keys: Int64[np.ndarray, "grams"],
    counts: Int64[np.ndarray, "grams"],
    *,
    num_contexts: int,
    vocab_size: int,
) -> Grams:
    contexts, discounts = keys // (vocab_size + 1), _discounts(counts)
    discount = np.array([0.0, *discounts])[np.minimum(counts, 3)]
    total = np.bincount(contexts, weights=counts, minlength=num_contexts)
    taken = np.bincount(contexts, weights=discount, minlength=num_contexts)
    backoff = np.divide(taken, total, out=np.ones(num_contexts), where=total > 0)
    return Grams(keys, (counts - discount) / total[contexts], backoff, discounts)


def _discounts(counts: Int64[np.ndarray, "grams"]) -> tuple[float, float, float]:
    once, twice, thrice, four_times = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not (once and twice and thrice):
        return FALLBACK
    share = once / (once + 2 * twice)
    estimated = (
        1 - 2 * share * twice / once,
        2 - 3 * share * thrice / twice,
        3 - 4 * share * four_times / thrice,
    )
    usable = all(0 <= one <= times for times, one in enumerate(estimated, start=1))
    return estimated if usable else FALLBACK
