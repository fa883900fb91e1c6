"""One process a run: a lock file with a heartbeat, taken over at once from the dead."""

import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
EXIT_LOST = 70


class RunIsBusyError(RuntimeError):
    """Another living process works on the run."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; a process id alone may be used again, with its start time it is not."""

    host: str
    pid: int
    started: float
    token: str


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` while inside. Raises RunIsBusyError, naming the holder, where it is alive."""
    mine = Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        token=uuid.uuid4().hex,
    )
    _take(path, mine)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, mine, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if read_holder(path) == mine:
            path.unlink()


def read_holder(path: Path) -> Holder | None:
    """Who holds the lock, dead or alive; None where nobody does."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def is_alive(path: Path, holder: Holder) -> bool:
    """Whether the holder still works: its process on this host, its heartbeat on another."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age > DEAD_AFTER_SECONDS:
        return False
    if holder.host != socket.gethostname():
        return True
    try:
        process = psutil.Process(holder.pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return not gone and abs(process.create_time() - holder.started) < 1.0
    except psutil.NoSuchProcess:
        return False


def _take(path: Path, mine: Holder) -> None:
    """Look and replace under a guard, one process at a time.

    Without it, of two that find the same dead lock the slower one would throw out the quicker one.
    The kernel opens the guard again when its process ends, however it ends.
    """
    with path.with_name(f"{path.name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        holder = read_holder(path)
        if holder is not None and is_alive(path, holder):
            raise RunIsBusyError(
                f"{path.parent} is being worked on by process {holder.pid} on {holder.host}; "
                "wait for it, stop it, or start another run with --new"
            )
        written = path.with_name(f"{path.name}.{mine.token}")
        written.write_text(json.dumps(asdict(mine)), encoding="utf-8")
        written.replace(path)


def _beat(path: Path, mine: Holder, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        if read_holder(path) != mine:
            log.critical("%s was taken over while this process slept; it leaves at once", path)
            # Not an exception: the main thread must not write one byte more.
            os._exit(EXIT_LOST)
        os.utime(path)
