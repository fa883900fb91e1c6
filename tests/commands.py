"""Commands typed in this process, and the wait for what other processes do."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lmlab import cli

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]


def type_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command in this process, which has imported everything already."""
    monkeypatch.setattr(sys, "argv", ["lmlab", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    return int(leaving.value.code or 0)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
