"""Labels given by a language model: by log-probability or by parsing; accuracy and F1; controls.

An output without a label is wrong and has a column of its own: it is never counted as some label.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.special import log_softmax

# Inputs that say nothing (Zhao et al. 2021, section 5).
CONTENT_FREE = ("N/A", "[MASK]", "")


@dataclass(frozen=True)
class Classification:
    """Items by true label (row) and given label (column; the last one: unparsable).

    `values` are the items' scores, for paired tests; chance has expected counts and scores.
    """

    labels: tuple[str, ...]
    confusion: Float64[np.ndarray, "labels labels+1"]
    values: Float64[np.ndarray, "items"]

    @property
    def accuracy(self) -> float:
        """The share of items with the right label."""
        return float(self.values.mean())

    @property
    def macro_f1(self) -> float:
        """The mean of the labels' F1; 0 for a label that neither occurs nor is given."""
        right = np.diag(self.confusion)
        either = self.confusion.sum(1) + self.confusion[:, :-1].sum(0)
        return float(
            np.divide(2 * right, either, out=np.zeros_like(right), where=either > 0).mean()
        )

    @property
    def num_unparsable(self) -> int:
        """Outputs without a label."""
        return int(self.confusion[:, -1].sum())


def score_labels(
    predicted: Sequence[str | None], gold: Sequence[str], *, labels: Sequence[str]
) -> Classification:
    """Predictions against the truth; None stands for an output without a label."""
    rows = _indices(gold, labels)
    columns = _indices([labels[0] if one is None else one for one in predicted], labels)
    columns[[one is None for one in predicted]] = len(labels)
    if len(rows) != len(columns):
        raise ValueError(f"{len(columns)} predictions for {len(rows)} items")
    confusion = np.zeros((len(labels), len(labels) + 1))
    np.add.at(confusion, (rows, columns), 1)
    return Classification(tuple(labels), confusion, (rows == columns).astype(np.float64))


def majority(
    gold: Sequence[str], *, labels: Sequence[str], training: Sequence[str]
) -> Classification:
    """Control: always the label that is most frequent in training (of equal ones the first)."""
    counts = np.bincount(_indices(training, labels), minlength=len(labels))
    return score_labels([labels[int(counts.argmax())]] * len(gold), gold, labels=labels)


def chance(gold: Sequence[str], *, labels: Sequence[str]) -> Classification:
    """Control: each label equally often, whatever the item; in expectation, nothing is drawn."""
    counts = np.bincount(_indices(gold, labels), minlength=len(labels))
    confusion = np.zeros((len(labels), len(labels) + 1))
    confusion[:, :-1] = counts[:, None] / len(labels)
    return Classification(tuple(labels), confusion, np.full(len(gold), 1 / len(labels)))


def label_tokens(
    words: Sequence[str], *, encode: Callable[[str], Sequence[int]]
) -> Int64[np.ndarray, "labels"]:
    """The token of each label word, written with a space before it as it is after a prompt.

    Raises ValueError for a word of several tokens: its probability would be that of a beginning,
    which other words share, or a product, which is small for being long.
    """
    tokens: list[int] = []
    for word in words:
        found = list(encode(f" {word}"))
        if len(found) != 1:
            raise ValueError(f"label word ' {word}' is {len(found)} tokens, not 1; take another")
        if found[0] in tokens:
            raise ValueError(f"label word ' {word}' is the same token as one before it")
        tokens += found
    return np.array(tokens, np.int64)


def likeliest(
    log_probs: Float[np.ndarray, "items labels"], *, labels: Sequence[str]
) -> list[str | None]:
    """The label of the highest log-probability; none where the highest is shared."""
    best = log_probs.max(1, keepdims=True)
    if not np.isfinite(best).all():
        raise ValueError(
            f"item {int(np.flatnonzero(~np.isfinite(best))[0])} has no log-probability"
        )
    shared = (log_probs == best).sum(1) > 1
    chosen = log_probs.argmax(1)
    return [
        None if tied else labels[int(index)] for tied, index in zip(shared, chosen, strict=True)
    ]


def calibrate(
    log_probs: Float[np.ndarray, "items labels"],
    content_free: Float[np.ndarray, "inputs labels"],
) -> Float64[np.ndarray, "items labels"]:
    """Contextual calibration (Zhao et al. 2021): log-probabilities less what the prompt favours.

    Both over the label words only, normalised among them; `content_free` from the same prompt
    with inputs that say nothing, whose probabilities are averaged.
    """
    among = log_softmax(log_probs.astype(np.float64), axis=1)
    favoured = np.exp(log_softmax(content_free.astype(np.float64), axis=1)).mean(0)
    return log_softmax(among - np.log(favoured), axis=1)


def parse_label(text: str, *, labels: Sequence[str]) -> str | None:
    """The first label that stands in the text as a word, in either case; None without one."""
    by_name = {label.lower(): label for label in labels}
    names = "|".join(map(re.escape, by_name))
    match = re.search(rf"\b(?:{names})\b", text, re.IGNORECASE)
    return by_name[match.group().lower()] if match else None


def _indices(given: Sequence[str], labels: Sequence[str]) -> Int64[np.ndarray, "items"]:
    place = {label: index for index, label in enumerate(labels)}
    for number, label in enumerate(given):
        if label not in place:
            raise ValueError(
                f"item {number} has the label {label!r}; labels are {', '.join(labels)}"
            )
    if not given:
        raise ValueError("no labels to score")
    return np.array([place[label] for label in given], np.int64)
