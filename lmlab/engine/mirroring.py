"""Mirroring while a run goes on: in the background, bounded at the end, and never in its way."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lmlab.engine.mirror import Mirror, MirrorError, MirrorTakenError
from lmlab.engine.objects import StorageError, StorageUnreachableError
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run
from lmlab.engine.schema import StorageConfig
from lmlab.engine.storage import open_storage

log = logging.getLogger(__name__)

# At the end of a command nobody waits with a kill; an outage ends the wait long before.
END_SECONDS = 6 * 3600.0
# What is left of the grace for the process to end.
_EXIT_SECONDS = 1.0


class Mirroring:
    """Pushes a run's folder in a thread of its own; one push at a time, always of what is newest.

    A push that fails is a warning, noted in the folder, and is tried again at the next request. One
    that is refused because another process writes the mirror asks the run to stop.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.taken: MirrorTakenError | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = self._pushed = 0

    def request(self) -> None:
        """The folder has changed; returns at once."""
        with self._lock:
            self._wanted += 1
            if self._thread is None or not self._thread.is_alive():
                # A daemon: a server that hangs must not keep the process from ending in time.
                self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
                self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Push the folder as it is now, for at most so long; whether the mirror is up to date."""
        self.request()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._lock:
            return self._pushed == self._wanted

    def _work(self) -> None:
        while True:
            with self._lock:
                target = self._wanted
            pushed = self._push()
            with self._lock:
                if pushed:
                    self._pushed = target
                if self._wanted == target or self.taken is not None:
                    self._thread = None
                    return

    def _push(self) -> bool:
        try:
            index = self.mirror.push()
        except MirrorTakenError as error:
            self._refuse(error)
            return False
        except (StorageError, MirrorError, OSError) as error:
            log.warning("not mirrored, tried again after the next save: %s", error)
            self.mirror.note(state="failed", error=str(error))
            return False
        log.info("mirrored %d files as index %d", len(index.files), index.number)
        try:
            self.mirror.tidy()
        except MirrorTakenError as error:
            self._refuse(error)
        except (StorageError, MirrorError, OSError) as error:
            log.warning("what is old was left in the mirror: %s", error)
        return True

    def _refuse(self, error: MirrorTakenError) -> None:
        self.taken = error
        self.mirror.note(state="failed", error=str(error))
        self.mirror.run.notice.ask("another process writes this run's mirror")


@contextmanager
def mirrored(run: Run, storage: StorageConfig, *, grace_seconds: float) -> Iterator[Run]:
    """The run, mirrored while inside if the configuration asks for it.

    After a notice or a failure what is newest is pushed for as long as the grace lasts. Raises
    MirrorTakenError where another process writes the mirror, MirrorError where it is not up to
    date at the end.
    """
    if storage.to is None:
        yield run
        return
    mirror = Mirror(open_storage(storage.to, endpoint_url=storage.endpoint_url), run)
    _check(mirror)
    mirroring = Mirroring(mirror)
    try:
        yield replace(run, mirror=mirroring)
    except BaseException as stopped:
        if isinstance(stopped, Preempted) and mirroring.taken is not None:
            raise mirroring.taken from stopped
        asked = run.notice.asked_at
        spent = time.monotonic() - asked if asked is not None else 0.0
        if not mirroring.finish(max(0.0, grace_seconds - spent - _EXIT_SECONDS)):
            log.error("%s", _said(mirror))
        raise
    try:
        up_to_date = mirroring.finish(END_SECONDS)
    except Preempted:
        log.error("%s", _said(mirror))
        raise
    if mirroring.taken is not None:
        raise mirroring.taken
    if not up_to_date:
        raise MirrorError(_said(mirror))


def _check(mirror: Mirror) -> None:
    """Before hours are spent: it is reachable, and nobody else's. An outage may pass meanwhile."""
    try:
        mirror.next_number()
    except StorageUnreachableError as error:
        log.warning("%s; the run starts all the same and is mirrored when it can be", error)


def _said(mirror: Mirror) -> str:
    state = mirror.state()
    why = f" ({state['error']})" if state["error"] else ""
    return (
        f"{mirror} is not up to date{why}: what it holds is index {state['number']}. Everything is "
        f"in {mirror.run.folder}; run the same command again when the storage can be reached"
    )
