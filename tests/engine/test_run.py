"""Runs on disk: names, parts, and what lies in their files."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sample_records import make_record

from lmlab.engine.lock import locked
from lmlab.engine.run import Run, check_name, create_run, default_name, find_runs, runs_root

pytestmark = pytest.mark.usefixtures("runs")


@pytest.mark.parametrize(
    "name",
    ["../x", "..", ".", "a/b", "/x", "", "a b", "a..b", ".hidden", "-x", "x" * 121, "a\n", "ä"],
)
def test_what_is_no_plain_folder_name_is_refused(name: str):
    with pytest.raises(ValueError, match="is no name for a run: letters, digits"):
        create_run("toy", name, config={}, manifest={}, unique=True)
    assert not runs_root().exists()


@pytest.mark.parametrize("name", ["a", "gpt2_frozen-1.5", "x" * 120, "0"])
def test_plain_names_are_names(name: str):
    check_name(name)


def test_a_used_name_is_refused():
    create_run("toy", "run", config={"study": "toy"}, manifest={}, unique=False)
    with pytest.raises(ValueError, match=r"runs/toy/run exists already"):
        create_run("toy", "run", config={}, manifest={}, unique=False)
    assert Run(runs_root(), "toy", "run").config_path.read_text() == "study: toy\n"


def test_two_starts_in_one_second_have_two_names():
    names = [create_run("toy", "run", config={}, manifest={}, unique=True).name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


def test_default_names_say_what_and_when():
    now = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert default_name("wiki", "d64", "rope", now=now) == "wiki_d64_rope_20240102T030405Z"
    assert default_name("a/../b c", "", "é", now=now) == "a-..-b-c_20240102T030405Z"
    check_name(default_name("stories", "llama 3.1/8B", "x"))


def test_the_newest_run_comes_first_by_its_own_word():
    runs = [
        create_run("toy", name, config={}, manifest={}, unique=False) for name in ("a", "b", "c")
    ]
    for run, created in zip(runs, (2.0, 3.0, 1.0), strict=True):
        run.write_manifest({"created": created})
    create_run("other", "d", config={}, manifest={}, unique=False).write_manifest({"created": 9.0})
    assert [run.name for run in find_runs("toy")] == ["b", "a", "c"]
    assert [run.reference for run in find_runs()] == ["other/d", "toy/b", "toy/a", "toy/c"]


@pytest.mark.parametrize("name", ["../x", "a/../b", "a//b", "", "/a"])
def test_a_part_lies_inside_its_run(name: str):
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    with pytest.raises(ValueError, match="is no name of a part of toy/run"):
        run.part(name)


def test_parts_are_what_has_begun():
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    assert run.parts() == []
    part = run.part("train/rope/seed_3")
    run.part("pretrain")
    assert part.folder == run.folder / "train/rope/seed_3"
    assert part.checkpoints.is_dir()
    assert [one.name for one in run.parts()] == ["pretrain", "train/rope/seed_3"]


def test_status_changes_one_step_and_keeps_the_others():
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    assert run.status() == {"steps": {}}
    run.set_status("dump", state="done", seconds=1.5)
    run.set_status("train", state="running", error=None)
    run.set_status("train", state="failed", error="KeyError: x")
    steps = run.status()["steps"]
    assert steps == {
        "dump": {"state": "done", "seconds": 1.5},
        "train": {"state": "failed", "error": "KeyError: x"},
    }
    assert run.status()["pid"] == os.getpid()
    assert not list(run.folder.glob(".*tmp"))


def test_a_killed_write_leaves_the_file_as_it_was(monkeypatch: pytest.MonkeyPatch):
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    run.write_manifest({"created": 1.0})

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        run.write_manifest({"created": 2.0})
    assert run.manifest() == {"created": 1.0}


def test_a_step_that_runs_again_replaces_its_records():
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    results = run.results()
    results.replace("train", [make_record(step="train")])
    results.replace("evaluate", [make_record(arm=arm) for arm in ("a", "b")])
    results.replace("evaluate", [make_record(arm="c")])
    assert [(one.step, one.arm) for one in results.records()] == [
        ("train", "trained"),
        ("evaluate", "c"),
    ]


def test_another_evaluation_lies_apart_and_counts_among_the_records():
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    run.results().replace("evaluate", [make_record()])
    run.results("ab12").replace("evaluate", [make_record(arm="other")])
    assert (run.folder / "evaluations/ab12/results.jsonl").is_file()
    assert [one.arm for one in run.records()] == ["trained", "other"]
    assert [one.arm for one in run.results().records()] == ["trained"]


def test_a_run_is_running_while_a_living_process_holds_it():
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    assert not run.is_running()
    with locked(run.lock_path):
        assert run.is_running()
    assert not run.is_running()


def test_json_files_are_plain(tmp_path: Path):
    run = create_run("toy", "run", config={}, manifest={}, unique=False)
    part = run.part("train")
    part.write_status({"b": 1, "a": 2})
    assert json.loads((part.folder / "status.json").read_text()) == part.status()
    assert run.part("other").status() == {}
