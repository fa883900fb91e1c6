"""A finished run, and commands typed beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from commands import Said, Say, type_command

import lmlab


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
        capsys.readouterr()
        code = type_command(monkeypatch, *arguments)
        found = capsys.readouterr()
        return Said(code, found.out, found.err)

    return say
