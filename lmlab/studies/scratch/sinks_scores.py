"""The numbers of every text: what an arm lost a token, where, and how much it repeats itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from lmlab.metrics.repetition import repetition
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.sinks_arms import MULTIPLES, STEP, WRITTEN_MULTIPLE, longest
from lmlab.studies.scratch.sinks_reading import LongTexts

NLL, REPETITION = "nll_per_token", "repetition"
# Points of a curve for every length that was trained on.
POINTS = 2


@dataclass(frozen=True)
class Reading:
    """What one arm from one seed predicted of every text, and wrote after its beginning."""

    arm: str
    seed: int
    part: str
    weights: str | None
    step: int | None
    nll: Float64[np.ndarray, "texts tokens"] | None
    written: list[str] | None


@dataclass(frozen=True)
class Score:
    """Sums over each text and what they are over: tokens, or the text itself.

    A text of fewer than ten words has no repetition: it counts 0.
    """

    reading: Reading
    metric: str
    at: Mapping[str, int]
    values: Num[np.ndarray, "texts"]
    counts: Num[np.ndarray, "texts"]


def real_texts(texts: LongTexts, config: Config) -> Reading:
    """The texts themselves: as much repetition as there is to be learnt."""
    real = texts.after_prompts(new_tokens(config))
    return Reading("test text", config.seed, STEP, None, None, None, real)


def text_scores(readings: Iterable[Reading], texts: LongTexts, config: Config) -> Iterator[Score]:
    """Over the first context, and from its end to each of the other lengths."""
    context = config.model.context_tokens
    for one in readings:
        for multiple in MULTIPLES if one.nll is not None else ():
            after = 0 if multiple == 1 else context
            at = {"context_multiple": multiple}
            yield _nll(one, texts, after=after, until=multiple * context, at=at)
        if one.written is not None:
            shares = [repeated_share(text) for text in one.written]
            values = np.array([share or 0.0 for share in shares])
            counts = np.array([int(share is not None) for share in shares])
            # Where no text can be judged, there is nothing to record.
            if counts.any():
                yield Score(one, REPETITION, {"context_multiple": WRITTEN_MULTIPLE}, values, counts)


def text_curves(readings: Iterable[Reading], texts: LongTexts, config: Config) -> Iterator[Score]:
    """A point is named by its last position, so that the context's own ends at its length."""
    size = max(1, config.model.context_tokens // POINTS)
    for one in readings:
        for until in range(size, longest(config) + 1, size):
            yield _nll(one, texts, after=until - size, until=until, at={"position": until})


def repeated_share(text: str) -> float | None:
    """None of a text that is too short to repeat anything."""
    found = repetition(text)
    return found.share if found.num_windows else None


def new_tokens(config: Config) -> int:
    """Tokens that are written after each text's beginning."""
    return WRITTEN_MULTIPLE * config.model.context_tokens


def _nll(
    reading: Reading, texts: LongTexts, *, after: int, until: int, at: Mapping[str, int]
) -> Score:
    """A token's position is the number of tokens before it."""
    assert reading.nll is not None
    places = np.s_[:, after + 1 : until + 1]
    return Score(reading, NLL, at, reading.nll[places].sum(1), texts.scored[places].sum(1))
