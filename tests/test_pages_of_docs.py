"""The pages of docs/: what they tell people to type is understood."""

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
MAP = DOCS / "from_the_seeds.md"


def commands() -> list[list[str]]:
    """The arguments of every `lmlab ...` line of the pages' code blocks, and of the map."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    lines += [shlex.split(span) for span in new_names() if span.startswith("lmlab ")]
    return [words[1:] for words in lines if words[:1] == ["lmlab"]]


def settings() -> list[str]:
    """The `key=value` of the map; what is not there yet stands without a value."""
    return [span for span in new_names() if re.match(r"'?[a-z0-9_.]+=", span)]


def new_names() -> list[str]:
    """The code in the last column of the map's tables."""
    cells = re.findall(r"^\|[^|]*\|([^|]*)\|$", MAP.read_text(encoding="utf-8"), re.MULTILINE)
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


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


@pytest.mark.parametrize("setting", settings())
def test_every_setting_of_the_map_is_one_of_the_demo(setting: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DEV_MODE", raising=False)
    load_preset("scratch/demo", shlex.split(setting))


def test_the_links_within_the_page_lead_to_headings():
    text = PAGES[0].read_text(encoding="utf-8")
    headings = {one.lower().replace(" ", "-") for one in re.findall(r"^## (.+)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == headings
