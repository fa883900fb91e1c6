"""`runs/index.html`: whole, safe, without a network, and written only when something changed."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_runs import make_run

from lmlab.evidence.overview import read_entries
from lmlab.evidence.pages.index import render, write_index

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Links, what is loaded, and the cells of each row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.rows: list[str] = []
        self.scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.scripts += tag == "script"
        if tag == "a":
            self.links.append(values["href"])
        elif "src" in values or "href" in values:
            self.loaded.append(values.get("src") or values["href"])
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self.rows and data.strip():
            self.rows[-1] += f"{' '.join(data.split())} "


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, empty."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    return tmp_path


def page() -> Page:
    return Page(write_index(read_entries()).read_text(encoding="utf-8"))


def test_every_run_has_a_row_whose_links_lead_to_its_files(runs: Path):
    reported, bare = make_run(name="reported"), make_run(study="other", name="bare", created=1.0)
    reported.report_path.write_text("page")
    found = page()
    assert [row.split()[0] for row in found.rows[1:]] == ["reported", "bare"]
    assert "✓ done scratch 2026-09-21 14:13 1 min 10 s 2 What is learned?" in found.rows[1]
    assert found.links[1:] == [
        "scratch/reported/report.html", "scratch/reported/", "other/bare/", "other/bare/"
    ]  # fmt: skip
    assert all((runs / link).exists() for link in found.links[1:])
    assert bare.folder.is_dir()


def test_nothing_is_fetched(runs: Path):
    make_run()
    assert page().loaded == ["data:,"]
    assert "http:" not in (runs / "index.html").read_text(encoding="utf-8")


def test_it_is_written_again_only_when_something_changed():
    run = make_run()
    path = write_index(read_entries())
    before = path.stat().st_mtime_ns
    write_index(read_entries())
    assert path.stat().st_mtime_ns == before
    run.set_status("train", state="failed", error="no room")
    write_index(read_entries())
    assert path.stat().st_mtime_ns > before
    assert "train: no room" in path.read_text(encoding="utf-8")


def test_damaged_runs_are_shown_with_what_is_wrong():
    make_run(name="whole")
    broken = make_run(name="broken")
    (broken.folder / "manifest.json").write_text("{")
    (broken.folder / "gates.json").write_text("{")
    found = page()
    assert len(found.rows) == 3
    assert any("broken manifest.json is damaged" in row for row in found.rows)


def test_gates_are_counted():
    run = make_run()
    verdicts = ["fail", "pass", "pass", "not_run"]
    gates = [{"gate": "g", "claim": "c", "verdict": one, "reason": "r"} for one in verdicts]
    (run.folder / "gates.json").write_text(json.dumps({"judgements": gates}))
    assert "2 pass, 1 fail, 1 not run" in page().rows[1]


def test_html_in_names_and_texts_stays_text(runs: Path):
    run = make_run(question=EVIL, preset=EVIL)
    run.set_status(EVIL, state="failed", error=EVIL)
    odd = runs / "scratch" / "a b#c?d&<i>"
    run.folder.rename(odd)
    found = page()
    assert EVIL not in (runs / "index.html").read_text(encoding="utf-8")
    assert found.scripts == 1
    assert "scratch/a%20b%23c%3Fd%26%3Ci%3E/" in found.links
    assert found.rows[1].count(EVIL) == 4


def test_without_runs_it_says_how_to_begin(runs: Path):
    assert "lmlab run scratch/demo" in render([])
    assert write_index([]) == runs / "index.html"
