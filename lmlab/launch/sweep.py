"""A sweep: each cell is a run of its own, in a process of its own; the same command goes on."""

import importlib
import logging
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lmlab.engine.lock import RunIsBusyError, locked
from lmlab.engine.preempt import EXIT_CODE, Notice
from lmlab.engine.run import sweep_folder
from lmlab.launch.grid import Cell, cell_state, grid_name, plan_cells
from lmlab.launch.local import Options, choose_run
from lmlab.launch.phases import share_of_cores
from lmlab.launch.summary import write_summary

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# Cell -> state.
States = dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """What became of the cells, and the exit code that says so."""

    folder: Path
    states: States
    exit_code: int


def run_sweep(preset: str, overrides: Sequence[str], *, name: str | None, on: str) -> Sweep:
    """Start every cell that is not done, wherever `on` says; write the table and the summary.

    A cell that fails stops no other one. Raises ValueError for settings of which any is wrong,
    before a run is made, and RunIsBusyError where this sweep is under way already.
    """
    cells = plan_cells(preset, overrides, name=name)
    folder = sweep_folder(grid_name(cells, base=name or preset.split("/")[-1]))
    try:
        with locked(folder / "lock"):
            return _run(cells, folder, on=on)
    except RunIsBusyError:
        raise RunIsBusyError(f"{folder} is being swept by another process; wait for it") from None


def _run(cells: Sequence[Cell], folder: Path, *, on: str) -> Sweep:
    for cell in cells:
        choose_run(cell.resolved, Options(name=cell.name))
    left = [cell for cell in cells if cell_state(cell) not in ("done", "running")]
    log.info("%s: %d cells, %d to do", folder.name, len(cells), len(left))
    if on == "slurm":
        slurm = importlib.import_module("lmlab.launch.slurm")
        for line in slurm.submit_array([(cell.run, cell.resolved) for cell in left], folder=folder):
            log.info(line)
        return Sweep(folder, _summarise(cells, folder), exit_code=0)
    workers = _Workers(cells, folder)
    workers.work(left)
    states = workers.summarise()
    return Sweep(folder, states, _exit_code(states, stopped=workers.notice.reason is not None))


def _exit_code(states: States, *, stopped: bool) -> int:
    """0 where every cell is done, 1 where one failed, 75 where the same command goes on."""
    if "failed" in states.values() and not stopped:
        return 1
    return 0 if set(states.values()) == {"done"} else EXIT_CODE


def _summarise(cells: Sequence[Cell], folder: Path, failed: Set[str] = frozenset()) -> States:
    """A cell that failed before its first step began says so nowhere on disk."""
    states = {cell.name: "failed" if cell.name in failed else cell_state(cell) for cell in cells}
    write_summary(folder, cells, states)
    return states


class _Workers:
    """Processes that each run one cell, so many at once as the configuration says."""

    def __init__(self, cells: Sequence[Cell], folder: Path) -> None:
        self._cells, self._folder = cells, folder
        self._concurrent = cells[0].resolved.config.launch.concurrent
        self._failed: set[str] = set()
        self._seconds: list[float] = []
        self.notice = Notice()

    def work(self, left: Sequence[Cell]) -> None:
        """Until all have ended, or somebody asks to stop: then the cells are asked to save."""
        waiting = deque(left)
        working: dict[subprocess.Popen[bytes], tuple[Cell, float]] = {}
        with self.notice.installed(), self.notice.deferred():
            try:
                while (waiting or working) and self.notice.reason is None:
                    while waiting and len(working) < self._concurrent:
                        cell = waiting.popleft()
                        working[self._start(cell)] = cell, time.monotonic()
                    for process in [one for one in working if one.poll() is not None]:
                        cell, started = working.pop(process)
                        self._seconds.append(time.monotonic() - started)
                        self._ended(cell, process.returncode, len(waiting) + len(working))
                    time.sleep(_POLL_SECONDS)
            finally:
                for process in working:
                    process.terminate()
                for process in working:
                    process.wait()

    def summarise(self) -> dict[str, str]:
        """Write the table and the summary; the state of every cell."""
        return _summarise(self._cells, self._folder, self._failed)

    def _start(self, cell: Cell) -> subprocess.Popen[bytes]:
        """A session of its own: Ctrl-C reaches it once, through `work`, not twice."""
        resolved = cell.resolved
        command = ["run", resolved.preset, *resolved.overrides, "--name", cell.name]
        with self._said(cell).open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "lmlab.cli", *command],
                env=share_of_cores(self._concurrent),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ended(self, cell: Cell, code: int, num_left: int) -> None:
        if code not in (0, EXIT_CODE):
            self._failed.add(cell.name)
            log.error("%s failed with exit code %d: see %s", cell.name, code, self._said(cell))
        state = self.summarise()[cell.name]
        each = statistics.median(self._seconds)
        rounds = -(-num_left // self._concurrent)
        left = timedelta(seconds=round(each * rounds))
        done = len(self._seconds)
        log.info("%d/%d %s: %s, ETA %s", done, done + num_left, cell.name, state, left)

    def _said(self, cell: Cell) -> Path:
        return self._folder / "logs" / f"{cell.name}.log"
