"""The command line: what is typed is understood, or refused in one line with the right code."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
import typer

import lmlab
from lmlab import cli
from lmlab.engine.config import load_preset, sweep_axes
from lmlab.engine.lock import locked
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run, write_json
from lmlab.launch import local

README = Path(__file__).parents[1] / "README.md"
LIGHT = """
import sys
from lmlab.cli import main
sys.argv = ["lmlab", *sys.argv[1:]]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code
print("HEAVY", sorted({"torch", "pydantic", "hydra", "numpy", "transformers"} & set(sys.modules)))
"""


@dataclass(frozen=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """LMLAB_RUNS with one finished run, scratch/tiny."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(folder))
        patch.setenv("LMLAB_CACHE", str(folder.parent))
        patch.delenv("DEV_MODE", raising=False)
        patch.delenv("LMLAB_DEBUG", raising=False)
        lmlab.run(tiny.PRESET, *tiny.OVERRIDES, name="tiny")
        yield folder


@pytest.fixture
def say(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in this process, as the installed script does."""

    def say(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["lmlab", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        found = capsys.readouterr()
        return Said(int(leaving.value.code or 0), found.out, found.err)

    return say


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_import_nothing_heavy(arguments: list[str], tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr


def test_every_command_of_the_readme_parses_and_its_settings_exist():
    command = typer.main.get_command(cli.app)
    commands = readme_commands()
    assert len(commands) >= 12
    for arguments in commands:
        chosen = command.get_command(typer.Context(command), arguments[0])
        assert chosen is not None, arguments
        parsed = chosen.make_context(arguments[0], cli._plain_overrides(arguments[1:])).params
        if "preset" in parsed:
            given = parsed["overrides"] or []
            load_preset(parsed["preset"], [axis.choices[0] for axis in sweep_axes(given)])


def test_show_says_what_it_will_take(say: Say):
    said = say("show", tiny.PRESET, *tiny.OVERRIDES)
    assert said.code == 0
    assert "max_steps: 12" in said.out
    assert "# steps: prepare -> pretrain -> evaluate" in said.out
    # 300 x 32 + 2 x 32 x 32 + 2 x 32 x 16 + 3 x 32 x 64 + 3 x 32, and 12 x 4 x 64 tokens.
    assert "# parameters: 18,912" in said.out
    assert "# tokens: 3,072" in said.out
    for what in ("FLOPs a token", "FLOPs", "memory", "time"):
        assert f"# {what}: " in said.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "scratch/dem"], "no preset 'scratch/dem'; nearest: scratch/demo"),
        (["run", tiny.PRESET, "pretrain.max_step=3"], "unknown key pretrain.max_step; nearest: "),
        (["run", tiny.PRESET, "pretrain.max_steps=many"], "pretrain.max_steps='many': "),
        (["run", tiny.PRESET, "data=wikitext3"], "no data=wikitext3; nearest: wikitext2"),
        (["run", tiny.PRESET, "pretrain"], "'pretrain' is no override; write key=value"),
        (["run", tiny.PRESET, "--name", "../x"], "'../x' is no name for a run"),
        (["run", tiny.PRESET, "--steps", "evalute"], "no step 'evalute'; nearest: evaluate"),
        (["run", tiny.PRESET, "--new", "--redo", "pretran"], "no step 'pretran'; nearest: pret"),
        (
            ["run", tiny.PRESET, *tiny.OVERRIDES, "--name", "tiny", "--pretrain.batch_size=5"],
            "configuration of step pretrain: pretrain.batch_size (4 -> 5). Take another --name",
        ),
        (["show", "scratch/dem"], "no preset 'scratch/dem'"),
        (["eval", "scratch/tiny", "pretrain.max_steps=3"], "pretrain.max_steps (12 -> 3)"),
        (["eval", "scratch/tiny", "evaluate.window=3"], "unknown key evaluate.window; nearest: "),
        (["eval", "scratch/tiny@9"], "scratch/tiny@9: eval takes a whole run; evaluate.checkpoint"),
        (["status", "scratch/tin"], "no run scratch/tin in "),
        (["logs", "tiny"], "'tiny' is no reference; write study/name"),
        (["report", "scratch/tin"], "nearest: scratch/tiny"),
        (["export", "scratch/tiny@7", "--to", "there"], "has no step 7; there are: "),
        (["generate", "scratch/tiny:pretran", "x"], "no part 'pretran'; nearest: pretrain"),
        (["generate", "scratch/tiny", "x", "--temperature", "-1"], "temperature: "),
        (["generate", "scratch/tiny", "x", "--tokens", "0"], "max_new_tokens: "),
        (["generate", "scratch/tiny", "x"], "more than the model's context of 64"),
        (["generate", "scratch/tiny", "word " * 99, "--tokens", "9"], "model's context of 64"),
    ],
)
def test_a_wrong_argument_is_one_line_with_code_64_and_leaves_no_run(
    say: Say, runs: Path, arguments: list[str], expected: str
):
    said = say(*arguments)
    assert said.code == 64
    error, hint = said.err.splitlines()
    assert error.startswith("error: ")
    assert expected in error
    assert hint == "(LMLAB_DEBUG=1 shows where)"
    assert sorted(path.name for path in (runs / "scratch").iterdir()) == ["tiny"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rum", tiny.PRESET], "No such command 'rum'"),
        (["run", tiny.PRESET, "--nme", "x"], "No such option: --nme"),
        (["run", tiny.PRESET, "--pretrain.max_steps"], "No such option: --pretrain.max_steps"),
        (["generate", "scratch/tiny"], "Missing argument 'prompt'"),
        (["generate", "scratch/tiny", "x", "--tokens", "many"], "Invalid value for '--tokens': "),
    ],
)
def test_a_wrong_command_says_how_to_ask_for_help(say: Say, arguments: list[str], expected: str):
    said = say(*arguments)
    assert said.code == 64
    assert expected in said.err
    assert "Usage: lmlab" in said.err
    assert "Traceback" not in said.err


def test_a_data_folder_that_is_missing_or_empty_is_one_line(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "empty").mkdir()
    for name, expected in (("missing", "does not exist"), ("empty", "is empty")):
        monkeypatch.setenv("LMLAB_DATA", str(tmp_path / name))
        said = say("run", "scratch/wikitext2", "--name", name)
        assert said.code == 64
        assert expected in said.err.splitlines()[-2]
        assert "Traceback" not in said.err
        assert f"scratch/{name}: failed" in say("status", f"scratch/{name}").out


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["--a.b=value"], ["a.b=value"]),
        (["--a.b", "value"], ["a.b=value"]),
        (["--a.b", "-1", "c.d=2"], ["a.b=-1", "c.d=2"]),
        (["--a.b_2", "[x, y]", "--c.d", "z", "e"], ["a.b_2=[x, y]", "c.d=z", "e"]),
        (["--a.b", "--c.d=1"], ["--a.b", "c.d=1"]),
        (["--a.b"], ["--a.b"]),
        (["--name", "a.b", "-f", "--new"], ["--name", "a.b", "-f", "--new"]),
        (["--a.b=c=d"], ["a.b=c=d"]),
    ],
)
def test_dashes_before_a_setting_are_read_away(typed: list[str], read: list[str]):
    assert cli._plain_overrides(typed) == read


def test_both_dashed_forms_reach_the_configuration(say: Say):
    said = say("show", tiny.PRESET, "--pretrain.max_steps", "7", "--pretrain.batch_size=3")
    assert "max_steps: 7" in said.out
    assert "batch_size: 3" in said.out


@pytest.mark.parametrize(
    ("raised", "code", "expected"),
    [
        (Preempted("SIGTERM at step 3"), 75, "stopped by SIGTERM at step 3; the same command goes"),
        (RuntimeError("no room"), 1, "error: no room\n(LMLAB_DEBUG"),
        (OSError("disk full"), 1, "error: disk full\n(LMLAB_DEBUG"),
        (FloatingPointError("step 3: loss nan"), 1, "error: step 3: loss nan\n(LMLAB_DEBUG"),
        (ValueError("wrong"), 64, "error: wrong\n(LMLAB_DEBUG"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_run_ended_is_told_by_the_exit_code(
    say: Say, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, expected: str
):
    def stopped(*_: object) -> None:
        raise raised

    monkeypatch.setattr(local, "start", stopped)
    said = say("run", tiny.PRESET, *tiny.OVERRIDES, "--redo", "evaluate")
    assert said.code == code
    assert said.err.strip().startswith(expected)


def test_what_only_we_can_mend_keeps_its_traceback(say: Say, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr(local, "start", broken)
    with pytest.raises(KeyError, match="broken"):
        say("run", tiny.PRESET, *tiny.OVERRIDES, "--redo", "evaluate")


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


def test_status_tells_of_all_runs_and_of_one(say: Say):
    assert re.search(
        r"scratch/tiny +done +prepare done, pretrain done, evaluate done", say("status").out
    )
    one = say("status", "scratch/tiny").out
    assert "part     pretrain: step 12 of 12, last save at 12" in one
    assert "records  14" in one


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


def readme_commands() -> list[list[str]]:
    """The arguments of every `lmlab ...` line of the README's code blocks, without its remark."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [re.match(r"(?:[A-Z_]+=\S+ )*lmlab ((?:\S+ ?)+)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]
