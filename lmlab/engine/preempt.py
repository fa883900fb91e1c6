"""Signals become a flag that the training loop reads at step boundaries.

Outside a training (preparing data, evaluating) a signal stops at once: such steps are safe to kill
and start again. Inside, the first one asks for a save at the next boundary, a second one leaves.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
# EX_TEMPFAIL of sysexits.h: schedulers requeue on it.
EXIT_CODE = 75
ECHO_SECONDS = 5.0


class Preempted(BaseException):
    """The run was asked to stop and can go on from what is on disk.

    Like KeyboardInterrupt no Exception, so that nothing that handles errors takes it for one.
    """


class Notice:
    """Whether somebody asked this process to stop, who, and when (monotonic seconds)."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.asked_at: float | None = None
        self._deferred = False

    def ask(self, reason: str) -> None:
        """Stop at the next step boundary; the first reason stands."""
        if self.reason is None:
            self.reason, self.asked_at = reason, time.monotonic()

    @contextmanager
    def installed(self) -> Iterator["Notice"]:
        """Handle SIGNALS while inside; elsewhere than in the main thread nothing is installed."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator["Notice"]:
        """A training is under way: signals set `reason` and wait for a step boundary."""
        self._deferred = True
        try:
            yield self
        finally:
            self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self._deferred:
            # Noted as well: python drops what is raised while it collects garbage.
            self.ask(name)
            raise Preempted(name)
        if self.asked_at is not None and time.monotonic() - self.asked_at >= _echo_seconds():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.ask(name)


def _echo_seconds() -> float:
    """How long a second signal may be the first one's echo.

    SLURM signals every process of a job, torchrun among them, which hands the signal on: its
    workers get each notice twice.
    """
    return ECHO_SECONDS if "TORCHELASTIC_RUN_ID" in os.environ else 0.0
