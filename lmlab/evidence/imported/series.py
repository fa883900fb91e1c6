"""What a reader of foreign results finds: the scores of an arm, and what is known about them."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Better = Literal["higher", "lower"]
DataKind = Literal["real", "generated"]
Kind = Literal["csv", "lm-eval", "inspect"]
# Metrics whose name says which way is better; of any other somebody has to say it.
_HIGHER = {"score", "accuracy", "acc", "acc_norm", "acc_bytes", "exact_match", "f1", "em"}
_HIGHER |= {"correct", "pass", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "mcc"}
_LOWER = {"loss", "nll", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
_LOWER |= {"brier_score", "ter", "wer", "cer", "error_rate"}


@dataclass(frozen=True)
class Options:
    """What the user said about the file: only what the file itself does not say is needed."""

    name: str | None = None
    study: str = "imported"
    arm: str | None = None
    better: Better | None = None
    metric: str | None = None
    data_kind: DataKind = "real"
    weights: Path | None = None


@dataclass(frozen=True)
class Score:
    """One item; without a value it has an error. `value` is a sum over `weight` units."""

    item_id: str
    cluster_id: str
    value: float | None
    weight: float = 1.0
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One arm under one condition: what becomes a record and the items behind it.

    The record is sum of values / sum of weights, or exp of it for a perplexity, whose items are an
    NLL and have a name of their own. A number that no mean of items gives (BLEU) is `whole`, with
    its n, and has no items.
    """

    arm: str
    at: Mapping[str, str | int | float]
    metric: str
    better: Better
    protocol: Mapping[str, Any]
    data: Mapping[str, str]
    seed: int
    scores: tuple[Score, ...] = ()
    exponential: bool = False
    item_metric: str | None = None
    whole: tuple[float, int] | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What may stand in a run once."""
        return self.arm, self.metric, str(self.seed), json.dumps(dict(self.at), sort_keys=True)

    @property
    def value(self) -> float | None:
        """None where no item has a value."""
        if self.whole is not None:
            return self.whole[0]
        good = [score for score in self.scores if score.value is not None]
        weight = math.fsum(score.weight for score in good)
        if not weight:
            return None
        ratio = math.fsum(score.value or 0.0 for score in good) / weight
        return math.exp(ratio) if self.exponential else ratio


@dataclass(frozen=True)
class Found:
    """Everything that a file, or a folder of them, holds; `files` are sha256 by name."""

    kind: Kind
    title: str
    series: tuple[Series, ...]
    files: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def direction(metric: str, asked: Better | None) -> Better:
    """Which way is better: as asked, else as the metric's name says, else a ValueError."""
    if asked is not None:
        return asked
    if metric in _HIGHER or metric in _LOWER:
        return "higher" if metric in _HIGHER else "lower"
    raise ValueError(
        f"is a higher or a lower {metric!r} better? say --better higher or --better lower"
    )


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(values: Iterable[object]) -> str:
    """sha256 over values in any order."""
    lines = sorted(json.dumps(value, sort_keys=True, ensure_ascii=False) for value in values)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
