"""One step of an existing run, in a process of its own: what torchrun and batch scripts start.

Under torchrun rank 0 holds the run's lock and writes its status; the other ranks only work.
"""

import logging
import os
from collections.abc import Sequence

from lmlab.engine.config import load_preset
from lmlab.engine.references import resolve
from lmlab.engine.run import Run
from lmlab.engine.steps import choose_steps, config_steps, is_finished, load_target, step_states
from lmlab.launch.local import Chosen, Options, start
from lmlab.launch.phases import Failing

log = logging.getLogger(__name__)


def run_step(reference: str, step: str, overrides: Sequence[str], failing: Failing) -> Run | None:
    """Run `step` if it is not done; without overrides with those of the run's first start.

    The run, where nothing of it is left to do and this process held it. Raises GateFailedError
    where a gate of an earlier phase fails.
    """
    run = resolve(reference, finished=False).run
    manifest = run.manifest()
    given = overrides or manifest["overrides"]
    resolved = load_preset(manifest["preset"], given, dev=manifest["dev"])
    steps = config_steps(resolved.config)
    if int(os.environ.get("RANK", "0")) == 0:
        start(resolved, Chosen(run, "unfinished"), Options(steps=(step,)), failing)
        return run if is_finished(steps, resolved.config, run) else None
    (wanted,) = choose_steps(steps, [step])
    if step_states(steps, resolved.config, run)[step] != "done":
        with run.notice.installed():
            load_target(wanted.target)(resolved.config, run)
    return None
