"""A market of machines in a file, and a run that is to be on one of them.

The tests of the real client speak to the same market over HTTP.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from cloud_toys import DEARER, RTX_4090, STAND_IN, add_program
from services import fake_vast
from services.fake_vast import KEY, Market, serve

from lmlab.engine.lock import is_alive, read_holder
from lmlab.engine.run import Run


@pytest.fixture(
    params=["stand-in", pytest.param("vastai", marks=pytest.mark.parity)],
)
def market(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Market]:
    """Two offers; `vastai` is a stand-in, or the real client sent to a local server."""
    made = Market(tmp_path / "market.json").open(RTX_4090, DEARER)
    real = request.param == "vastai"
    programs = ["ssh"] if real else ["ssh", "vastai"]
    if real and shutil.which("vastai") is None:
        pytest.skip("vastai is not installed here; `make test-all` has it")
    for program in programs:
        text = f'#!/bin/sh\nexec {sys.executable} -S {fake_vast.__file__} {program} "$@"\n'
        add_program(tmp_path / "bin", program, text)
    add_program(tmp_path / "bin", "lmlab", STAND_IN)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VAST", str(made.path))
    monkeypatch.setenv("VAST_API_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DEV_MODE", raising=False)
    with serve(made) if real else nullcontext("") as address:
        monkeypatch.setenv("LMLAB_VAST_URL", address)
        yield made
    # No watcher outlives its test, whatever became of it.
    for lock in (tmp_path / "runs").glob("*/*/lock"):
        holder = read_holder(lock)
        if holder is not None and is_alive(lock, holder):
            psutil.Process(holder.pid).kill()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """scratch/rented, of which there is only its folder."""
    made = Run(tmp_path / "runs", "scratch", "rented")
    made.cloud.mkdir(parents=True)
    return made
