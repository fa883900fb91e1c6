"""Between phases their gates are looked at; phases that are independent run at once when asked.

What judges gates is handed in, for launching knows no evidence.
"""

import logging
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lmlab.engine.config import Resolved
from lmlab.engine.phases import Phase, Wave, earlier_phases
from lmlab.engine.preempt import EXIT_CODE, Preempted
from lmlab.engine.run import Run
from lmlab.engine.steps import Step

log = logging.getLogger(__name__)

# (run, phases) -> a sentence for each of their gates that fails.
Failing = Callable[[Run, Sequence[str]], list[str]]

_POLL_SECONDS = 0.1
# Workers leave the mirror to the process that started them.
_MIRROR_SECONDS = 30.0


class GateFailedError(RuntimeError):
    """A gate of an earlier phase fails, and nobody said why to go on all the same."""


def no_gates(run: Run, phases: Sequence[str]) -> list[str]:
    """For those who judge nothing."""
    return []


def allow(run: Run, why: str) -> None:
    """Failing gates stop this run no more."""
    run.write_manifest(run.manifest() | {"continue": why})


def check_gates(step: Step, steps: Sequence[Step], run: Run, failing: Failing) -> None:
    """Before a step begins. Raises GateFailedError where a gate of an earlier phase fails."""
    earlier = earlier_phases(step, steps)
    failed = failing(run, earlier) if earlier else []
    if not failed:
        return
    manifest, said = run.manifest(), "; ".join(failed)
    if "continue" not in manifest:
        raise GateFailedError(
            f"phase {step.phase} was not begun, for a gate fails: {said}. "
            '--continue "why" begins it all the same'
        )
    log.warning("phase %s begins although a gate fails: %s", step.phase, said)
    passed: list[dict[str, Any]] = manifest.get("continued", [])
    now = {"phase": step.phase, "gates": failed, "why": manifest["continue"]}
    if now not in passed:
        run.write_manifest(manifest | {"continued": [*passed, now]})


def run_at_once(wave: Wave, resolved: Resolved, run: Run) -> None:
    """Each phase in a process of its own, `launch.workers` at once.

    A phase that fails stops no other one. Raises Preempted, or RuntimeError naming what failed.
    """
    waiting, codes = deque(wave), dict[Path, int]()
    working: dict[subprocess.Popen[bytes], Path] = {}
    mirrored = time.monotonic()
    with ExitStack() as pipes, run.notice.deferred():
        try:
            while (waiting or working) and run.notice.reason is None:
                while waiting and len(working) < resolved.config.launch.workers:
                    phase = waiting.popleft()
                    process = pipes.enter_context(_start(phase, resolved, run))
                    working[process] = _log_path(phase, run)
                ended = [one for one in working if one.poll() is not None]
                codes |= {working.pop(one): one.returncode for one in ended}
                late = time.monotonic() - mirrored > _MIRROR_SECONDS
                if run.mirror is not None and (ended or late):
                    run.mirror.request()
                    mirrored = time.monotonic()
                time.sleep(_POLL_SECONDS)
        finally:
            for process in working:
                process.terminate()
            for process in working:
                process.wait()
    if run.notice.reason is not None:
        raise Preempted(run.notice.reason)
    failed = [str(said) for said, code in codes.items() if code not in (0, EXIT_CODE)]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(wave)} phases failed: see {', '.join(failed)}")
    if EXIT_CODE in codes.values():
        raise Preempted("a notice to one of its phases")


def share_of_cores(processes: int) -> dict[str, str]:
    """The environment of one of so many at once; a single one has all cores, as when alone."""
    if processes == 1 or "OMP_NUM_THREADS" in os.environ:
        return dict(os.environ)
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def _start(phase: Phase, resolved: Resolved, run: Run) -> subprocess.Popen[bytes]:
    """A session of its own: Ctrl-C reaches it once, through this process, not twice.

    Its stdin stays open as long as this process lives: that is how it learns of a sudden death.
    """
    steps = ",".join(step.name for step in phase.steps)
    command = [run.study, run.name, steps, *resolved.overrides]
    with _log_path(phase, run).open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "lmlab.launch.worker", *command],
            env=share_of_cores(resolved.config.launch.workers) | {"LMLAB_RUNS": str(run.root)},
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _log_path(phase: Phase, run: Run) -> Path:
    attempt = len(run.manifest()["attempts"])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(phase.name))
    return run.log_path(attempt).with_suffix(f".{name}.log")
