"""What the data say of a gate before its family is counted in, and what a test asks of a bound."""

from dataclasses import dataclass

from lmlab.evidence.gates.grammar import Equivalent, NonInferior, Superior, Threshold
from lmlab.evidence.tables import number

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """`holds` and `refuted` are what the interval shows; neither is what is undecided."""

    test: str
    said: str
    holds: bool = False
    refuted: bool = False
    # Why there is too little to be judged, whatever the interval.
    short: str | None = None
    estimate: float | None = None
    interval: Bounds | None = None
    # None where the interval alone decides, its level shared out over the family beforehand.
    p: float | None = None
    minimum_detectable_effect: float | None = None


def stands(test: Superior | NonInferior | Equivalent | Threshold, bounds: Bounds) -> bool:
    """Whether all values between the bounds fulfil the test."""
    low, high = bounds
    match test:
        case Superior(margin=margin):
            # Better by nothing is not better: two equal arms must not pass.
            return low >= margin if margin else low > 0
        case NonInferior(margin=margin):
            return low > -margin
        case Equivalent(margin=margin):
            return -margin < low and high < margin
        case Threshold(at_least=float(least)):
            return low >= least
        case Threshold(at_most=float(most)):
            return high <= most
    raise AssertionError(test)


def falls(test: Superior | NonInferior | Equivalent | Threshold, bounds: Bounds) -> bool:
    """Whether no value between the bounds fulfils the test."""
    low, high = bounds
    match test:
        case Superior(margin=margin):
            return high < margin if margin else high <= 0
        case NonInferior(margin=margin):
            return high <= -margin
        case Equivalent(margin=margin):
            return high <= -margin or margin <= low
        case Threshold(at_least=float(least)):
            return high < least
        case Threshold(at_most=float(most)):
            return low > most
    raise AssertionError(test)


def asked(test: Superior | NonInferior | Equivalent | Threshold) -> str:
    """What the test wants, in words."""
    match test:
        case Superior(margin=margin):
            return f"at least {number(margin)} better" if margin else "better"
        case NonInferior(margin=margin):
            return f"less than {number(margin)} worse"
        case Equivalent(margin=margin):
            return f"within {number(margin)} of each other"
        case Threshold(at_least=float(least)):
            return f"at least {number(least)}"
        case Threshold(at_most=float(most)):
            return f"at most {number(most)}"
    raise AssertionError(test)


def between(bounds: Bounds) -> str:
    """`[1.806, 1.962]`."""
    return f"[{number(bounds[0])}, {number(bounds[1])}]"
