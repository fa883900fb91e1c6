"""`--on torchrun`: the trainings of a run by several processes of this machine.

Each step is `lmlab step` in a process of its own, under torchrun where it is a training; torchrun's
exit code tells nothing, so the step's state on disk decides how it ended.
"""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from types import FrameType

from lmlab.engine.config import Resolved
from lmlab.engine.lock import locked
from lmlab.engine.preempt import SIGNALS, Preempted
from lmlab.engine.run import Run
from lmlab.engine.steps import Step, choose_steps, config_steps, forget, step_states
from lmlab.launch.local import Chosen, Options
from lmlab.launch.phases import Failing, check_gates

HANDED_ON = ",".join(number.name for number in SIGNALS)
_RANK, _EXIT_CODE = re.compile(r"^\s*rank\s*: (\d+)"), re.compile(r"^\s*exitcode\s*: (-?\d+)")


def start(resolved: Resolved, chosen: Chosen, options: Options, failing: Failing) -> None:
    """Run what is not done, a step after the other.

    Raises Preempted, GateFailedError, or RuntimeError naming the process that failed.
    """
    run, config = chosen.run, resolved.config
    steps = config_steps(config)
    if options.redo is not None:
        with locked(run.lock_path):
            forget(options.redo, steps, run)
    for step in choose_steps(steps, options.steps) if options.steps else steps:
        if step_states(steps, config, run)[step.name] != "done":
            # Here too: torchrun would only say that the process failed.
            check_gates(step, steps, run, failing)
            said = _run(step_command(resolved, run, step))
            _judge(step, run, step_states(steps, config, run)[step.name], said=said)


def step_command(resolved: Resolved, run: Run, step: Step) -> list[str]:
    """`lmlab step` for one step of the run, by as many processes as it takes."""
    work = ["-m", "lmlab.cli", "step", run.reference, step.name, *resolved.overrides]
    processes = resolved.config.launch.processes
    if not step.parts or processes == 1:
        return [sys.executable, *work]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *torchrun, f"--signals-to-handle={HANDED_ON}", *work]


def _run(command: Sequence[str]) -> list[str]:
    """Run it and hand signals on, once each; the last lines that it said.

    In a session of its own: a terminal's Ctrl-C would reach torchrun and its workers as well, who
    would take the one that torchrun hands on for the second.
    """
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    # SLURM signals every process of a job by itself.
    alone = "SLURM_JOB_ID" not in os.environ

    def hand_on(number: int, frame: FrameType | None) -> None:
        if asked:
            os.killpg(process.pid, signal.SIGKILL)
        asked.append(number)
        if alone:
            process.send_signal(number)

    asked: list[int] = []
    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    said: deque[str] = deque(maxlen=200)
    try:
        with process:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                sys.stderr.write(line)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return list(said)


def _judge(step: Step, run: Run, state: str, *, said: Sequence[str]) -> None:
    entry = run.status()["steps"].get(step.name, {})
    match state:
        case "done":
            return
        case "preempted":
            raise Preempted(entry["error"])
        case "failed":
            raise RuntimeError(f"step {step.name} failed: {entry['error']}{_culprit(said)}")
        case _:
            raise RuntimeError(
                f"step {step.name} ended without a word{_culprit(said)}; what was saved is safe, "
                "and the same command goes on from it"
            )


def _culprit(said: Sequence[str]) -> str:
    """Which process failed first, from torchrun's own account (its last one is the root cause)."""
    ranks = [found[1] for line in said if (found := _RANK.match(line))]
    codes = [found[1] for line in said if (found := _EXIT_CODE.match(line))]
    if not ranks or not codes:
        return ""
    code = int(codes[-1])
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f" (process {ranks[-1]} was the first to end, {how})"
