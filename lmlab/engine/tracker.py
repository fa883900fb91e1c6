"""metrics.jsonl, TensorBoard and the console behind one `log(values, step=...)`."""

import json
import logging
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch.utils.tensorboard import SummaryWriter

from lmlab.engine.run import Part

log = logging.getLogger(__name__)

# Fields that differ between two runs of the same numbers; equality tests leave them out.
VOLATILE = ("time", "seconds", "tokens_per_second")


class Tracker:
    """Where a training's numbers go: metrics.jsonl is the truth, the rest may fail and say so."""

    def __init__(self, part: Part, *, offset: int, step: int, tensorboard: bool) -> None:
        """Go on writing at byte `offset` of metrics.jsonl: what came after the last save goes."""
        self._file = _open_at(part.metrics_path, offset)
        self._board = _board(part.tensorboard, step=step) if tensorboard else None

    @property
    def offset(self) -> int:
        """Bytes of metrics.jsonl written so far."""
        return self._file.tell()

    def log(self, values: Mapping[str, float], *, step: int, **fields: Any) -> None:
        """One event: a row of metrics.jsonl, and every number to TensorBoard."""
        row = {"step": step, **fields, **values, "time": round(time.time(), 3)}
        self._file.write((json.dumps(row) + "\n").encode())
        self._file.flush()
        if self._board is not None:
            self._to_board(values, step=step)

    def close(self) -> None:
        """Everything written is on disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        if self._board is not None:
            try:
                self._board.close()
            except OSError as error:
                log.warning("TensorBoard is incomplete: %s; metrics.jsonl is whole", error)

    def _to_board(self, values: Mapping[str, float], *, step: int) -> None:
        assert self._board is not None
        try:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:
            log.warning("TensorBoard stopped: %s; metrics.jsonl goes on", error)
            self._board = None


class ConsoleProgress:
    """step/total, ETA from the median of recent steps, loss, learning rate, tokens/s."""

    def __init__(self, name: str, *, step: int, total: int) -> None:
        self._name, self._total = name, total
        self._recent: deque[float] = deque(maxlen=50)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if sys.stderr.isatty():
            text = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}")
            self._bar = Progress(*text, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(name, total=total, completed=step, said="")
            self._bar.start()

    def update(self, *, step: int, seconds: float) -> None:
        """A step took this long."""
        self._recent.append(seconds)
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def say(self, values: Mapping[str, float], *, step: int) -> None:
        """Show the newest numbers."""
        left = statistics.median(self._recent) * (self._total - step) if self._recent else 0.0
        numbers = "  ".join(f"{key.split('/')[-1]} {value:.4g}" for key, value in values.items())
        said = f"{step}/{self._total}  {numbers}  ETA {clock(left)}"
        if self._bar is not None:
            self._bar.update(self._task, said=said)
        else:
            log.info("%s %s", self._name, said)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _open_at(path: Path, offset: int) -> BinaryIO:
    """Open for writing at `offset`, cutting what a killed process wrote beyond it."""
    path.touch()
    if path.stat().st_size < offset:
        raise ValueError(f"{path} is shorter than the checkpoint says ({offset} bytes); restore it")
    file = path.open("r+b")
    file.truncate(offset)
    file.seek(offset)
    return file


def _board(folder: Path, *, step: int) -> SummaryWriter | None:
    try:
        return SummaryWriter(str(folder), purge_step=step + 1)
    except OSError as error:
        log.warning("TensorBoard is off: %s; metrics.jsonl goes on", error)
        return None
