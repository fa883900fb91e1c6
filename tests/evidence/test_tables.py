"""Tables of records: what meets in one, how its numbers are written and placed."""

import math

import pytest

from lmlab.engine.records import Record
from lmlab.evidence.tables import Table, build_tables, is_control, number


def record(value: float = 2.0, **changes) -> Record:
    values = {
        "study": "lens", "run": "lens/a", "part": "train", "step": "evaluate", "training_step": 9,
        "arm": "trained", "at": {}, "metric": "f1", "unit": "share", "better": "higher",
        "value": value, "n": 10, "n_error": 0, "interval": None, "interval_method": None,
        "protocol": {}, "data": {"d": "0" * 64}, "data_kind": "real",
        "weights": {"model": "1" * 64}, "seed": 1, "dev": False, "command": "c", "commit": "c",
    }  # fmt: skip
    return Record(**(values | changes))


def only(records: list[Record]) -> Table:
    (table,) = build_tables(records)
    return table


@pytest.mark.parametrize(
    "changes", [{"metric": "em"}, {"at": {"layer": 3}}, {"protocol": {"shots": 5}}]
)
def test_metric_conditions_and_protocol_each_part_tables(changes):
    assert len(build_tables([record(), record(seed=2)])) == 1
    assert len(build_tables([record(), record(seed=2, **changes)])) == 2


def test_the_order_of_named_conditions_does_not_matter():
    one, other = {"layer": 1, "task": "qa"}, {"task": "qa", "layer": 1}
    assert len(build_tables([record(at=one), record(at=other, seed=2)])) == 1


@pytest.mark.parametrize(("better", "first"), [("higher", 3.0), ("lower", 1.0)])
def test_the_best_row_comes_first(better, first):
    table = only([record(value, better=better, seed=int(value)) for value in (2.0, 3.0, 1.0)])
    assert table.rows[0].record.value == first


def test_controls_are_what_is_weightless_or_untrained():
    assert is_control(record(weightless=True, weights={}))
    assert is_control(record(arm="untrained"))
    assert not is_control(record())


def test_a_column_stands_only_where_rows_differ_in_it():
    untrained = record(arm="untrained", training_step=None)
    assert only([record(), untrained]).columns == ()
    assert only([record(), record(seed=2, training_step=18)]).columns == ("seed", "training_step")


def test_of_the_data_only_what_differs_has_a_column():
    data = {"d": "0" * 64, "e": "1" * 64}
    assert only([record(data=data), record(data=data, seed=2)]).data == ()
    differs = record(data=data | {"e": "2" * 64}, seed=2)
    assert only([record(data=data), differs]).data == ("e",)
    assert only([record(data=data), record(seed=2)]).data == ("e",)


def test_runs_have_a_column_where_several_meet():
    assert only([record(), record(run="lens/b")]).columns == ("run",)


def test_an_interval_that_is_no_number_has_no_place():
    table = only([record(interval=(math.nan, 3.0), interval_method="x"), record(4.0, seed=2)])
    assert table.scale[:2] == (2.0, 4.0)
    assert [row.whisker for row in table.rows] == [None, None]


def test_places_are_logarithmic_where_values_span_magnitudes():
    wide = only([record(value, seed=int(value)) for value in (1.0, 10.0, 10_000.0)])
    assert [row.dot for row in wide.rows] == [100.0, 25.0, 0.0]
    near = only([record(value, seed=int(value)) for value in (1.0, 2.0, 5.0)])
    assert [row.dot for row in near.rows] == [100.0, 25.0, 0.0]


def test_an_interval_stays_inside_the_scale():
    ends = {"interval": (1.0, 5.0), "interval_method": "Wilson"}
    table = only([record(3.0, **ends), record(2.0, seed=2)])
    assert table.rows[0].whisker == (0.0, 100.0)
    assert [row.dot for row in table.rows] == [50.0, 25.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (96.3149, "96.31"), (30112.4, "30,112"), (402.31, "402.3"), (1234567, "1,234,567"),
        (0.0003, "0.0003000"), (3.2e-7, "3.2e-07"), (-1.5, "-1.500"), (0.0, "0"),
        (None, "–"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_numbers_are_written_with_four_digits(value, text):
    assert number(value) == text
