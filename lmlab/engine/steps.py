"""Steps of a study: skip what is done, run the rest, record what failed."""

import importlib
import importlib.util
import logging
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lmlab.engine.config import fingerprint, fingerprinted_values
from lmlab.engine.preempt import Preempted
from lmlab.engine.presets import nearest
from lmlab.engine.run import Results, Run
from lmlab.engine.schema import StudyConfig

log = logging.getLogger(__name__)

State = Literal["pending", "running", "done", "failed", "preempted"]


@dataclass(frozen=True)
class Step:
    """One stage of a study: `target` is `module:function`, called with (config, run).

    `reads` names the sections of the configuration on which its result depends. An `evaluation`
    may be run with other settings on a finished run; its results then lie apart. `parts` are the
    trainings that it makes. Steps of one `phase` stand together, with gates behind them (see
    `engine.phases`). Where the configuration has null for its `section` there is no such step.
    """

    name: str
    target: str
    reads: tuple[str, ...]
    needs: tuple[str, ...] = ()
    evaluation: bool = False
    parts: tuple[str, ...] = ()
    phase: str | None = None
    section: str | None = None


def config_steps(config: StudyConfig) -> tuple[Step, ...]:
    """The study's steps without those that the configuration leaves out."""
    every = study_steps(config.study)
    kept = [one for one in every if one.section is None or getattr(config, one.section) is not None]
    names = {step.name for step in kept}
    return tuple(replace(one, needs=tuple(n for n in one.needs if n in names)) for one in kept)


def study_steps(study: str) -> tuple[Step, ...]:
    """STEPS of the study, found by name: all that a run of it may have."""
    package = importlib.import_module(f"lmlab.studies.{study}" if _is_ours(study) else study)
    return importlib.import_module(f"{package.__name__}.steps").STEPS


def step_fingerprints(steps: Sequence[Step], config: StudyConfig) -> dict[str, str]:
    """step name -> fingerprint, in the order of the steps."""
    found: dict[str, str] = {}
    for step in steps:
        found[step.name] = fingerprint(
            config, reads=step.reads, needs=[found[name] for name in step.needs]
        )
    return found


def drifted_fields(step: Step, stored: StudyConfig, given: StudyConfig) -> list[str]:
    """Fields of a step in which two configurations differ: `a.b (1 -> 2)`."""
    old = fingerprinted_values(stored, reads=step.reads)
    new = fingerprinted_values(given, reads=step.reads)
    changed = sorted(key for key in old | new if old.get(key) != new.get(key))
    return [f"{key} ({old.get(key)} -> {new.get(key)})" for key in changed]


def choose_steps(steps: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """The steps of these names, in the study's order. Raises ValueError for an unknown name."""
    known = [step.name for step in steps]
    for name in names:
        if name not in known:
            raise ValueError(f"no step {name!r}{nearest(name, known)}")
    return [step for step in steps if step.name in names]


def step_states(steps: Sequence[Step], config: StudyConfig, run: Run) -> dict[str, State]:
    """step name -> its state for this configuration; what was done for another one is pending."""
    marks = step_fingerprints(steps, config)
    stored = run.status()["steps"]
    found: dict[str, State] = {}
    for step in steps:
        entry = stored.get(_key(step, marks[step.name], run), {})
        same = entry.get("fingerprint") == marks[step.name]
        found[step.name] = entry["state"] if same else "pending"
    return found


def is_finished(steps: Sequence[Step], config: StudyConfig, run: Run) -> bool:
    """Whether every step is done for this configuration."""
    return all(state == "done" for state in step_states(steps, config, run).values())


def evaluation_results(name: str, config: StudyConfig, run: Run) -> Results:
    """Where an evaluation step writes: the run's own set, or one apart for other settings."""
    steps = config_steps(config)
    mark = step_fingerprints(steps, config)[name]
    own = run.fingerprints().get(name)
    return run.results(None if mark == own else mark)


def forget(name: str, steps: Sequence[Step], run: Run) -> None:
    """A step is to be done again, and so is every step that needs it."""
    stale = {name}
    for step in steps:
        if step.name in stale or stale & set(step.needs):
            stale.add(step.name)
            run.forget_step(step.name, parts=step.parts)


def run_steps(steps: Sequence[Step], config: StudyConfig, run: Run) -> None:
    """Run what is not done yet, in order; a failure is recorded and raised, later steps wait."""
    every = config_steps(config)
    marks = step_fingerprints(every, config)
    for step in steps:
        states = step_states(every, config, run)
        if states[step.name] == "done":
            log.info("%s: done already", step.name)
            continue
        missing = [name for name in step.needs if states[name] != "done"]
        if missing:
            raise ValueError(
                f"step {step.name} needs {', '.join(missing)}, not done in {run.folder}"
            )
        if run.notice.reason is not None:
            raise Preempted(f"{run.notice.reason} before step {step.name}")
        _run_step(step, config, run, mark=marks[step.name])


def load_target(target: str) -> Callable[[StudyConfig, Run], None]:
    """The function behind `module:function`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _run_step(step: Step, config: StudyConfig, run: Run, *, mark: str) -> None:
    key = _key(step, mark, run)
    before = run.status()["steps"].get(key, {})
    started = time.time()
    common = {
        "fingerprint": mark,
        "started": started,
        "host": socket.gethostname(),
        "attempt": before.get("attempt", 0) + 1,
    }
    run.set_status(key, state="running", error=None, **common)
    log.info("%s: started", step.name)
    try:
        load_target(step.target)(config, run)
    except Preempted as notice:
        run.set_status(key, state="preempted", error=str(notice), finished=time.time())
        raise
    except Exception as error:
        run.set_status(
            key,
            state="failed",
            error=f"{type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
            finished=time.time(),
        )
        raise
    run.set_status(key, state="done", finished=time.time(), seconds=round(time.time() - started, 3))
    log.info("%s: done in %.0f s", step.name, time.time() - started)


def _key(step: Step, mark: str, run: Run) -> str:
    """Name in status.json: an evaluation with other settings than the run's has one of its own."""
    if not step.evaluation:
        return step.name
    return step.name if mark == run.fingerprints().get(step.name) else f"{step.name}@{mark}"


def _is_ours(study: str) -> bool:
    return importlib.util.find_spec(f"lmlab.studies.{study}") is not None
