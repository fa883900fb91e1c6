"""What `lmlab status` says of runs: all of them, whatever one of them looks like."""

import json
from pathlib import Path

import pytest
from sample_runs import make_run

from lmlab.engine.latest import latest_states
from lmlab.engine.lock import locked
from lmlab.evidence.overview import details, frames, read_entries, read_entry, summaries
from lmlab.launch import rental


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, empty."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    return tmp_path


def test_runs_are_listed_the_newest_first():
    make_run(name="old", created=1.0)
    make_run(name="new", created=3.0)
    make_run(study="other", name="between", created=2.0)
    assert [one.run.reference for one in read_entries()] == [
        "scratch/new",
        "other/between",
        "scratch/old",
    ]
    line = summaries(read_entries())[0]
    assert line.split() == ["scratch/new", "done", "train", "done,", "evaluate", "done"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("manifest.json", '{"half', "manifest.json is damaged: it was cut or edited"),
        ("manifest.json", "[1]", "manifest.json is damaged: it was cut or edited"),
        ("manifest.json", b"\xff\xfe", "manifest.json is damaged: it was cut or edited"),
        ("manifest.json", None, "manifest.json is missing or empty"),
        ("status.json", '{"steps": ', "status.json is damaged: it was cut or edited"),
        ("status.json", '{"steps": {"train": {}}}', "status.json is damaged: a step has no state"),
        ("status.json", '{"steps": 3}', "status.json is damaged: a step has no state"),
        ("config.yaml", None, "config.yaml is missing"),
    ],
)
def test_a_damaged_run_is_listed_with_what_is_wrong_beside_the_others(
    name: str, content: str | bytes | None, said: str
):
    broken, whole = make_run(name="broken"), make_run(name="whole")
    path = broken.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    entries = {one.run.name: one for one in read_entries()}
    assert entries["broken"].problems == (said,)
    assert entries["whole"].problems == ()
    assert entries["broken"].state == ("damaged" if name == "status.json" else "done")
    assert f"  ! {said}" in summaries(list(entries.values()))
    assert f"damaged  {said}" in details(broken)
    assert details(whole)[0] == "scratch/whole: done"


def test_folders_that_are_no_runs_are_not_listed(runs: Path):
    (runs / "sweeps" / "grid" / "logs").mkdir(parents=True)
    (runs / "scratch" / ".new-1").mkdir(parents=True)
    (runs / "scratch" / ".new-1" / "config.yaml").write_text("study: scratch")
    assert read_entries() == []
    assert summaries([]) == ["no runs yet; start one: lmlab run scratch/demo"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "pending"),
        (["done", "done"], "done"),
        (["done", "running"], "interrupted"),
        (["done", "preempted"], "preempted"),
        (["failed", "running"], "failed"),
        (["done", "pending"], "pending"),
    ],
)
def test_the_state_of_a_run_follows_from_its_steps(states: list[str], expected: str):
    run = make_run()
    steps = {str(index): {"state": state} for index, state in enumerate(states)}
    (run.folder / "status.json").write_text(json.dumps({"steps": steps}))
    assert read_entry(run).state == expected
    with locked(run.lock_path):
        assert read_entry(run).state == "running"


def test_a_run_is_not_done_while_a_step_of_its_own_has_not_begun():
    run = make_run(preset="scratch/demo", fingerprints={"prepare": "a", "train": "b"})
    steps = {"prepare": {"state": "done"}}
    (run.folder / "status.json").write_text(json.dumps({"steps": steps}))
    assert read_entry(run).state == latest_states()["scratch/demo"] == "unfinished"
    (run.folder / "status.json").write_text(
        json.dumps({"steps": steps | {"train": {"state": "done"}}})
    )
    assert read_entry(run).state == latest_states()["scratch/demo"] == "done"


def test_damaged_records_and_part_statuses_do_not_end_the_details():
    run = make_run()
    run.part("train").write_status({"state": "done"})
    (run.part("train").folder / "status.json").write_text("{")
    with (run.folder / "results.jsonl").open("a") as file:
        file.write("{}\n")
    said = "\n".join(details(run))
    assert "damaged  train/status.json is damaged" in said
    assert "results.jsonl:3 is record version None" in said
    assert "report   none yet" in said


def test_watching_without_a_terminal_says_each_change_once():
    texts = iter([["a 1 s ago"], ["a 3 s ago"], ["b"], ["b"], ["c"]])
    shown = frames(lambda: next(texts), terminal=False, pause=0.0)
    assert [next(shown) for _ in range(3)] == ["a 1 s ago\n", "b\n", "c\n"]


def test_watching_on_a_terminal_draws_anew_and_no_more_than_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "5")
    shown = frames(lambda: ["x" * 30, *"abcdef"], terminal=True, pause=0.0)
    first, second = next(shown), next(shown)
    assert first == second
    assert first.startswith("\x1b[H\x1b[J")
    assert first.split("\x1b[J")[1].split("\n") == ["x" * 9, "a", "b", "... and 4 more lines"]


def test_what_is_rented_is_said_with_its_price():
    run = make_run()
    assert rental.lines(run) == []
    state = {"provider": "vast", "label": "l", "state": "running", "instance": 7, "spent_usd": 1.5}
    rental.write_state(run, rental.State.model_validate(state | {"usd_per_hour": 0.25}))
    said = rental.lines(run)
    assert said[0] == (
        "rented   running with Vast.ai: instance 7, 0.250 USD an hour, 1.50 USD spent"
    )
    assert "nobody watches it any more" in said[1]
    with locked(run.lock_path):
        assert len(rental.lines(run)) == 1
    ended = state | {"state": "done", "instance": None, "message": "fetched"}
    rental.write_state(run, rental.State.model_validate(ended))
    assert rental.lines(run) == [
        "rented   done with Vast.ai: no machine, 1.50 USD spent",
        "         fetched",
    ]
