"""The cells of a sweep: every combination of the values that were swept, each a run by its name."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmlab.engine.config import Axis, Resolved, load_preset, sweep_axes
from lmlab.engine.run import Run, check_name, runs_root
from lmlab.engine.steps import config_steps, step_fingerprints, step_states

_NAME_LENGTH = 100


@dataclass(frozen=True)
class Cell:
    """One combination: what it sets of the swept keys, and its run's name."""

    name: str
    settings: Mapping[str, str]
    resolved: Resolved

    @property
    def run(self) -> Run:
        """Where it lies, made or not."""
        return Run(runs_root(), self.resolved.config.study, self.name)


def plan_cells(preset: str, overrides: Sequence[str], *, name: str | None) -> list[Cell]:
    """Every cell, checked, the last key fastest; the same settings give the same names.

    Raises ValueError where nothing is swept, or a cell's settings are wrong.
    """
    axes = sweep_axes(overrides)
    if not any(axis.swept for axis in axes):
        raise ValueError("nothing is swept; write key=a,b or key=range(3), or use lmlab run")
    base = check_name(name or preset.split("/")[-1])
    grid = itertools.product(*(axis.choices for axis in axes))
    return [_cell(preset, chosen, axes, base=base) for chosen in grid]


def cell_state(cell: Cell) -> str:
    """Of the whole run, as `lmlab status` names it."""
    config, run = cell.resolved.config, cell.run
    states = set(step_states(config_steps(config), config, run).values())
    if run.is_running():
        return "running"
    if states == {"done"}:
        return "done"
    if "running" in states:
        return "interrupted"
    return next((one for one in ("failed", "preempted") if one in states), "pending")


def grid_name(cells: Sequence[Cell], *, base: str) -> str:
    """`<study>_<base>_<hash of the cells>`, whatever the order in which the keys were typed."""
    study = cells[0].resolved.config.study
    return f"{study}_{base}_{_hash(sorted(cell.name for cell in cells))}"


def _cell(preset: str, chosen: Sequence[str], axes: Sequence[Axis], *, base: str) -> Cell:
    settings = {
        axis.key: written.partition("=")[2]
        for axis, written in zip(axes, chosen, strict=True)
        if axis.swept
    }
    resolved = load_preset(preset, chosen)
    differs = "_".join(
        f"{_short(key, list(settings))}-{value}" for key, value in sorted(settings.items())
    )
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{base}_{differs}").replace("..", "-")
    # What is fixed counts too, and what the letters of a name cannot say.
    mark = _hash([sorted(settings.items()), _training(resolved), resolved.config.dev])
    return Cell(check_name(f"{readable[:_NAME_LENGTH]}_{mark}"), settings, resolved)


def _training(resolved: Resolved) -> list[str]:
    steps = config_steps(resolved.config)
    fingerprints = step_fingerprints(steps, resolved.config)
    return [fingerprints[step.name] for step in steps if not step.evaluation]


def _short(key: str, keys: Sequence[str]) -> str:
    """The end of a dotted key, as long as no other key ends with it."""
    pieces = key.split(".")
    for first in range(len(pieces) - 1, 0, -1):
        end = ".".join(pieces[first:])
        if sum(f".{one}".endswith(f".{end}") for one in keys) == 1:
            return end
    return key


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:6]
