"""Which chart is chosen: by the conditions that vary, never by a name."""

import numpy as np
import pytest
from sample_records import make_record
from scipy import stats

from lmlab.engine.records import Record
from lmlab.evidence.pages.charts import MAX_LINES, Chart, axis_title, choose_charts, label_value
from lmlab.evidence.pages.figures import plot_curves, plot_heat_map
from lmlab.evidence.pages.lines import chart_curves


def shares(arms: tuple[str, ...], name: str, values: tuple[object, ...], **changes) -> list[Record]:
    """A share for every arm and value of one condition."""
    base = {"metric": "recall", "unit": "share", "better": "higher", "interval": (0.2, 0.6)}
    return [
        make_record(arm=arm, at={name: value}, value=0.1 * (i + 1) + 0.01 * j, **(base | changes))
        for i, arm in enumerate(arms)
        for j, value in enumerate(values)
    ]


def values(chart: Chart) -> dict[str, list[float | None]]:
    return {row.label: [cell and cell.value for cell in row.cells] for row in chart.rows}


def only(records: list[Record]) -> Chart:
    (chart,) = choose_charts(records)
    return chart


def test_one_numeric_condition_gives_a_curve_in_the_order_of_its_values():
    chart = only(shares(("a", "b"), "length", (512, 128, 256)))
    assert (chart.kind, chart.columns) == ("curve", (128, 256, 512))
    assert values(chart)["a"] == pytest.approx([0.11, 0.12, 0.1])
    assert chart.columns_title == "length (tokens)"
    assert chart.values_title == "recall (share; higher is better)"
    assert chart.said == "n 400; interval: bootstrap"


def test_two_numeric_conditions_give_a_heat_map_an_arm_in_common_colours():
    records = [
        make_record(arm=arm, at={"length": length, "depth": depth}, value=length * depth * (i + 1))
        for i, arm in enumerate(("a", "b"))
        for length in (100, 200, 300)
        for depth in (0.1, 0.9)
    ]
    one, two = choose_charts(records)
    assert (one.kind, one.columns, [row.label for row in one.rows]) == (
        "heat", (100, 200, 300), ["0.1", "0.9"],
    )  # fmt: skip
    assert one.title.endswith("· a")
    assert one.scale == two.scale == (10.0, 540.0)
    assert values(two) == {"0.1": [20.0, 40.0, 60.0], "0.9": [180.0, 360.0, 540.0]}


def test_a_named_condition_gives_a_grid():
    chart = only(shares(("a", "b"), "ablation", ("none", "no state")))
    assert (chart.kind, set(chart.columns)) == ("grid", {"none", "no state"})
    perplexities = shares(("a", "b"), "task", ("x", "y", "z"), unit="perplexity")
    far = [make_record(arm="c", at={"task": "x"}, value=40.0, metric="recall", unit="perplexity",
                       better="higher")]  # fmt: skip
    assert only(perplexities + far).kind == "grid"


def test_shares_over_three_tasks_give_a_radar_where_every_arm_has_all():
    records = shares(("a", "b"), "task", ("x", "y", "z"))
    assert only(records).kind == "radar"
    assert only(records[:-1]).kind == "grid"


def test_several_shares_of_the_same_answers_give_a_radar_over_metrics():
    records = [
        make_record(arm=arm, at={"split": "test"}, metric=metric, unit="share", better="higher",
                    value=0.3 + i / 10 + j / 100, interval=None, interval_method=None)
        for i, arm in enumerate(("a", "b"))
        for j, metric in enumerate(("exact_match", "f1", "recall"))
    ]  # fmt: skip
    chart = only(records)
    assert (chart.kind, chart.columns) == ("radar", ("exact match", "f1", "recall"))
    assert values(chart)["b"] == pytest.approx([0.4, 0.41, 0.42])


def test_training_steps_are_a_condition_where_an_arm_has_several():
    steps = [make_record(training_step=step, value=float(step)) for step in (30, 10, 20)]
    other = make_record(arm="untrained", training_step=0, value=99.0)
    chart = only([*steps, other])
    assert (chart.kind, chart.columns) == ("curve", (0, 10, 20, 30))
    assert values(chart) == {"trained": [None, 10, 20, 30], "untrained": [99, None, None, None]}
    assert choose_charts([steps[0], other]) == []


