"""What the gates between phases say of a run."""

import logging
from collections.abc import Sequence

from lmlab.engine.run import Run
from lmlab.evidence.gates.grammar import load_gates, study_gates
from lmlab.evidence.gates.judge import judge_gates

log = logging.getLogger(__name__)


def failing_gates(run: Run, phases: Sequence[str]) -> list[str]:
    """A sentence for each gate of these phases that fails on the run; the others are logged.

    A gate without enough evidence does not pass, but it does not stop the next phase either.
    """
    path = study_gates(run.study)
    if path is None:
        return []
    file = load_gates(str(path))
    # All are judged: their number is what each p is corrected for.
    phase_of = {gate.id: gate.phase for gate in file.gates}
    judged = [one for one in judge_gates(file, [run]) if phase_of[one.gate] in phases]
    for one in judged:
        log.info("phase %s, gate %s: %s", phase_of[one.gate], one.gate, one.verdict)
    return [
        f"{one.gate} of phase {phase_of[one.gate]} ({one.reason.rstrip('.')})"
        for one in judged
        if one.verdict == "fail"
    ]
