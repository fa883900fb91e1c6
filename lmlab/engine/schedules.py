"""Learning-rate factors and value schedules: pure functions of the step, so a resume loses nothing.

s is the number of steps done: the first update uses s = 0. Everything clamps after its end.
"""

import math
from dataclasses import dataclass

from lmlab.engine.schema import ScheduleConfig, ValueScheduleConfig


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule whose durations are known in steps."""

    config: ScheduleConfig
    total_steps: int
    warmup_steps: int

    def factor(self, step: int) -> float:
        """What multiplies the learning rate of the update after `step` steps."""
        if step < self.warmup_steps:
            start = self.config.warmup_start_factor
            return start + (1 - start) * step / self.warmup_steps
        return _after_warmup(self.config, step - self.warmup_steps, self._length())

    def _length(self) -> int:
        return max(1, self.total_steps - self.warmup_steps)


def build_schedule(
    config: ScheduleConfig, *, total_steps: int, steps_per_epoch: int | None
) -> Schedule:
    """Durations become steps. Raises ValueError for a warm-up longer than the training."""
    warmup = config.warmup.steps(total_steps=total_steps, steps_per_epoch=steps_per_epoch)
    if warmup > total_steps:
        raise ValueError(f"warm-up of {warmup} steps exceeds the training's {total_steps}")
    return Schedule(config, total_steps, warmup)


def scheduled_value(config: ValueScheduleConfig, step: int, *, total_steps: int) -> float:
    """A scheduled number (a temperature, a loss weight), always between its start and its end."""
    length = config.duration.steps(total_steps=total_steps)
    if config.kind == "constant":
        return config.start
    if config.end is None:
        raise ValueError(f"a {config.kind} schedule needs an end")
    if length <= config.constant_steps:
        raise ValueError(
            f"a schedule of {length} steps has no room after its {config.constant_steps} constant "
            "ones; the duration includes them"
        )
    share = (step - config.constant_steps) / (length - config.constant_steps)
    share = min(1.0, max(0.0, share))
    start, end = config.start, config.end
    match config.kind:
        case "linear":
            return start + share * (end - start)
        case "cosine":
            return end + 0.5 * (start - end) * (1 + math.cos(math.pi * share))
        case "exponential":
            return start * (end / start) ** share


def _after_warmup(config: ScheduleConfig, step: int, length: int) -> float:
    share = min(1.0, step / length)
    floor = config.end_factor
    match config.kind:
        case "constant":
            return 1.0
        case "linear":
            return 1 - share * (1 - floor)
        case "cosine":
            return _cosine(share, floor)
        case "polynomial":
            return floor + (1 - floor) * (1 - share) ** config.power
        case "exponential":
            return config.gamma ** min(step, length)
        case "cosine_with_restarts":
            return _cosine(_share_of_cycle(config, min(step, length)), floor)


def _cosine(share: float, floor: float) -> float:
    return floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * share))


def _share_of_cycle(config: ScheduleConfig, step: int) -> float:
    """How far into its cycle a step is; cycles last T, T g, T g^2 (Loshchilov & Hutter 2017)."""
    cycle = config.restart_steps
    while step >= cycle:
        step -= cycle
        cycle *= config.restart_growth
    return step / cycle
