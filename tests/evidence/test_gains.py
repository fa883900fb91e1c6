"""The table of gains: from records alone, what got worse shown as worse, every number linked."""

import csv
from pathlib import Path
from typing import Any

import pytest
from sample_records import make_record

from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.pages.gains import gain_sheets, read_gains, told, way
from lmlab.evidence.pages.report import write_report
from lmlab.evidence.pages.table_files import as_csv, markdown

AT = {"task": "problems", "split": "test"}


def score(arm: str, value: float, **changes: Any) -> Record:
    given = {"metric": "exact_match", "at": AT, "better": "higher", "unit": "share", "n": 50}
    given |= {"weights": {"decoder": arm}, "interval": (value - 0.1, value + 0.1)}
    return make_record(arm=arm, value=value, **(given | changes))


def gain(arm: Record, base: Record, low: float, high: float, **changes: Any) -> Record:
    return score(
        arm.arm,
        (low + high) / 2,
        metric=f"{arm.metric}_gain",
        at={**arm.at, "against": base.arm},
        interval=(low, high),
        protocol={"gain_in": arm.metric, "scored_under": arm.protocol_hash},
        **changes,
    )


@pytest.fixture
def records() -> list[Record]:
    """Three decoders and a control on a task, two of them on a text as well."""
    start, first, second = score("start", 0.1), score("first", 0.6), score("second", 0.4)
    control = score("majority", 0.3, weights={}, weightless=True)
    text = {"metric": "word_perplexity", "at": {"split": "test"}, "better": "lower"}
    costs = [score("first", 20.0, **text), score("second", 25.0, **text)]
    leak = score("training text", 0.25, metric="overlap_13gram_share", weights={}, weightless=True)
    return [
        start, first, second, control, *costs, leak,
        gain(first, start, 0.4, 0.6),
        gain(second, first, -0.3, -0.1),
        gain(costs[1], costs[0], -0.25, 0.05, unit="nats per word"),
    ]  # fmt: skip


def test_a_run_without_gains_has_no_such_table(records: list[Record]):
    assert read_gains([one for one in records if "against" not in one.at]) is None
    assert gain_sheets(None) == []


def test_arms_stand_in_their_order_and_controls_apart(records: list[Record]):
    found = read_gains(records)
    assert found is not None
    assert found.arms == ("start", "first", "second")
    assert found.controls == ("majority",)
    task, text = found.columns
    assert set(task.cells) == {"start", "first", "second", "majority"}
    assert set(text.cells) == {"first", "second"}
    assert [one.value for one in task.overlaps] == [0.25]
    assert text.overlaps == ()
    assert found.ids == {one.id for one in records if "against" in one.at}


def test_what_was_scored_in_another_way_is_not_in_the_row(records: list[Record]):
    others = [
        score("other", 0.9, protocol={"rule": "another"}),
        score("elsewhere", 0.9, run="another"),
        score("validated", 0.9, at={**AT, "split": "validation"}),
    ]
    found = read_gains([*others, *records])
    assert found is not None
    assert not {"other", "elsewhere", "validated"} & set(found.columns[0].cells)


def test_a_gain_is_better_worse_or_not_told_apart(records: list[Record]):
    better, worse, unclear = [one for one in records if "against" in one.at]
    assert [way(one) for one in (better, worse, unclear)] == ["better", "worse", "unclear"]
    assert told(better) == "0.5000 better than start [0.4000, 0.6000]"
    assert told(worse) == "0.2000 worse than first [0.1000, 0.3000]"
    assert told(unclear) == "not told from first: -0.1000 nats per word [-0.2500, +0.05000]"


def test_the_table_as_a_file_keeps_every_digit_and_the_records(records: list[Record]):
    [sheet] = gain_sheets(read_gains(records))
    assert sheet.name == "stage_gains"
    first = next(line for line in markdown(sheet).splitlines() if line.startswith("| first"))
    assert "0.6000 [0.5000, 0.7000]; 0.5000 better than start [0.4000, 0.6000]" in first
    rows = list(csv.DictReader(as_csv(sheet).splitlines()))
    by_id = {one.id: one for one in records}
    for row in rows:
        assert float(row["value"]) == by_id[row["record"]].value
        if row["gain"]:
            assert float(row["gain"]) == by_id[row["gain_record"]].value
    assert [(one["arm"], one["finding"]) for one in rows if one["gain"]] == [
        ("first", "better"), ("second", "worse"), ("second", "unclear"),
    ]  # fmt: skip


def test_the_page_shows_every_gain_with_a_link_to_its_record(tmp_path: Path, records: list[Record]):
    run = Run(tmp_path, "toy", "one")
    run.folder.mkdir(parents=True)
    run.results().replace("evaluate", records)
    write_report(run)
    page = run.report_path.read_text(encoding="utf-8")
    section = page.split('<section id="gains">')[1].split("</section>")[0]
    for one in records:
        if "against" in one.at:
            assert told(one) in section
            assert f'href="#rec-{one.id}"' in section
            assert f'id="rec-{one.id}"' in page
    assert 'class="gain worse"' in section
    assert (run.report_path.parent / "tables" / "stage_gains.md").is_file()
    # A gain is no chart of its own.
    assert "exact match gain" not in page.split('<section id="gains">')[0]
    assert '<section id="charts">' not in page
