"""The page over several runs: their gates, their states, their records side by side."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_records import make_record

from lmlab.engine.run import Run, create_run
from lmlab.evidence.pages import parts as pages
from lmlab.evidence.pages.pdf import write_pdf
from lmlab.evidence.pages.study_report import report

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Ids, links and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.said = ""
        self.inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.said.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if tag == "a" else []
        self.inside = [*self.inside, tag] if tag in ("script", "style") else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside[:-1] if tag in ("script", "style") else self.inside

    def handle_data(self, data: str) -> None:
        self.said += "" if self.inside else data


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))


def make_run(name: str, value: float, *, seed: int = 1, **changes) -> Run:
    run = create_run("toy", name, config={"study": "toy"}, manifest={}, unique=True)
    run.write_manifest({"question": f"What of {name}?", "preset": "toy/p", "created": 1.7e9})
    run.set_status("evaluate", state="done", started=1.7e9, finished=1.7e9, attempt=1)
    trained = make_record(study="toy", run=run.reference, value=value, seed=seed, **changes)
    control = make_record(study="toy", run=run.reference, arm="untrained", value=50.0, seed=seed,
                          interval=(49.0, 51.0), weights={"model": "ee" * 32})  # fmt: skip
    run.results().replace("evaluate", [trained, control])
    return run


def gate(**changes) -> dict[str, object]:
    base = {"gate": "beats", "claim": "It beats the rest", "verdict": "pass", "reason": "because",
            "estimate": 0.3, "interval": [0.2, 0.4], "n": 400, "seeds": 3, "test": "sign flip",
            "p": 0.01, "p_corrected": 0.02, "audit": "sound", "audit_reason": "can fail",
            "marks": ["generated"], "evidence": []}  # fmt: skip
    return base | changes


def test_the_page_of_a_run_comes_with_its_exports():
    """Such as an imported run's, which nothing else makes."""
    run = make_run("one", 10.0, metric="perplexity")
    report([run.reference])
    rows = (run.folder / "exports" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["mode"]: json.loads(row)["ppl"] for row in rows}["trained"] == 10.0


def test_a_study_has_a_row_a_run_and_a_row_a_run_and_arm(tmp_path: Path):
    one, two = make_run("one", 12.0), make_run("two", 60.0, interval=None, interval_method=None)
    report(["toy/one"])
    path = report(["toy"])
    assert path == tmp_path / "toy" / "report.html"
    page = Page(path)
    assert "one/report.html" in page.links
    assert "two/report.html" not in page.links
    records = [*one.records(), *two.records()]
    assert {f"#rec-{record.id}" for record in records} <= set(page.links)
    assert {f"rec-{record.id}" for record in records} <= set(page.ids)
    # In its table, and as the key number of its run.
    assert page.links.count(f"#rec-{one.records()[0].id}") == 2
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "better than all" in page.text
    assert "not better" in page.text
    assert "No gate has been judged over these runs" in page.text
    assert (tmp_path / "toy" / "tables" / "eval_perplexity.csv").exists()


def test_the_page_begins_with_the_gates_and_the_decision(tmp_path: Path):
    run = make_run("one", 12.0)
    first = run.records()[0].id
    gates = [gate(evidence=[first]), *(gate(gate=f"g{i}", verdict="fail") for i in range(2)),
             gate(gate="last", verdict="not_run", claim=EVIL, reason=EVIL)]  # fmt: skip
    decision = {"actions": ["Do this"], "claims": [], "concerns": [EVIL]}
    for folder in (tmp_path / "toy", run.folder):
        (folder / "gates.json").write_text(json.dumps(gates))
        (folder / "decision.json").write_text(json.dumps(decision))
    for path in (report(["toy"]), report(["toy/one"])):
        page = Page(path)
        counted = page.text.index("✓ 1 pass ✗ 2 fail – 1 not run")
        shown = page.text.index("It beats the rest generated because Audit: sound. can fail")
        assert counted < shown < page.text.index("NextDo this") < page.text.index("best first")
        assert "effect0.3 [0.2, 0.4]" in page.text
        assert "p, corrected0.02 (0.01 before)" in page.text
        assert "#rec-" + first in page.links
        assert EVIL not in path.read_text(encoding="utf-8")
        assert page.text.count(EVIL) == 3
        assert (path.parent / "tables" / "gates.md").exists()


def test_chosen_runs_have_a_page_of_their_own(tmp_path: Path):
    for name in ("one", "two", "three"):
        make_run(name, 12.0)
    path = report(["toy/one", "toy/two"])
    assert path == tmp_path / "reports" / "toy_one_and_toy_two" / "report.html"
    page = Page(path)
    assert "What 2 runs of toy show" in page.text
    assert "run-toy/three" not in page.ids
    report(["toy/two"])
    assert "../../toy/two/report.html" in Page(report(["toy/one", "toy/two"])).links


def test_a_damaged_run_is_said_and_the_others_are_shown(tmp_path: Path):
    make_run("good", 12.0)
    bad = make_run("bad", 12.0)
    results = bad.results().folder / "results.jsonl"
    results.write_text(results.read_text().replace('"value": 12.0', '"value": 11.0') + "{cut")
    (bad.folder / "status.json").write_text('{"half')
    page = Page(report(["toy"]))
    for said in ("line 1 was left out", "line 3 was left out", "status.json is damaged"):
        assert re.search(rf"toy/bad: [^:]*{re.escape(said)}", page.text)
    assert "12.00" in page.text


def test_many_records_go_to_sibling_pages_whose_links_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "LIMIT", 340_000)
    run = make_run("one", 12.0)
    many = [
        make_record(study="toy", run=run.reference, at={"task": f"t{i}"}, value=float(i + 1))
        for i in range(40)
    ]
    run.results().replace("evaluate", many)
    path = report(["toy/one"])
    names = [path.name, *sorted(one.name for one in path.parent.glob("report-*.html"))]
    assert len(names) > 1
    found = {name: Page(path.parent / name) for name in names}
    assert f"Page 1 of {len(names)}" in found["report.html"].text
    assert "of 40:" in found["report.html"].text
    for name, page in found.items():
        for link in page.links:
            there, _, anchor = link.partition("#")
            assert not anchor or anchor in found[there or name].ids, (name, link)
    shown = [one for page in found.values() for one in page.ids if one.startswith("rec-")]
    assert sorted(shown) == sorted(f"rec-{one.id}" for one in many)


def test_an_unknown_study_is_an_error():
    with pytest.raises(ValueError, match="no runs of 'toy'"):
        report(["toy"])


def test_without_a_browser_there_is_no_pdf_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="install Chromium"):
        write_pdf(tmp_path / "report.html")