def test_what_was_measured_another_way_never_meets_in_a_chart():
    records = shares(("a",), "length", (1, 2))
    other = shares(("a",), "length", (1, 2), protocol={"shots": 5})
    assert len(choose_charts(records + other)) == 2
    assert choose_charts([records[0], other[1]]) == []


def test_points_that_no_line_joins_are_no_curve():
    assert (
        choose_charts([make_record(arm=arm, at={"length": x}) for arm, x in (("a", 1), ("b", 2))])
        == []
    )


def test_a_further_condition_parts_charts():
    records = [
        record
        for task in ("x", "y")
        for record in [
            make_record(at={"task": task, "length": length}, value=float(length))
            for length in (1, 2)
        ]
    ]
    assert [chart.title for chart in choose_charts(records)] == [
        "eval/perplexity · task x", "eval/perplexity · task y",
    ]  # fmt: skip


def test_six_seeds_become_their_mean_with_students_interval():
    found = {(x, seed): x + seed**2 / 10 for x in (1, 2) for seed in range(6)}
    records = [
        make_record(at={"length": x}, seed=seed, run=f"toy/{seed}", value=value)
        for (x, seed), value in found.items()
    ]
    chart = only(records)
    cell = chart.rows[0].cells[1]
    assert cell is not None
    ours = np.array([value for (x, _), value in found.items() if x == 2])
    expected = stats.t.interval(0.95, 5, ours.mean(), stats.sem(ours))
    assert cell.value == pytest.approx(ours.mean())
    assert cell.interval == pytest.approx(expected)
    assert {one.seed for one in cell.records} == set(range(6))
    assert "mean over 6 seeds" in chart.said


def test_two_seeds_and_two_runs_of_one_seed_stay_lines_of_their_own():
    two = [make_record(at={"length": x}, seed=seed) for x in (1, 2) for seed in (1, 2)]
    assert set(values(only(two))) == {"trained · seed 1", "trained · seed 2"}
    runs = [make_record(at={"length": x}, run=f"toy/{r}") for x in (1, 2) for r in "abc"]
    assert set(values(only(runs))) == {"trained · a", "trained · b", "trained · c"}


def test_more_lines_than_colours_are_counted():
    arms = tuple(f"arm {i}" for i in range(MAX_LINES + 3))
    chart = only(shares(arms, "length", (1, 2)))
    assert len(chart.rows) == MAX_LINES
    assert "8 of 11 lines are drawn" in chart.said


def test_axes_say_their_unit():
    assert axis_title("window_tokens") == "window (tokens)"
    assert axis_title("memory_mb") == "memory (MB)"
    assert axis_title("layer") == "layer (index)"
    assert axis_title("temperature") == "temperature (as recorded)"
    assert [label_value(one) for one in (32768, 0.1, 2.0, "qa")] == ["32,768", "0.1", "2", "qa"]


def test_a_band_needs_an_interval_and_a_log_axis_positive_ends():
    records = shares(("a",), "length", (16, 256, 4096), interval=None, interval_method=None)
    chart = only(records)
    assert chart.log_columns
    assert [trace["mode"] for trace in plot_curves(chart_curves(chart))["data"]] == [
        "lines+markers"
    ]
    wide = [make_record(at={"length": x}, value=10.0**x, interval=(-1.0, 2e3)) for x in (1, 2, 3)]
    assert not only(wide).log_values
    assert len(plot_curves(chart_curves(only(wide)))["data"]) == 3


def test_an_interval_that_is_no_number_is_no_interval():
    nan = float("nan")
    records = [make_record(at={"length": x}, interval=(nan, nan)) for x in (1, 2)]
    plot = plot_curves(chart_curves(only(records)))
    assert "nan" not in str(plot).lower()


def test_a_heat_map_shows_the_values_their_n_and_their_interval():
    records = [
        make_record(arm="<b>", at={"x": x, "y": y}, value=float(x + y), interval=(0.0, 9.0))
        for x in (1, 2)
        for y in (3, 4)
    ]
    trace = plot_heat_map(only(records))["data"][0]
    assert trace["z"] == [[4.0, 5.0], [5.0, 6.0]]
    assert trace["customdata"][0][0] == "[0, 9.000] n 400"
    assert (trace["x"], trace["y"]) == (["1", "2"], ["3", "4"])
