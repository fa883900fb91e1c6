"""Phases: named groups of a study's steps, between which gates stand."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmlab.engine.presets import nearest
from lmlab.engine.steps import Step


@dataclass(frozen=True)
class Phase:
    """Steps that belong together; None is the name of those that belong to no phase."""

    name: str | None
    steps: tuple[Step, ...]


# Phases that need nothing of each other: a gate of one says nothing against another.
Wave = tuple[Phase, ...]


def study_phases(steps: Sequence[Step]) -> list[Phase]:
    """In the order of the steps. Raises ValueError for a phase whose steps lie apart."""
    groups = itertools.groupby(steps, key=lambda step: step.phase)
    phases = [Phase(name, tuple(found)) for name, found in groups]
    names = phase_names(phases)
    if torn := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"the steps of phase {torn[0]} lie apart; put them next to each other")
    return phases


def study_waves(steps: Sequence[Step]) -> list[Wave]:
    """The phases in their order; neighbours that are independent of each other stand together.

    Steps of no phase stand alone, and so keep what is before them from what is behind.
    """
    waves: list[list[Phase]] = []
    for phase in study_phases(steps):
        needed = {name for step in phase.steps for name in step.needs}
        alone = not waves or None in (phase.name, waves[-1][0].name)
        # A need through another step is one of that step's own phase, which stands no later.
        if alone or any(step.name in needed for one in waves[-1] for step in one.steps):
            waves.append([phase])
        else:
            waves[-1].append(phase)
    return [tuple(wave) for wave in waves]


def earlier_phases(step: Step, steps: Sequence[Step]) -> list[str]:
    """The phases whose gates stand before this step; none before a step of no phase."""
    if step.phase is None:
        return []
    before = itertools.takewhile(
        lambda wave: step.phase not in phase_names(wave), study_waves(steps)
    )
    return phase_names(phase for wave in before for phase in wave)


def phase_names(phases: Iterable[Phase]) -> list[str]:
    """Without that of the steps that belong to none."""
    return [phase.name for phase in phases if phase.name is not None]


def steps_of_phases(steps: Sequence[Step], asked: str) -> list[Step]:
    """The steps of `a`, of `a,b` or of `2-4`: names, or numbers counted from 1.

    Raises ValueError, with the nearest names, for a phase that there is not.
    """
    names = phase_names(study_phases(steps))
    if not names:
        raise ValueError("this study has no phases; choose among its steps with --steps a,b")
    chosen = {name for piece in asked.split(",") for name in _between(piece.strip(), names)}
    return [step for step in steps if step.phase in chosen]


def _between(piece: str, names: Sequence[str]) -> Sequence[str]:
    first, dash, last = piece.partition("-")
    if piece in names or not dash:
        first = last = piece
    start, end = _place(first, names), _place(last, names)
    if start > end:
        raise ValueError(f"phases {piece}: {names[start]} comes after {names[end]}")
    return names[start : end + 1]


def _place(written: str, names: Sequence[str]) -> int:
    if written in names:
        return names.index(written)
    if written.isdecimal() and 1 <= int(written) <= len(names):
        return int(written) - 1
    raise ValueError(f"no phase {written!r}{nearest(written, names)}")
