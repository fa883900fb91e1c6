"""How a step under torchrun ended, as a batch script asks: `ended.py RUN STEP SINCE`.

torchrun answers 1 for every end but success. SINCE, in seconds of the epoch, is when it started:
what the status says of an earlier start does not count.
"""

import sys

from lmlab.engine.preempt import EXIT_CODE
from lmlab.engine.run import Run, runs_root


def exit_code(run: Run, step: str, *, since: float) -> int:
    """75 where the step was preempted since then, else 1."""
    entry = run.status()["steps"].get(step, {})
    preempted = entry.get("state") == "preempted" and entry["finished"] >= since
    return EXIT_CODE if preempted else 1


if __name__ == "__main__":
    reference, step, since = sys.argv[1:]
    study, name = reference.split("/")
    sys.exit(exit_code(Run(runs_root(), study, name), step, since=float(since)))
