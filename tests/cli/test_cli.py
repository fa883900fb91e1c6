"""The command line: what is typed is understood, or refused in one line with the right code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import typer
from commands import Say

from lmlab import cli
from lmlab.engine.config import load_preset, sweep_axes
from lmlab.engine.preempt import Preempted
from lmlab.launch import local

README = Path(__file__).parents[2] / "README.md"
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
    assert re.search(r"# stage +parameters +tokens +FLOPs +time +memory", said.out)
    assert re.search(r"# pretrain +18,912 +3,072 ", said.out)
    for what in ("parameters", "FLOPs a token", "FLOPs", "total", "time"):
        assert f"\n# {what} " in said.out


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


def readme_commands() -> list[list[str]]:
    """The arguments of every `lmlab ...` line of the README's code blocks, without its remark."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [re.match(r"(?:[A-Z_]+=\S+ )*lmlab ((?:\S+ ?)+)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]
