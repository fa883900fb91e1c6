"""Records and items: round trips, identity, and lines that are refused."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from sample_records import make_record

from lmlab.engine.items import read_items, write_items
from lmlab.engine.records import Item, protocol_hash, read_records, write_records


def test_a_record_reads_back_as_itself(tmp_path: Path):
    records = [
        make_record(),
        make_record(arm="exact", interval=None, interval_method=None, at={}, training_step=None),
        make_record(arm="unigram", weights={}, weightless=True),
        make_record(arm="theirs", weights={}, imported=True, value=1e-300),
    ]
    path = tmp_path / "results.jsonl"
    write_records(path, records)
    assert read_records(path) == records
    assert [one.name for one in tmp_path.iterdir()] == ["results.jsonl"]
    assert {one.version for one in read_records(path)} == {1}


def test_a_file_that_is_not_there_holds_no_records(tmp_path: Path):
    assert read_records(tmp_path / "results.jsonl") == []


def test_the_same_measurement_has_the_same_id_whatever_came_out():
    first = make_record()
    assert make_record(value=2.0, n=3, interval=(1.0, 3.0), command="again").id == first.id
    for change in (
        {"arm": "other"},
        {"at": {"length": 256, "task": "copy"}},
        {"weights": {"model": "ef" * 32}},
        {"data": {"test": "00" * 32}},
        {"protocol": {"window": 256}},
        {"seed": 2},
        {"training_step": 20},
        {"metric": "eval/nll"},
    ):
        assert make_record(**change).id != first.id


def test_protocols_are_equal_where_their_values_are():
    assert protocol_hash({"a": 1, "b": 2}) == protocol_hash({"b": 2, "a": 1})
    assert protocol_hash({"a": 1}) != protocol_hash({"a": 2})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_record(value: float):
    with pytest.raises(ValueError, match=r"trained eval/perplexity is .*a record holds a number"):
        make_record(value=value)


def test_a_record_without_weights_must_say_why():
    with pytest.raises(ValueError, match=r"names no weights; .*weightless or imported"):
        make_record(weights={})


def test_an_interval_needs_its_method():
    with pytest.raises(ValueError, match="an interval without its method"):
        make_record(interval_method=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", 1.0),
        ("n", 401),
        ("interval", [1.0, 2.0]),
        ("arm", "untrained"),
        ("dev", True),
        ("commit", "1" * 40),
        ("weights", {"model": "00" * 32}),
        ("protocol", {"window": 1}),
        ("id", "0" * 16),
        ("digest", "0" * 16),
    ],
)
def test_an_edited_line_is_refused_and_named(tmp_path: Path, field: str, value: object):
    path = tmp_path / "results.jsonl"
    write_records(path, [make_record(seed=seed) for seed in range(3)])
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {field: value})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl:2 .*was edited"):
        read_records(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"version": 1, "arm": "tra', "is no JSON .*cut or edited"),
        ("", "is no JSON"),
        ('{"version": 2}', "is record version 2; this reads 1"),
        ("[]", "is record version None"),
        ('{"version": 1}', "is no record"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str, said: str):
    path = tmp_path / "results.jsonl"
    write_records(path, [make_record()])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=rf"results\.jsonl:2 {said}"):
        read_records(path)


def test_a_value_that_became_nan_in_the_file_is_named(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    write_records(path, [make_record()])
    path.write_text(path.read_text().replace("12.345678901234567", "NaN"))
    with pytest.raises(ValueError, match=r"results\.jsonl:1 is no record"):
        read_records(path)


def test_fields_that_a_later_version_adds_do_not_hinder(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    record = make_record()
    path.write_text(json.dumps(dataclasses.asdict(record) | {"later": 1}) + "\n")
    assert read_records(path) == [record]


def test_items_read_back_with_their_columns(tmp_path: Path):
    items = [
        Item(
            part="train",
            arm="trained",
            at={"length": 128},
            metric="eval/f1",
            item_id=f"i{number}",
            cluster_id=f"c{number // 2}",
            seed=0,
            value=None if number == 3 else number / 4,
            error="no answer" if number == 3 else None,
        )
        for number in range(4)
    ]
    path = tmp_path / "f1.parquet"
    write_items(path, items)
    found = read_items(path)
    assert [one.name for one in tmp_path.iterdir()] == ["f1.parquet"]
    assert list(found.columns) == [one.name for one in dataclasses.fields(Item)]
    assert found["value"].tolist()[:3] == [0.0, 0.25, 0.5]
    assert math.isnan(found["value"][3])
    assert found["error"].isna().tolist() == [True, True, True, False]
    assert found["error"][3] == "no answer"
    assert [json.loads(at) for at in found["at"]] == [{"length": 128}] * 4
    assert found["cluster_id"].tolist() == ["c0", "c0", "c1", "c1"]


def test_no_items_have_the_same_columns(tmp_path: Path):
    write_items(tmp_path / "none.parquet", [])
    found = read_items(tmp_path / "none.parquet")
    assert len(found) == 0
    assert list(found.columns) == [one.name for one in dataclasses.fields(Item)]
