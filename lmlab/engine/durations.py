"""Durations as people write them ("1000s", "0.5e", "10%", "10min"), parsed nowhere else."""

import math
import re
from dataclasses import dataclass
from typing import Literal

_STEPS = re.compile(r"(-?\d+)\s*(?:s|steps?|os)?")
_EPOCHS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:e|epochs?)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_CLOCK = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h)")
_SECONDS_PER = {"min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Duration:
    """A length of training; `-1 steps` is the whole of it, `0 steps` never."""

    value: int | float
    unit: Literal["steps", "epochs", "percent"]

    def steps(self, *, total_steps: int | None = None, steps_per_epoch: int | None = None) -> int:
        """In optimizer steps: epochs and percents are rounded half up, to at least 1.

        Raises ValueError where the total or the epoch that it refers to is not known.
        """
        match self.unit:
            case "steps" if self.value == -1:
                return _known(total_steps, self, "the total number of steps")
            case "steps":
                return int(self.value)
            case "epochs":
                whole = _known(steps_per_epoch, self, "the number of steps in an epoch")
            case "percent":
                whole = _known(total_steps, self, "the total number of steps")
        share = self.value / (100 if self.unit == "percent" else 1)
        return max(1, math.floor(share * whole + 0.5)) if share else 0

    def __str__(self) -> str:
        # Fifteen digits: a million steps is written "1000000s", not "1e+06s", which nothing reads.
        return f"{self.value:.15g}" + {"steps": "s", "epochs": "e", "percent": "%"}[self.unit]


@dataclass(frozen=True)
class Interval:
    """How often something is saved: by steps, or by the clock."""

    steps: Duration | None
    seconds: float | None

    def __str__(self) -> str:
        return str(self.steps) if self.steps is not None else f"{(self.seconds or 0) / 60:.15g}min"


def parse_duration(written: "int | str | Duration") -> Duration:
    """`1000`, `1000s`, `1000steps`, `2e`, `0.5epochs`, `10%`, `-1` (all), `0` (never).

    "10s" is 10 steps, never seconds. Raises ValueError for anything else.
    """
    if isinstance(written, Duration):
        return written
    text = str(written).strip()
    if isinstance(written, bool):
        text = "a boolean"
    if found := _STEPS.fullmatch(text):
        if int(found[1]) >= -1:
            return Duration(int(found[1]), "steps")
    elif found := _EPOCHS.fullmatch(text):
        return Duration(float(found[1]), "epochs")
    elif (found := _PERCENT.fullmatch(text)) and float(found[1]) <= 100:
        return Duration(float(found[1]), "percent")
    raise ValueError(
        f"{written!r} is no duration: write steps (1000 or 1000s), epochs (0.5e), a share (10%), "
        "-1 for the whole run or 0 for never"
    )


def parse_interval(written: "int | str | Interval") -> Interval:
    """A duration, or clock time (`10min`, `2h`), which only saving may use."""
    if isinstance(written, Interval):
        return written
    if found := _CLOCK.fullmatch(str(written).strip()):
        return Interval(steps=None, seconds=float(found[1]) * _SECONDS_PER[found[2]])
    return Interval(steps=parse_duration(written), seconds=None)


def _known(number: int | None, duration: Duration, what: str) -> int:
    if number is None:
        raise ValueError(f"the duration {duration} needs {what}, which is not known here")
    return number
