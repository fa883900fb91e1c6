"""The commands on a finished run: what each says of it, and what each leaves alone."""

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny
from commands import Say

from lmlab import cli
from lmlab.engine.config import load_preset
from lmlab.engine.lock import locked
from lmlab.engine.run import Run, write_json


def test_a_finished_run_says_so_and_stops(say: Say, runs: Path):
    before = tiny.contents(runs / "scratch" / "tiny")
    said = say("run", tiny.PRESET, *tiny.OVERRIDES, "--name", "tiny")
    assert said.code == 0
    assert said.out.startswith("scratch/tiny is finished: ")
    assert tiny.contents(runs / "scratch" / "tiny") == before


def test_a_dry_run_says_what_is_left_and_makes_nothing(say: Say, runs: Path):
    said = say("run", tiny.PRESET, *tiny.OVERRIDES, "--dry-run", "evaluate.window_tokens=16")
    assert said.out.splitlines()[:4] == [
        "run: scratch/tiny (unfinished)",
        "step prepare: done",
        "step pretrain: done",
        "step evaluate: pending",
    ]
    assert "run: a new one" in say("run", tiny.PRESET, "--dry-run").out
    assert [path.name for path in (runs / "scratch").iterdir()] == ["tiny"]


def test_an_evaluation_with_other_settings_stands_beside_the_first(say: Say, runs: Path):
    run = Run(runs, "scratch", "tiny")
    before = run.results().records()
    said = say("eval", "scratch/tiny", "evaluate.window_tokens=16")
    assert said.code == 0
    assert f"report: {run.report_path}" in said.out.splitlines()
    own, other = run.all_results()
    assert own.records() == before
    assert {one.arm for one in other.records()} == {one.arm for one in before}
    shutil.rmtree(other.folder.parent)
    steps = {key: one for key, one in run.status()["steps"].items() if "@" not in key}
    write_json(run.folder / "status.json", {"steps": steps})


def test_a_run_that_somebody_works_on_is_left_alone(say: Say, runs: Path):
    run = Run(runs, "scratch", "tiny")
    with locked(run.lock_path):
        again = ["run", tiny.PRESET, *tiny.OVERRIDES]
        assert "scratch/tiny is running: lmlab logs scratch/tiny -f" in say(*again).out
        assert "scratch/tiny is running" in say(*again, "--redo", "evaluate").out
        assert say("eval", "scratch/tiny", "evaluate.window_tokens=16").code == 1
        assert "scratch/tiny: running" in say("status", "scratch/tiny").out
    assert not (run.folder / "evaluations").exists()


def test_status_tells_of_all_runs_and_of_one(say: Say, runs: Path):
    assert re.search(
        r"scratch/tiny +done +prepare done, pretrain done, evaluate done", say("status").out
    )
    one = say("status", "scratch/tiny").out
    assert "part     pretrain: step 12 of 12, last save at 12" in one
    assert f"records  {len(Run(runs, 'scratch', 'tiny').records())}" in one


def test_status_says_what_would_be_lost_now(say: Say, runs: Path):
    part = Run(runs, "scratch", "tiny").part("pretrain")
    before = part.status()
    now = {"state": "running", "step": 40, "last_saved": 10, "step_seconds": 0.5}
    part.write_status(before | now)
    try:
        told = say("status", "scratch/tiny").out
        assert "at risk  30 steps since that save: 15 s of work" in told
        part.write_status(before | now | {"saved": None, "last_saved": 0})
        assert "no save yet" in say("status", "scratch/tiny").out
    finally:
        part.write_status(before)


def test_status_says_whether_the_mirror_is_up_to_date(say: Say, runs: Path):
    run = Run(runs, "scratch", "tiny")
    write_json(run.mirror_path, {"number": 7, "state": "failed", "error": "no answer"})
    try:
        assert "mirror   index 7, failed: no answer" in say("status", "scratch/tiny").out
    finally:
        run.mirror_path.unlink()


