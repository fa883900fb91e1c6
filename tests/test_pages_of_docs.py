"""docs/running.md and docs/evidence.md: what they tell people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from lmlab import cli
from lmlab.engine.config import load_preset
from lmlab.launch.grid import plan_cells

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "running.md", DOCS / "evidence.md"]


def commands() -> list[list[str]]:
    """The arguments of every `lmlab ...` line of the pages' code blocks."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["lmlab"]]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_of_the_pages_parses_and_its_settings_exist(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DEV_MODE", raising=False)
    command = typer.main.get_command(cli.app)
    chosen = command.get_command(typer.Context(command), arguments[0])
    assert chosen is not None
    given = chosen.make_context(arguments[0], cli._plain_overrides(arguments[1:])).params
    if arguments[0] == "sweep":
        assert plan_cells(given["preset"], given["overrides"], name=None)
    elif "preset" in given:
        load_preset(given["preset"], given["overrides"] or [])


def test_the_links_within_the_page_lead_to_headings():
    text = PAGES[0].read_text(encoding="utf-8")
    headings = {one.lower().replace(" ", "-") for one in re.findall(r"^## (.+)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == headings
