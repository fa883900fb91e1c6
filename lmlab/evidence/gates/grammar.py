"""What a gate file may say: `conf/gates/<study>.yaml`, or anybody's, checked and frozen.

A gate is a claim with the test that it must pass. It is data: what judges it (`judge`) and what
audits it (`audit`) knows no gate by name.
"""

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from lmlab.engine.presets import CONF, nearest
from lmlab.engine.schema import Values

GATES = CONF / "gates"
Number = int | float
Condition = str | int | float


class Superior(Values):
    """The arm beats its baseline by at least `margin`: the interval's bound lies beyond it."""

    kind: Literal["superior"]
    margin: float = Field(default=0.0, ge=0)


class NonInferior(Values):
    """The arm loses less than `margin` against its baseline."""

    kind: Literal["noninferior"]
    margin: float = Field(gt=0)


class Equivalent(Values):
    """Arm and baseline differ by less than `margin` either way (two one-sided tests)."""

    kind: Literal["equivalent"]
    margin: float = Field(gt=0)


class Threshold(Values):
    """The arm's own value lies on the stated side of a number, interval included."""

    kind: Literal["threshold"]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> "Threshold":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a threshold has either at_least or at_most")
        return self


class Bounded(Values):
    """Along a condition the values stay within a share of their smallest: max/min - 1."""

    kind: Literal["bounded"]
    along: str
    tolerance: float = Field(ge=0)


class Exists(Values):
    """Something was measured at all; says nothing about its value."""

    kind: Literal["exists"]


class Trend(Values):
    """Along a condition the value moves one way (Spearman), with no significant step back."""

    kind: Literal["trend"]
    along: str
    direction: Literal["increasing", "decreasing"]


class Flat(Values):
    """The slope along a condition, with its interval, stays inside +-`tolerance` a unit of it."""

    kind: Literal["flat"]
    along: str
    tolerance: float = Field(gt=0)


class NoOscillation(Values):
    """No peak in the periodogram of the detrended curve, and one of size `planted` is found."""

    kind: Literal["no_oscillation"]
    along: str
    planted: float = Field(gt=0)
    min_bins: int = Field(default=64, ge=8)


class Ranking(Values):
    """The arms stand in this order, each beating the next (`arm` and `baseline` stay empty)."""

    kind: Literal["ranking"]
    order: tuple[str, ...] = Field(min_length=2)


Test = Annotated[
    Superior
    | NonInferior
    | Equivalent
    | Threshold
    | Bounded
    | Exists
    | Trend
    | Flat
    | NoOscillation
    | Ranking,
    Field(discriminator="kind"),
]
PAIRED = (Superior, NonInferior, Equivalent)
CURVES = (Bounded, Trend, Flat, NoOscillation)


class Range(Values):
    """Between what the judged quantity can lie whatever is measured: two arithmetic expressions.

    Over `data` and over the record values `arm` and `baseline` (see `expressions`). The quantity is
    what the test judges: arm - baseline, oriented so that higher is better, of a paired test; the
    arm's own value of a threshold; the spread of `bounded`.
    """

    lowest: str | None = None
    highest: str | None = None
    data: dict[str, Number | tuple[Number, ...] | str] = Field(default_factory=dict)


class Planned(Values):
    """What the run will bring, and what is expected of it: the audit's power rests on this."""

    items: int | None = Field(default=None, ge=1)
    seeds: int | None = Field(default=None, ge=1)
    # Of a share: items on which the two arms disagree. Else: the deviation of a paired difference.
    discordant: float | None = Field(default=None, gt=0, le=1)
    deviation: float | None = Field(default=None, gt=0)
    # The true difference, better as positive, at which the stated power is wanted.
    effect: float = 0.0
    power: float = Field(default=0.8, gt=0, lt=1)