def test_status_without_runs_says_how_to_begin(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    assert say("status").out == "no runs yet; start one: lmlab run scratch/demo\n"


def test_list_shows_each_preset_with_its_question_and_last_state(say: Say):
    lines = say("list").out.splitlines()
    assert lines[0] == "scratch"
    [demo] = [line for line in lines if line.split()[0] == "scratch/demo"]
    assert demo.split()[1] == "done"
    assert demo.endswith(load_preset("scratch/demo").question)


def test_a_damaged_run_stops_no_list(say: Say, runs: Path):
    broken = runs / "scratch" / "broken"
    broken.mkdir()
    try:
        (broken / "manifest.json").write_text("{", encoding="utf-8")
        assert "scratch/demo" in say("list").out
        newest = {"preset": "scratch/wikitext2", "created": 1.0}
        (broken / "manifest.json").write_text(json.dumps(newest), encoding="utf-8")
        (broken / "status.json").write_text("[", encoding="utf-8")
        assert re.search(r"scratch/wikitext2 +damaged", say("list").out)
    finally:
        shutil.rmtree(broken)


def test_a_killed_run_is_listed_as_interrupted(say: Say, runs: Path):
    run = Run(runs, "scratch", "tiny")
    status = (run.folder / "status.json").read_text()
    run.set_status("evaluate", state="running")
    try:
        assert re.search(r"scratch/demo +interrupted", say("list").out)
        assert re.search(r"scratch/tiny +interrupted", say("status").out)
    finally:
        (run.folder / "status.json").write_text(status)


def test_logs_print_what_the_newest_start_said(say: Say, runs: Path):
    path = Run(runs, "scratch", "tiny").log_path(9)
    path.write_text("12:00 INFO first\n12:01 INFO second\n")
    assert say("logs", "scratch/tiny").out == path.read_text()
    path.unlink()


def test_following_a_log_ends_with_ctrl_c(say: Say, monkeypatch: pytest.MonkeyPatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.time, "sleep", interrupt)
    said = say("logs", "scratch/tiny", "-f")
    assert said.code == 130
    assert "Traceback" not in said.err


def test_a_report_is_made_again_unless_it_was_edited(say: Say, runs: Path):
    said = say("report", "scratch/tiny")
    page = runs / "scratch" / "tiny" / "report.html"
    assert said.out.strip() == str(page)
    page.write_text(page.read_text() + "mine")
    assert say("report", "scratch/tiny").code == 64
    assert page.read_text().endswith("mine")
    assert say("report", "scratch/tiny", "--force").code == 0
    assert not page.read_text().endswith("mine")


def test_a_seed_gives_its_text_on_the_command_line(say: Say):
    asked = ["generate", "scratch/tiny:pretrain@last", "Once", "--tokens", "20", "--seed"]
    texts = [say(*asked, seed).out for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("Once")


def test_an_export_names_its_folder_and_overwrites_nothing(say: Say, tmp_path: Path):
    to = tmp_path / "model"
    assert say("export", "scratch/tiny", "--to", str(to)).out.strip() == str(to)
    names = {path.name for path in to.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    again = say("export", "scratch/tiny", "--to", str(to))
    assert again.code == 64
    assert "is not empty; name a new folder" in again.err


def test_a_damaged_newest_checkpoint_gives_way_to_the_older_one_and_is_named(
    say: Say, runs: Path, caplog: pytest.LogCaptureFixture
):
    checkpoints = Run(runs, "scratch", "tiny").part("pretrain").checkpoints
    older, newest = sorted(checkpoints.glob("step_*"))
    kept = {path: (path / "model.safetensors").read_bytes() for path in (older, newest)}
    asked = ["generate", "scratch/tiny", "Once", "--tokens", "5", "--temperature", "0"]
    expected = say("generate", f"scratch/tiny@{int(older.name[5:])}", *asked[2:]).out
    try:
        flip(newest)
        said = say(*asked)
        assert (said.code, said.out) == (0, expected)
        assert f"{newest} is damaged; {older.name} is used instead" in caplog.text
        flip(older)
        said = say(*asked)
        assert said.code == 1
        assert f"no checkpoint in {checkpoints} can be loaded: " in said.err
    finally:
        for path, content in kept.items():
            (path / "model.safetensors").write_bytes(content)


def flip(checkpoint: Path) -> None:
    """One bit of its weights."""
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
