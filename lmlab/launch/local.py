"""Run a preset in this process: find or make its run, hold the lock, run the steps."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from lmlab.engine.config import Resolved, dump, load_preset, load_stored
from lmlab.engine.lock import RunIsBusyError, locked
from lmlab.engine.mirror import Mirror
from lmlab.engine.mirroring import mirrored
from lmlab.engine.notices import watched
from lmlab.engine.objects import StorageUnreachableError
from lmlab.engine.phases import Phase, Wave, steps_of_phases, study_waves
from lmlab.engine.provenance import command_line, provenance, sources
from lmlab.engine.references import Reference, same_training
from lmlab.engine.run import (
    Run,
    check_name,
    create_run,
    default_name,
    find_runs,
    runs_root,
)
from lmlab.engine.schema import StudyConfig
from lmlab.engine.steps import (
    Step,
    choose_steps,
    config_steps,
    drifted_fields,
    forget,
    is_finished,
    run_steps,
    step_fingerprints,
    step_states,
    study_steps,
)
from lmlab.launch.mirrored import GLANCE_SECONDS, find_mirror, grace_seconds
from lmlab.launch.phases import Failing, allow, check_gates, no_gates, run_at_once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What was asked for beside the preset."""

    name: str | None = None
    new: bool = False
    steps: tuple[str, ...] = ()
    redo: str | None = None
    # Why failing gates are not to stop it.
    why: str | None = None

    def __post_init__(self) -> None:
        if self.why is not None and not self.why.strip():
            raise ValueError(
                "--continue needs a reason; it is kept with the run and shown in its page"
            )


@dataclass(frozen=True)
class Chosen:
    """The run that a command means, and why."""

    run: Run
    state: Literal["new", "unfinished", "finished", "running"]


def step_names(resolved: Resolved, steps: str, *, phases: str, redo: str | None) -> tuple[str, ...]:
    """The steps of `--steps a,b` or `--phases 2-4`, checked; none where all are meant."""
    every, chosen = config_steps(resolved.config), tuple(filter(None, steps.split(",")))
    choose_steps(every, [*chosen, *filter(None, [redo])])
    if not phases:
        return chosen
    if chosen:
        raise ValueError("give either --steps or --phases")
    return tuple(step.name for step in steps_of_phases(every, phases))


def choose_run(resolved: Resolved, options: Options) -> Chosen:
    """The run named, else the newest of equal fingerprint, else a new one.

    A run that lies in the mirror alone is pulled. Raises ValueError, naming the fields, where the
    named run was made with another configuration.
    """
    found = find_run(resolved, options)
    if found is None and (mirror := _mirror(resolved, options)) is not None:
        mirror.pull()
        found = find_run(resolved, options)
    if found is None:
        name = new_name(resolved, options)
        found = Chosen(_create(resolved, name, unique=options.name is None), "new")
    if options.why is not None and found.state != "running":
        allow(found.run, options.why)
    return found


def find_run(resolved: Resolved, options: Options) -> Chosen | None:
    """The run that `choose_run` goes on with; None where it makes one."""
    return None if options.new else _existing(resolved, options, config_steps(resolved.config))


def new_name(resolved: Resolved, options: Options) -> str:
    """What a new run would be called."""
    special = resolved.preset.split("/")[-1]
    return options.name or default_name(*resolved.config.describe(), special)


def start(
    resolved: Resolved, chosen: Chosen, options: Options, failing: Failing = no_gates
) -> None:
    """Run what is not done; `failing` judges the gates between phases.

    Raises RunIsBusyError, Preempted, GateFailedError, or what a step raised.
    """
    run, config = chosen.run, resolved.config
    steps = config_steps(config)
    wanted = choose_steps(steps, options.steps) if options.steps else list(steps)
    again = choose_steps(steps, [options.redo]) if options.redo is not None else []
    needed = float(config.launch.signal_seconds)
    with (
        locked(run.lock_path),
        run.notice.installed(),
        watched(run.notice, run.folder, seconds_needed=needed),
        _logged(run),
        mirrored(run, config.storage, grace_seconds=grace_seconds(resolved)) as run,
    ):
        _note_attempt(run, resolved)
        for step in again:
            forget(step.name, steps, run)
        for wave in study_waves(steps):
            _run_wave(_left(wave, wanted), resolved, run, failing)


def _left(wave: Wave, wanted: Sequence[Step]) -> Wave:
    """What is wanted of each phase; not those of which nothing is."""
    chosen = [(phase.name, tuple(step for step in phase.steps if step in wanted)) for phase in wave]
    return tuple(Phase(name, steps) for name, steps in chosen if steps)


def _run_wave(wave: Wave, resolved: Resolved, run: Run, failing: Failing) -> None:
    config, steps = resolved.config, config_steps(resolved.config)
    states = step_states(steps, config, run)
    open_phases = _left(wave, [step for step in steps if states[step.name] != "done"])
    if open_phases:
        check_gates(open_phases[0].steps[0], steps, run, failing)
    if len(open_phases) > 1 and config.launch.workers > 1:
        run_at_once(open_phases, resolved, run)
        return
    for step in (step for phase in wave for step in phase.steps):
        run_steps([step], config, run)
        if run.mirror is not None:
            run.mirror.request()


