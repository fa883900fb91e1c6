"""What asks a run to stop beside signals: a file in its folder, or a SLURM job's time."""

import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lmlab.engine.preempt import Notice

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# squeue asks the controller, which many jobs share.
SLURM_EVERY_SECONDS = 30.0
STOP_FILE = "stop"


@contextmanager
def watched(notice: Notice, folder: Path, *, seconds_needed: float) -> Iterator[None]:
    """While inside, `folder/stop` or a SLURM job with less time left than needed asks to stop.

    A stop file of earlier is taken away: starting again means to go on.
    """
    (folder / STOP_FILE).unlink(missing_ok=True)
    ended = threading.Event()

    def stop_file() -> str | None:
        return "the file `stop`" if (folder / STOP_FILE).exists() else None

    sources: list[tuple[Callable[[], str | None], float]] = [(stop_file, POLL_SECONDS)]
    if job := os.environ.get("SLURM_JOB_ID"):
        sources.append((_slurm_source(job, seconds_needed=seconds_needed), SLURM_EVERY_SECONDS))
    for source, every in sources:
        threading.Thread(target=_poll, args=(notice, source, ended, every), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def slurm_seconds(left: str) -> float | None:
    """Seconds of squeue's `[days-][[hours:]minutes:]seconds`; None for what is no time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", left.strip())
    if not found:
        return None  # UNLIMITED, NOT_SET, INVALID
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _slurm_source(job: str, *, seconds_needed: float) -> Callable[[], str | None]:
    def ask() -> str | None:
        command = ["squeue", "--noheader", f"--jobs={job}", "--Format=TimeLeft"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("time left is not known: %s; the job's own signal is relied on", error)
            return None
        left = slurm_seconds(said.stdout)
        if left is None or left > seconds_needed + SLURM_EVERY_SECONDS:
            return None
        return f"{left:.0f} s left of the SLURM job"

    return ask


def _poll(
    notice: Notice, source: Callable[[], str | None], ended: threading.Event, every: float
) -> None:
    while not ended.wait(every):
        if (reason := source()) is not None:
            notice.ask(reason)
            return
