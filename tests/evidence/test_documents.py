"""Numbers in documents come from records."""

import re
from pathlib import Path

import pytest
from sample_records import make_record

from lmlab.engine.records import write_records
from lmlab.evidence.documents import load_records, render, stale_documents

ROOT = Path(__file__).parents[2]


def test_a_value_is_taken_from_its_record() -> None:
    record = make_record(value=1234.56)
    mark = f"<!-- rec {record.id}"
    text = f"It took {mark} -->9<!-- /rec --> and {mark} .1 --><!-- /rec -->."
    filled = render(text, {record.id: record}, where="x.md")
    assert re.sub("<!--.*?-->", "", filled) == "It took 1,235 and 1,234.6."
    assert render(filled, {record.id: record}, where="x.md") == filled


def test_an_edited_digit_is_found_and_mended(tmp_path: Path) -> None:
    record = make_record(value=12.5)
    (tmp_path / "docs" / "records").mkdir(parents=True)
    write_records(tmp_path / "docs" / "records" / "a.jsonl", [record])
    (tmp_path / "README.md").write_text(f"<!-- rec {record.id} -->12.5<!-- /rec -->")
    assert stale_documents(tmp_path, write=False) == []
    (tmp_path / "README.md").write_text(f"<!-- rec {record.id} -->13.5<!-- /rec -->")
    assert stale_documents(tmp_path, write=True) == [tmp_path / "README.md"]
    assert stale_documents(tmp_path, write=False) == []


def test_records_of_dev_runs_and_unknown_ones_are_refused() -> None:
    record = make_record(dev=True)
    with pytest.raises(ValueError, match="dev run"):
        render(f"<!-- rec {record.id} -->1<!-- /rec -->", {record.id: record}, where="x.md")
    with pytest.raises(ValueError, match="names record abc"):
        render("<!-- rec abc -->1<!-- /rec -->", {}, where="x.md")


def test_this_repositorys_documents_agree_with_their_records() -> None:
    assert stale_documents(ROOT, write=False) == []
    assert all(not record.dev for record in load_records(ROOT / "docs" / "records").values())


def test_every_link_and_path_in_the_documents_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"