class Gate(Values):
    """One claim and its test. `select` chooses by condition or protocol: a value, or several."""

    id: str = Field(pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]*")
    claim: str
    test: Test
    metric: str | None = None
    # Where no record of this metric says it (an item's metric may have no record of its own).
    better: Literal["higher", "lower"] | None = None
    arm: str | None = None
    baseline: str | None = None
    select: dict[str, Condition | tuple[Condition, ...]] = Field(default_factory=dict)
    unit: Literal["item", "seed", "seed_x_item", "record"] = "item"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_n: int = Field(default=1, ge=1)
    min_seeds: int = Field(default=1, ge=1)
    # Arms that must be measured beside it, under the same conditions.
    controls: tuple[str, ...] = ()
    range: Range | None = None
    planned: Planned | None = None
    phase: str | None = None
    # The step that it judges: to runs that were made without it the gate does not apply.
    step: str | None = None
    # Gates before it in the file that must pass, or it says nothing: then it is `not_run`.
    requires: tuple[str, ...] = ()
    # Why it cannot be judged here, such as hardware that there is not: the verdict is `not_run`.
    not_run: str | None = None
    note: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "Gate":
        if self.metric is None and self.not_run is None:
            raise ValueError("a gate names a metric, or says why it is not_run")
        if isinstance(self.test, PAIRED) and self.not_run is None and not self.baseline:
            raise ValueError(f"a gate of kind {self.test.kind} names a baseline")
        ranked = isinstance(self.test, Ranking)
        if self.not_run is None and ranked == (self.arm is not None):
            raise ValueError("a ranking names its arms in `order`, every other gate names an arm")
        if ranked and self.unit == "record":
            raise ValueError("a ranking is judged on items or seeds, not on whole records")
        return self


class GateFile(Values):
    """Gates that are judged together: Holm's correction runs over all of them."""

    study: str
    question: str
    gates: tuple[Gate, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> "GateFile":
        names = [gate.id for gate in self.gates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two gates are named {', '.join(twice)}")
        for place, gate in enumerate(self.gates):
            if later := set(gate.requires) - set(names[:place]):
                raise ValueError(
                    f"gate {gate.id} requires {', '.join(sorted(later))}, no gate before it"
                )
        return self


def gate_path(source: str) -> Path:
    """Where a study's gates lie, or the path itself. Raises ValueError where there is no file."""
    given = source.endswith((".yaml", ".yml"))
    path = Path(source) if given else study_gates(source)
    if path is None or not path.is_file():
        known = [one.stem for one in sorted(GATES.glob("*.yaml"))]
        raise ValueError(f"no gates {path or source}{nearest(Path(source).stem, known)}")
    return path


def study_gates(study: str) -> Path | None:
    """The gate file of a study, of one outside the repository in its `conf/gates/`, if there is."""
    spec = importlib.util.find_spec(study) if study.isidentifier() else None
    outside = [
        Path(one) / "conf" / "gates" for one in (spec and spec.submodule_search_locations) or []
    ]
    found = [folder / f"{study}.yaml" for folder in (GATES, *outside)]
    return next((path for path in found if path.is_file()), None)


def load_gates(source: str) -> GateFile:
    """The gate file of a study by its name, or of a path that ends in .yaml.

    Raises ValueError that names the file, the gate and the field.
    """
    path = gate_path(source)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    try:
        return GateFile.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{path}: {_first(error, values)}") from error


def _first(error: ValidationError, values: object) -> str:
    """The first thing that is wrong, with the gate's own name instead of its number."""
    found = error.errors(include_url=False)[0]
    place = list(found["loc"])
    if len(place) > 1 and place[0] == "gates" and isinstance(place[1], int):
        assert isinstance(values, dict)
        gate = values["gates"][place[1]]
        place[:2] = [f"gate {gate.get('id', place[1]) if isinstance(gate, dict) else place[1]}"]
    return f"{'.'.join(map(str, place))}: {found['msg'].removeprefix('Value error, ')}"
