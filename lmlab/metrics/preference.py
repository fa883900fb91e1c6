"""How often the chosen answer of a pair is scored above the rejected one, beside its length."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from lmlab.metrics.stats import check_finite


@dataclass(frozen=True)
class Preferences:
    """Pair by pair: the margin, whether it prefers the chosen answer, whether length would have."""

    margins: Float64[np.ndarray, "pairs"]
    values: Float64[np.ndarray, "pairs"]
    longer: Float64[np.ndarray, "pairs"]

    @property
    def accuracy(self) -> float:
        """The share of pairs with a margin above 0, ties one half: .5 at the start of DPO."""
        return float(self.values.mean())

    @property
    def longer_accuracy(self) -> float:
        """Control: what "the longer answer wins" gives on the same pairs."""
        return float(self.longer.mean())

    @property
    def mean_margin(self) -> float:
        """In the unit of the scores."""
        return float(self.margins.mean())


def score_preferences(
    chosen: Num[np.ndarray, "pairs"],
    rejected: Num[np.ndarray, "pairs"],
    *,
    chosen_lengths: Num[np.ndarray, "pairs"],
    rejected_lengths: Num[np.ndarray, "pairs"],
) -> Preferences:
    """Scores of both answers (rewards, or log-probabilities) and their lengths in one unit."""
    margins = chosen.astype(np.float64) - rejected
    check_finite(margins)
    longer = chosen_lengths.astype(np.float64) - rejected_lengths
    return Preferences(margins, preferred(margins), preferred(longer))


def preferred(margins: Float64[np.ndarray, "pairs"]) -> Float64[np.ndarray, "pairs"]:
    """1 above 0, one half at 0, else 0."""
    return (np.sign(margins) + 1) / 2
