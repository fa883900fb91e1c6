"""Schedules against torch's own and against closed forms (checks T1 and T2)."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from lmlab.engine.durations import Duration, parse_duration
from lmlab.engine.schedules import Schedule, build_schedule, scheduled_value
from lmlab.engine.schema import ScheduleConfig, ValueScheduleConfig

TOTAL = 400
BASE = 1e-3
KINDS = ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial", "exponential")
OPTIONS = {
    "constant": {},
    "linear": {"end_factor": 0.1},
    "cosine": {"end_factor": 0.2},
    "cosine_with_restarts": {"restart_steps": 30, "restart_growth": 2, "end_factor": 0.1},
    "polynomial": {"power": 2.0},
    "exponential": {"gamma": 0.99},
}


@pytest.mark.parametrize("warmup", [0, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_every_factor_is_that_of_torch(kind: str, warmup: int):
    schedule = _schedule(kind, warmup=warmup, **OPTIONS[kind])
    expected = _torch_factors(kind, warmup=warmup)
    found = [schedule.factor(step) for step in range(2 * TOTAL)]
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 1e-12


@pytest.mark.parametrize("warmup", [0, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_a_factor_stays_between_nothing_and_one_and_keeps_its_last_value(kind: str, warmup: int):
    schedule = _schedule(kind, warmup=warmup, **OPTIONS[kind])
    factors = [schedule.factor(step) for step in range(2 * TOTAL)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert set(factors[TOTAL:]) == {factors[TOTAL]}


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_a_polynomial_ends_at_its_floor(power: float):
    schedule = _schedule("polynomial", warmup=100, power=power, end_factor=0.1)
    for step in range(100, 2 * TOTAL):
        left = max(0.0, 1 - (step - 100) / 300)
        assert schedule.factor(step) == pytest.approx(0.1 + 0.9 * left**power, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_rises_in_a_straight_line_for_every_kind(kind: str):
    schedule = _schedule(kind, warmup=100, warmup_start_factor=0.1)
    for step in range(100):
        assert schedule.factor(step) == pytest.approx(0.1 + 0.9 * step / 100, abs=1e-12)
    assert schedule.factor(100) == pytest.approx(1.0, abs=1e-12)


def test_a_warm_up_may_be_a_share_and_may_not_exceed_the_training():
    config = ScheduleConfig(warmup=parse_duration("5%"))
    schedule = build_schedule(config, total_steps=300, steps_per_epoch=None)
    assert schedule.warmup_steps == 15
    config = ScheduleConfig(warmup=parse_duration("301s"))
    with pytest.raises(ValueError, match="warm-up of 301 steps exceeds the training's 300"):
        build_schedule(config, total_steps=300, steps_per_epoch=None)


VALUE_FORMS: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, p: start + p * (end - start),
    "cosine": lambda start, end, p: end + 0.5 * (start - end) * (1 + math.cos(math.pi * p)),
    "exponential": lambda start, end, p: start * (end / start) ** p,
}


@pytest.mark.parametrize("constant", [0, 20])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.1, 1.0)])
@pytest.mark.parametrize("kind", VALUE_FORMS)
def test_a_value_follows_its_form_and_stays_between_its_ends(
    kind: str, start: float, end: float, constant: int
):
    length = 100
    config = ValueScheduleConfig(
        kind=kind,  # pyright: ignore[reportArgumentType]
        start=start,
        end=end,
        duration=Duration(length, "steps"),
        constant_steps=constant,
    )
    values = [scheduled_value(config, step, total_steps=1000) for step in range(3 * length)]
    low, high = min(start, end), max(start, end)
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in values)
    assert values[:constant] == pytest.approx([start] * constant, abs=1e-12)
    assert values[length:] == pytest.approx([end] * (2 * length), abs=1e-12)
    for step, value in enumerate(values):
        share = min(1.0, max(0.0, (step - constant) / (length - constant)))
        assert value == pytest.approx(VALUE_FORMS[kind](start, end, share), abs=1e-12)


def test_the_whole_training_is_the_duration_where_none_is_given():
    config = ValueScheduleConfig(kind="linear", start=1.0, end=0.0)
    assert scheduled_value(config, 250, total_steps=500) == pytest.approx(0.5, abs=1e-12)


def test_a_constant_value_needs_no_end():
    config = ValueScheduleConfig(kind="constant", start=0.7)
    assert {scheduled_value(config, step, total_steps=10) for step in range(30)} == {0.7}


def test_a_value_schedule_without_end_or_room_is_an_error():
    with pytest.raises(ValueError, match="a linear schedule needs an end"):
        scheduled_value(ValueScheduleConfig(kind="linear", start=1.0), 0, total_steps=10)
    config = ValueScheduleConfig(kind="cosine", start=1.0, end=0.0, constant_steps=10)
    with pytest.raises(ValueError, match="no room after its 10 constant"):
        scheduled_value(config, 0, total_steps=10)


def _schedule(kind: str, *, warmup: int, **options: float) -> Schedule:
    config = ScheduleConfig.model_validate({"kind": kind, "warmup": warmup, **options})
    return build_schedule(config, total_steps=TOTAL, steps_per_epoch=None)


def _torch_factors(kind: str, *, warmup: int) -> list[float]:
    """The learning rates of torch's schedulers over 2 N updates, held after N."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler: lr_scheduler.LRScheduler = _torch_main(optimizer, kind, length=TOTAL - warmup)
    if warmup:
        rise = lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warmup)
        scheduler = lr_scheduler.SequentialLR(optimizer, [rise, scheduler], milestones=[warmup])
    factors = []
    for step in range(2 * TOTAL):
        factors.append(optimizer.param_groups[0]["lr"] / BASE)
        optimizer.step()
        if step < TOTAL:
            scheduler.step()
    return factors


def _torch_main(
    optimizer: torch.optim.Optimizer, kind: str, *, length: int
) -> lr_scheduler.LRScheduler:
    options = OPTIONS[kind]
    match kind:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)
        case "linear":
            return lr_scheduler.LinearLR(optimizer, 1.0, options["end_factor"], length)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, length, options["end_factor"] * BASE)
        case "cosine_with_restarts":
            return lr_scheduler.CosineAnnealingWarmRestarts(
                optimizer,
                options["restart_steps"],
                options["restart_growth"],
                options["end_factor"] * BASE,
            )
        case "polynomial":
            return lr_scheduler.PolynomialLR(optimizer, length, options["power"])
        case _:
            return lr_scheduler.ExponentialLR(optimizer, options["gamma"])
