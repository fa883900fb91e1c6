"""metrics.jsonl, TensorBoard and the console behind one `log(values, step=...)`."""

import json
import logging
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lmlab.engine.boards import Board, TensorBoard, Wandb
from lmlab.engine.run import Part
from lmlab.engine.schema import WandbConfig

log = logging.getLogger(__name__)

# Fields that differ between two runs of the same numbers; equality tests leave them out.
VOLATILE = ("time", "seconds", "tokens_per_second")


class Tracker:
    """Where a training's numbers go: metrics.jsonl is the truth, the rest may fail and say so."""

    def __init__(
        self, part: Part, *, offset: int, step: int, tensorboard: bool, wandb: WandbConfig | None
    ) -> None:
        """Go on writing at byte `offset` of metrics.jsonl: what came after the last save goes."""
        self._file = _open_at(part.metrics_path, offset)
        self._boards: list[Board] = []
        if tensorboard:
            self._open("TensorBoard", lambda: TensorBoard(part.tensorboard, step=step))
        if wandb is not None:
            self._open("W&B", lambda: Wandb(part, wandb))

    @property
    def offset(self) -> int:
        """Bytes of metrics.jsonl written so far."""
        return self._file.tell()

    def log(self, values: Mapping[str, float], *, step: int, **fields: Any) -> None:
        """One event: a row of metrics.jsonl, and every number to the boards."""
        row = {"step": step, **fields, **values, "time": round(time.time(), 3)}
        self._file.write((json.dumps(row) + "\n").encode())
        self._file.flush()
        for board in list(self._boards):
            try:
                board.log(values, step=step)
            except OSError as error:
                log.warning("%s stopped: %s; metrics.jsonl goes on", board.name, error)
                self._boards.remove(board)

    def close(self) -> None:
        """Everything written is on disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        for board in self._boards:
            try:
                board.close()
            except OSError as error:
                log.warning("%s is incomplete: %s; metrics.jsonl is whole", board.name, error)

    def _open(self, name: str, make: Callable[[], Board]) -> None:
        try:
            self._boards.append(make())
        except OSError as error:
            log.warning("%s is off: %s; metrics.jsonl goes on", name, error)


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
