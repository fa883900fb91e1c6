"""Runs as Python objects: what `lmlab.run` and `lmlab.open` give."""

import importlib
from dataclasses import dataclass
from typing import Any

from lmlab.engine.config import load_preset, load_stored
from lmlab.engine.records import Record
from lmlab.engine.references import Reference, resolve
from lmlab.engine.schema import StudyConfig
from lmlab.launch.local import Options, choose_run, start
from lmlab.launch.phases import Failing


@dataclass(frozen=True)
class Opened:
    """A run, as a script or a cell file uses it."""

    reference: Reference

    @property
    def config(self) -> StudyConfig:
        """The configuration, complete with every default."""
        return load_stored(self.reference.run.config_path)

    def records(self) -> list[Record]:
        """Every record of the run."""
        return self.reference.run.records()

    def model(self) -> Any:
        """The model with its tokenizer, opened by the run's study; its type is the study's."""
        study = self.reference.run.study
        module = importlib.import_module(f"lmlab.studies.{study}.inference")
        return module.open_model(self.reference.model_part(), at=self.reference.at)


def run(preset: str, *overrides: str, name: str | None, new: bool, failing: Failing) -> Opened:
    """Run what is not done of a preset, and open it. Raises as `local.start` does."""
    resolved = load_preset(preset, overrides)
    options = Options(name=name, new=new)
    chosen = choose_run(resolved, options)
    if chosen.state != "finished":
        start(resolved, chosen, options, failing)
    return Opened(Reference(chosen.run, None, "last"))


def open_reference(reference: str) -> Opened:
    """Find a run or one of its trainings."""
    return Opened(resolve(reference))
