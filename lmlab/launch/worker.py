"""The steps of one phase, in a process of its own, while another process holds the run's lock.

`python -m lmlab.launch.worker STUDY NAME STEP,STEP [key=value ...]`
"""

import logging
import os
import sys
import threading
from collections.abc import Sequence

from lmlab.engine.config import load_preset
from lmlab.engine.lock import EXIT_LOST
from lmlab.engine.preempt import EXIT_CODE, Preempted
from lmlab.engine.run import Run, runs_root
from lmlab.engine.steps import choose_steps, config_steps, run_steps


def work(study: str, name: str, steps: Sequence[str], overrides: Sequence[str]) -> None:
    """Run those that are not done. Raises Preempted, or what a step raised."""
    run = Run(runs_root(), study, name)
    manifest = run.manifest()
    config = load_preset(manifest["preset"], overrides, dev=manifest["dev"]).config
    with run.notice.installed():
        run_steps(choose_steps(config_steps(config), steps), config, run)


def main(arguments: Sequence[str]) -> int:
    """Its exit code."""
    study, name, steps, *overrides = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        work(study, name, steps.split(","), overrides)
    except Preempted:
        return EXIT_CODE
    return 0


def _leave_with_parent() -> None:
    """The lock is free when its holder is gone: whoever takes it must find nobody at work."""
    # Not sys.stdin: its lock, held here, would keep the interpreter from ending.
    os.read(0, 1)
    os._exit(EXIT_LOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