def evaluate_again(reference: Reference, overrides: Sequence[str]) -> None:
    """Run the evaluation steps of an existing run with other settings.

    Raises ValueError, naming the field, where a setting of a finished training is changed.
    """
    run = reference.run
    manifest = run.manifest()
    given = [*manifest["overrides"], *overrides]
    resolved = load_preset(manifest["preset"], given, dev=manifest["dev"])
    chosen = _named(run, resolved, config_steps(resolved.config))
    if chosen.state == "running":
        raise RunIsBusyError(f"{run.reference} is running; evaluate it when it is done")
    evaluations = tuple(one.name for one in study_steps(run.study) if one.evaluation)
    start(resolved, chosen, Options(steps=evaluations))


def describe(resolved: Resolved, options: Options) -> list[str]:
    """What `start` would do, without doing it."""
    steps = config_steps(resolved.config)
    wanted = choose_steps(steps, options.steps) if options.steps else list(steps)
    found = find_run(resolved, options)
    lines = [
        f"run: {found.run.reference} ({found.state})" if found else _elsewhere(resolved, options)
    ]
    states = step_states(steps, resolved.config, found.run) if found else {}
    lines += [
        f"{f'phase {step.phase}, ' if step.phase else ''}"
        f"step {step.name}: {states.get(step.name, 'pending')}"
        for step in wanted
    ]
    return lines + resolved.config.estimate_lines()


def _mirror(resolved: Resolved, options: Options) -> Mirror | None:
    return find_mirror(resolved, name=options.name, new=options.new)


def _elsewhere(resolved: Resolved, options: Options) -> str:
    """Where the run comes from that is not here."""
    asked = {"name": options.name, "new": options.new}
    try:
        mirror = find_mirror(resolved, **asked, patience_seconds=GLANCE_SECONDS)
    except StorageUnreachableError as error:
        return f"run: a new one, unless it lies in the mirror: {error}"
    return f"run: pulled from {mirror}" if mirror else "run: a new one"


def _existing(resolved: Resolved, options: Options, steps: tuple[Step, ...]) -> Chosen | None:
    if options.name is not None:
        run = Run(runs_root(), resolved.config.study, check_name(options.name))
        return _named(run, resolved, steps) if run.config_path.is_file() else None
    fingerprints = step_fingerprints(steps, resolved.config)
    for run in find_runs(resolved.config.study):
        same_preset = run.manifest().get("preset") == resolved.preset
        if same_preset and same_training(run.fingerprints(), fingerprints, steps):
            return Chosen(run, _state(run, resolved.config, steps))
    return None


def _named(run: Run, resolved: Resolved, steps: tuple[Step, ...]) -> Chosen:
    wanted, made_with = step_fingerprints(steps, resolved.config), run.fingerprints()
    begun = run.status()["steps"]
    for step in steps:
        if step.name not in begun or step.evaluation or wanted[step.name] == made_with[step.name]:
            continue
        drifted = drifted_fields(step, load_stored(run.config_path), resolved.config)
        # Equal fields with another fingerprint: a python file that they name was edited.
        said = ", ".join(drifted) or "a file that it names, or a step that it needs, changed"
        raise ValueError(
            f"{run.reference} exists with another configuration of step {step.name}: {said}. "
            "Take another --name, or leave it as it was"
        )
    return Chosen(run, _state(run, resolved.config, steps))


def _state(
    run: Run, config: StudyConfig, steps: Sequence[Step]
) -> Literal["unfinished", "finished", "running"]:
    if run.is_running():
        return "running"
    return "finished" if is_finished(steps, config, run) else "unfinished"


def _create(resolved: Resolved, name: str, *, unique: bool) -> Run:
    config = resolved.config
    manifest = {
        "preset": resolved.preset,
        "question": resolved.question,
        "overrides": list(resolved.overrides),
        "seed": config.seed,
        "dev": config.dev,
        "created": time.time(),
        "fingerprints": step_fingerprints(config_steps(config), config),
        "attempts": [],
    }
    return create_run(config.study, name, config=dump(config), manifest=manifest, unique=unique)


def _note_attempt(run: Run, resolved: Resolved) -> None:
    """Each start leaves its command, commit and versions; a change of code is said, not refused."""
    now = provenance(command_line())
    manifest = run.manifest()
    attempts = manifest.get("attempts", [])
    if attempts:
        last = attempts[-1]
        for what in ("commit", "diff_sha256", "versions"):
            if last[what] != now[what]:
                log.warning(
                    "%s changed since the last start: %s -> %s", what, last[what], now[what]
                )
    attempts.append({"started": time.time(), "overrides": list(resolved.overrides), **now})
    run.write_manifest(manifest | {"attempts": attempts})
    run.provenance.mkdir(exist_ok=True)
    for name, text in sources().items():
        (run.provenance / name).write_bytes(text)


@contextmanager
def _logged(run: Run) -> Iterator[None]:
    """What is logged while inside also goes to `logs/<attempt>.log`."""
    handler = logging.FileHandler(run.log_path(len(run.manifest()["attempts"]) + 1))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("lmlab").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("lmlab").removeHandler(handler)
        handler.close()
