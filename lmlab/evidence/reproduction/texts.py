"""What people read and run of a kit: its README and its script, from templates."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2

from lmlab.engine.records import Record
from lmlab.evidence.diary import hardware
from lmlab.evidence.markdown import code, plain
from lmlab.evidence.pages.table_files import markdown, record_sheets
from lmlab.evidence.reproduction.cleaning import ELSEWHERE
from lmlab.evidence.reproduction.rerun import Rerun
from lmlab.evidence.tables import build_tables
from lmlab.evidence.verdict import judge

_INPUTS = '"$inputs"'


def reproduce_script(reruns: Sequence[Rerun]) -> str:
    """A POSIX shell script; every value in it is quoted."""
    return _environment().get_template("kit_reproduce.sh.j2").render(runs=reruns)


def readme(reruns: Sequence[Rerun], records: Sequence[Record], warnings: Sequence[str]) -> str:
    """What the kit is, what it shows, and how to make it again."""
    verdicts = {
        one.reference: judge(build_tables([r for r in records if r.run == one.reference])).sentence
        for one in reruns
    }
    outside = [one for rerun in reruns for command in rerun.commands for one in command]
    return (
        _environment()
        .get_template("kit_readme.md.j2")
        .render(
            runs=reruns,
            verdicts=verdicts,
            tables=[markdown(sheet) for sheet in record_sheets(records)],
            warnings=warnings,
            inputs=sorted({one for one in outside if ELSEWHERE in one}),
        )
    )


def shell_words(command: Sequence[str]) -> str:
    """A command quoted for a shell; the user's own files are looked for in `$inputs`."""
    return " ".join(
        _INPUTS.join(shlex.quote(piece) if piece else "" for piece in word.split(ELSEWHERE))
        or shlex.quote("")
        for word in command
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "quote": lambda value: shlex.quote(str(value)), "words": shell_words,
        "plain": plain, "code": code, "hardware": hardware, "shell": shlex.join,
    }  # fmt: skip
    return environment
