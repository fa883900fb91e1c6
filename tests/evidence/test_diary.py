"""Notes are kept as they were written; the diary is made of files and reads as plain Markdown."""

import json
from pathlib import Path

import pytest
from sample_runs import ATTEMPT, CREATED, make_run

from lmlab.evidence import notes
from lmlab.evidence.diary import diary
from lmlab.evidence.markdown import code, plain
from lmlab.evidence.notes import Note, add_note, read_notes

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, empty."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    return tmp_path


def at(monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    """The notes' clock."""
    monkeypatch.setattr(notes.time, "time", lambda: moment)


def test_a_note_is_added_and_those_before_it_stay(monkeypatch: pytest.MonkeyPatch):
    run = make_run()
    at(monkeypatch, 5.0)
    add_note(run, "  first\nwith a second line ")
    before = run.notes_path.read_bytes()
    at(monkeypatch, 6.0)
    add_note(run, "zweitens: größer")
    assert run.notes_path.read_bytes().startswith(before)
    assert read_notes(run, said=[]) == [
        Note(5.0, "first\nwith a second line"),
        Note(6.0, "zweitens: größer"),
    ]


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_note_is_refused(text: str):
    run = make_run()
    with pytest.raises(ValueError, match="scratch/one says something"):
        add_note(run, text)
    assert not run.notes_path.exists()


def test_a_cut_line_takes_no_note_with_it():
    run = make_run()
    add_note(run, "kept")
    with run.notes_path.open("ab") as file:
        file.write(b'{"time": 1, "te')
    add_note(run, "after the cut")
    said: list[str] = []
    assert [note.text for note in read_notes(run, said=said)] == ["kept", "after the cut"]
    assert said == ["notes.jsonl, line 2 is cut or damaged and was left out."]
    assert "notes.jsonl, line 2 is cut" in diary()


def test_an_entry_says_what_was_asked_done_found_and_decided(monkeypatch: pytest.MonkeyPatch):
    run = make_run(attempts=[ATTEMPT, ATTEMPT | {"diff_sha256": "ab" * 32}])
    at(monkeypatch, CREATED + 60)
    add_note(run, "the loss fell late")
    gate = {"gate": "beats_unigram", "claim": "c", "verdict": "not_enough_evidence",
            "reason": "n is 400, 900 are needed"}  # fmt: skip
    (run.folder / "gates.json").write_text(json.dumps({"judgements": [gate]}))
    (run.folder / "decision.json").write_text(json.dumps({"actions": ["measure 900 items"]}))
    lines = diary().splitlines()
    assert lines == [
        "# Experiment diary",
        "",
        "## 2026-09-21",
        "",
        "### What is learned?",
        "",
        "- **Run**: `scratch/one`, done, 2026-09-21 14:13 UTC",
        "- **Command**: `lmlab run scratch/demo`, the last of 2 starts",
        "- **Hardware**: 2 x A Processor; no GPU; Linux; torch 2.13.0",
        "- **Code**: 0f0f0f0f0f0f with uncommitted changes",
        "- **Result**: trained reaches eval/perplexity 12.35 \\[11.00, 13.50\\] on the test split "
        "of test; better than every control: unigram (30.50).",
        "    - trained: eval/perplexity 12.35 \\[11.00, 13.50\\] 1; split test, n 400, seed 1",
        "    - unigram: eval/perplexity 30.50 \\[29.00, 31.00\\] 1; split test, n 400, seed 1 "
        "(control)",
        "- **Verdict**: beats\\_unigram: not enough evidence. n is 400, 900 are needed",
        "- **Note**, 2026-09-21 14:14 UTC: the loss fell late",
        "- **Next**: measure 900 items",
    ]


def test_runs_stand_under_their_day_the_oldest_first():
    make_run(name="late", created=CREATED + DAY)
    make_run(name="early", created=CREATED)
    make_run(name="same", created=CREATED + DAY + 1)
    found = [line for line in diary().splitlines() if line.startswith(("## ", "- **Run"))]
    assert [line.split(",")[0] for line in found] == [
        "## 2026-09-21",
        "- **Run**: `scratch/early`",
        "## 2026-09-22",
        "- **Run**: `scratch/late`",
        "- **Run**: `scratch/same`",
    ]


def test_a_day_and_a_study_choose_the_entries(monkeypatch: pytest.MonkeyPatch):
    old = make_run(name="old", created=CREATED - 30 * DAY)
    make_run(name="older", created=CREATED - 31 * DAY)
    make_run(name="new", created=CREATED)
    make_run(study="other", name="new", created=CREATED)
    at(monkeypatch, CREATED)
    add_note(old, "looked at again")
    chosen = diary(study="scratch", since="2026-09-21")
    assert [name for name in ("old`", "older`", "scratch/new`", "other/") if name in chosen] == [
        "old`",
        "scratch/new`",
    ]
    assert "Nothing yet." in diary(since="2030-01-01")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"since": "yesterday"}, "'yesterday' is no day; write it as 2026-01-31"),
        ({"study": "lense"}, "no runs of a study 'lense' in "),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, str], said: str):
    make_run()
    with pytest.raises(ValueError, match=said):
        diary(**asked)


def test_what_was_judged_over_all_runs_of_a_study_stands_at_the_end(runs: Path):
    make_run()
    (runs / "scratch" / "decision.json").write_text(json.dumps({"concerns": ["one seed"]}))
    assert diary().endswith("## All runs of scratch\n\n- **Concern**: one seed\n")


def test_a_damaged_run_is_told_and_does_not_stop_the_others():
    make_run(name="whole")
    broken = make_run(name="broken")
    (broken.folder / "manifest.json").write_text("{")
    (broken.folder / "results.jsonl").write_text("{}\n")
    told = diary()
    assert "`scratch/whole`, done" in told
    assert "`scratch/broken`, done" in told
    assert "manifest.json is damaged" in told
    assert "results.jsonl, line 1 was left out" in told


def test_markup_in_texts_stays_text():
    evil = "<script>alert(1)</script> # *bold* `code` [link](http://x) | cell"
    run = make_run(question=evil, attempts=[ATTEMPT | {"command": ["lmlab", f"`{evil}`"]}])
    add_note(run, f"{evil}\n- a list\n1. a number\n> quoted")
    outside = [line for line in diary().splitlines() if not line.startswith("- **Command**")]
    assert "<" not in "".join(outside)
    for sign in ("*bold*", "`code`", "[link]"):
        assert sign not in "".join(outside)
    note = outside[-4:]
    assert note[1:] == ["  \\- a list  ", "  1\\. a number  ", "  &gt; quoted"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b", "a\\_b"),
        ("+1 %", "\\+1 %"),
        ("2. x", "2\\. x"),
        ("2.5 x", "2\\.5 x"),
        ("a\nb", "a b"),
    ],
)
def test_plain_text_is_escaped_and_on_one_line(text: str, shown: str):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```")]
)
def test_a_code_span_holds_any_text(text: str, shown: str):
    assert code(text) == shown
