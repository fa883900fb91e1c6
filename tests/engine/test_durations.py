"""Durations: what the grammar accepts, what it refuses, and how they become steps (check T2)."""

import pytest

from lmlab.engine.durations import Duration, parse_duration, parse_interval


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        (1000, 1000),
        ("1000", 1000),
        ("1000s", 1000),
        ("1000steps", 1000),
        ("1step", 1),
        ("1000os", 1000),
        ("10s", 10),
        ("0.5e", 20),
        ("2e", 80),
        ("2epochs", 80),
        ("1epoch", 40),
        ("0.0125e", 1),
        ("0.001e", 1),
        ("0.0375e", 2),
        ("10%", 30),
        ("12.5%", 38),
        ("100%", 300),
        ("0.01%", 1),
        (-1, 300),
        ("-1", 300),
        (0, 0),
        ("0", 0),
        ("0%", 0),
    ],
)
def test_a_duration_is_a_number_of_optimizer_steps(written: str | int, steps: int):
    found = parse_duration(written).steps(total_steps=300, steps_per_epoch=40)
    assert found == steps


@pytest.mark.parametrize(
    "written",
    [
        *("", "s", "10 seconds", "10min", "2h", "1.5", "1.5s", "-2", "-5s", "-1e", "e", "101%"),
        *("1e3", "ten", "1_000", "10ms", "nan", "inf", True),
    ],
)
def test_anything_else_is_an_error_that_shows_the_grammar(written: str | bool):
    with pytest.raises(ValueError, match=r"is no duration: write steps"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "lacks"), [("0.5e", "steps in an epoch"), ("10%", "total"), ("-1", "total")]
)
def test_a_duration_of_an_unknown_whole_is_an_error(written: str, lacks: str):
    with pytest.raises(ValueError, match=lacks):
        parse_duration(written).steps()


@pytest.mark.parametrize("written", ["1000s", "20000000", "1234567s", "0.5e", "12.5%", "-1", "0"])
def test_a_written_duration_reads_back_as_itself(written: str):
    duration = parse_duration(written)
    assert parse_duration(str(duration)) == duration
    assert parse_duration(duration) is duration


@pytest.mark.parametrize(("written", "seconds"), [("10min", 600.0), ("2h", 7200.0), ("0.1h", 360)])
def test_only_saving_may_go_by_the_clock(written: str, seconds: float):
    interval = parse_interval(written)
    assert interval.steps is None
    assert interval.seconds == pytest.approx(seconds, rel=1e-12)
    assert parse_interval(str(interval)) == interval


def test_an_interval_in_steps_is_a_duration():
    interval = parse_interval("500s")
    assert interval.steps == Duration(500, "steps")
    assert interval.seconds is None
    assert parse_interval(str(interval)) == interval
