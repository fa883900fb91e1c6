"""`study/name[:part][@N|best|last]`: how people name a run or a model of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lmlab.engine.config import load_preset
from lmlab.engine.presets import nearest
from lmlab.engine.run import Part, Run, find_runs, runs_root
from lmlab.engine.steps import Step, config_steps, is_finished, step_fingerprints

_FORM = re.compile(r"(?P<run>[^:@]+/[^:@]+)(:(?P<part>[^@]+))?(@(?P<at>\d+|best|last))?")


@dataclass(frozen=True)
class Reference:
    """A run, and perhaps one of its trainings and a moment of it."""

    run: Run
    part: str | None
    at: str

    def model_part(self) -> Part:
        """The training that is meant: the one named, else the run's last."""
        parts = self.run.parts()
        names = [part.name for part in parts]
        if self.part is None:
            if not parts:
                raise ValueError(f"{self.run.reference} has no training yet")
            return max(parts, key=lambda part: part.checkpoints.stat().st_mtime_ns)
        if self.part not in names:
            raise ValueError(
                f"{self.run.reference} has no part {self.part!r}{nearest(self.part, names)}"
            )
        return Part(self.run, self.part)


def resolve(reference: str, *, finished: bool = True) -> Reference:
    """Find what is meant; a preset's name means its newest finished run of equal fingerprint.

    With `finished=False` (to look on) it means its newest run, whatever its state and settings.
    Raises ValueError with the nearest names where there is no such run.
    """
    found = _FORM.fullmatch(reference)
    if not found:
        raise ValueError(f"{reference!r} is no reference; write study/name[:part][@N|best|last]")
    study, name = found["run"].split("/", 1)
    run = Run(runs_root(), study, name)
    if not run.config_path.is_file():
        run = _newest_of_preset(study, name) if finished else _newest(study, name)
    return Reference(run, found["part"], found["at"] or "last")


def same_training(
    stored: Mapping[str, str], wanted: Mapping[str, str], steps: tuple[Step, ...]
) -> bool:
    """Whether every step but evaluations has the fingerprint wanted."""
    return all(stored.get(one.name) == wanted[one.name] for one in steps if not one.evaluation)


def _newest(study: str, name: str) -> Run:
    for run in find_runs(study):
        if run.manifest().get("preset") == f"{study}/{name}":
            return run
    return _newest_of_preset(study, name)


def _newest_of_preset(study: str, name: str) -> Run:
    try:
        wanted = load_preset(f"{study}/{name}").config
    except ValueError:
        wanted = None
    runs = find_runs(study)
    if wanted is not None:
        steps = config_steps(wanted)
        fingerprints = step_fingerprints(steps, wanted)
        for run in runs:
            same = same_training(run.fingerprints(), fingerprints, steps)
            if same and is_finished(steps, wanted, run):
                return run
        raise ValueError(
            f"no finished run of the preset {study}/{name} in {runs_root()}; "
            f"start it with: lmlab run {study}/{name}"
        )
    names = [run.reference for run in find_runs()]
    raise ValueError(f"no run {study}/{name} in {runs_root()}{nearest(f'{study}/{name}', names)}")
