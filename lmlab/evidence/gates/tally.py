"""What two arms came to over paired items, in sums that do not grow with the runs."""

import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64

from lmlab.engine.records import Record
from lmlab.evidence.gates.grammar import CURVES, PAIRED, Gate, Ranking
from lmlab.evidence.gates.selection import Group, Key, Refused, Selection
from lmlab.metrics.stats import ENTRIES, SeedBank

# A seed and a point of the curve; None where the gate does not tell them apart.
Cell = tuple[int | None, float | None]


@dataclass(frozen=True)
class Items:
    """The items of one arm under one set of conditions with one seed."""

    ids: pa.Array
    clusters: Int64[np.ndarray, "items"]
    values: Float64[np.ndarray, "items"]
    weights: Float64[np.ndarray, "items"]
    failed: Bool[np.ndarray, "items"]


@dataclass
class Sums:
    """Oriented differences (or plain values) and their weights, summed by cluster."""

    values: Float64[np.ndarray, "clusters"] = field(default_factory=lambda: np.zeros(0))
    weights: Float64[np.ndarray, "clusters"] = field(default_factory=lambda: np.zeros(0))

    def add(
        self,
        clusters: Int64[np.ndarray, "items"],
        values: Float64[np.ndarray, "items"],
        weights: Float64[np.ndarray, "items"],
    ) -> None:
        """Add items to what their clusters hold."""
        size = max(self.values.size, int(clusters.max()) + 1)
        self.values = _grown(self.values, size) + np.bincount(clusters, values, size)
        self.weights = _grown(self.weights, size) + np.bincount(clusters, weights, size)

    @property
    def score(self) -> float:
        """What all items hold over what they weigh."""
        return float(self.values.sum() / self.weights.sum())

    @property
    def present(self) -> Int64[np.ndarray, "present"]:
        """The clusters that have any item."""
        return np.flatnonzero(self.weights)


@dataclass
class Tally:
    """An arm's items, or their differences to a baseline's, added up as far as the unit allows."""

    selection: Selection
    arm: str
    baseline: str | None
    groups: Mapping[Key, Group]
    cells: dict[Cell, Sums] = field(default_factory=lambda: defaultdict(Sums))
    n: int = 0
    seeds: set[int] = field(default_factory=set)
    # Items that failed, by arm, and items of one arm alone: left out, and said.
    errors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unpaired: int = 0
    # Value of the arm, of the baseline, and their common weight, over all pairs.
    totals: Float64[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    # Difference squared, difference times weight, weight squared, over all pairs.
    squares: Float64[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    # Right and wrong: every value 0 or 1, of weight 1. Then where one alone is right.
    answers: bool = True
    gains: int = 0
    losses: int = 0
    bank: SeedBank | None = None
    files: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    _waiting: dict[tuple[str, int], dict[str, Items]] = field(default_factory=dict)
    _open: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    # Every cluster of the first seeds, of failed items too, which another seed may have.
    _universe: Int64[np.ndarray, "clusters"] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        for _, seed in {(at, seed) for _, at, seed in self.groups}:
            self._open[seed] += 1

    @property
    def gate(self) -> Gate:
        """The gate that is judged."""
        return self.selection.gate

    def refuse(self, why: str) -> None:
        """The first reason stands; nothing more is added up."""
        self.refused = self.refused or why

    def receive(self, place: tuple[str, str, str, int], items: Items) -> None:
        """Items of one arm; a pair is added once both arms have come."""
        if self.refused:
            return
        _, arm, at, seed = place
        waiting = self._waiting.setdefault((at, seed), {})
        waiting[arm] = items
        if not {self.arm, self.baseline or self.arm} <= waiting.keys():
            return
        del self._waiting[at, seed]
        try:
            self._add(at, seed, waiting)
        except Refused as refusal:
            self.refuse(f"{refusal} under {at}, seed {seed}")

    def finish(self) -> None:
        """Nothing more will come: what is missing becomes the reason why it cannot be judged."""
        metric = self.gate.metric
        recorded = any(
            one.metric == metric for group in self.groups.values() for one in group.records
        )
        if not self.groups:
            self.refuse(f"{self.arm} and {self.baseline} share no conditions and seed")
        for (at, seed), came in self._waiting.items():
            for arm in {self.arm, self.baseline} - came.keys():
                self.refuse(f"{arm} has no items of {metric} under {at}, seed {seed}")
        missing = sorted(seed for seed, count in self._open.items() if count)
        if missing and (recorded or self.n == 0):
            self.refuse(
                f"the runs hold no items of {metric} for {self.arm}"
                + (f" and {self.baseline}" if self.baseline else "")
                + f" with seed {', '.join(map(str, missing[:6]))}"
            )
        if not self.totals[2]:
            self.refuse(f"no item of {self.arm} has both a value and a counterpart, or any weight")
        if self.gate.unit == "seed_x_item" and not isinstance(self.gate.test, CURVES):
            for cell in sorted(self.cells, key=str):
                self._bank(self.cells.pop(cell))

    def _add(self, at: str, seed: int, came: Mapping[str, Items]) -> None:
        arm = came[self.arm]
        baseline = came[self.baseline] if self.baseline else None
        own, values, base = self._pair(arm, baseline)
        self._open[seed] -= 1
        if self.gate.unit == "seed_x_item" and self.bank is None:
            self._universe = np.union1d(self._universe, arm.clusters)
        if values.size == 0:
            return
        weights, clusters = arm.weights[own], arm.clusters[own]
        differences = values if baseline is None else self.sign * (values - base)
        self.n += values.size
        self.seeds.add(seed)
        self.totals += (values.sum(), base.sum(), weights.sum())
        self.squares += (differences @ differences, differences @ weights, weights @ weights)
        self.answers &= bool((weights == 1).all() and np.isin(values, (0, 1)).all())
        self.answers &= bool(np.isin(base, (0, 1)).all())
        self.gains += int((differences > 0).sum())
        self.losses += int((differences < 0).sum())
        self._sum_up(at, seed, clusters=clusters, values=differences, weights=weights)

    def _pair(self, arm: Items, baseline: Items | None) -> tuple[np.ndarray, ...]:
        """Rows of the arm, its values there, and the baseline's (0 without one)."""
        self.errors[self.arm] += int(arm.failed.sum())
        if baseline is None:
            own = np.flatnonzero(~arm.failed)
            return own, arm.values[own], np.zeros(own.size)
        self.errors[str(self.baseline)] += int(baseline.failed.sum())
        own = theirs = np.arange(len(arm.ids))
        if not arm.ids.equals(baseline.ids):
            options = pc.SetLookupOptions(value_set=baseline.ids)
            found = pc.call_function("index_in", [arm.ids], options)
            own = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
            theirs = found.drop_null().to_numpy()
            self.unpaired += len(arm.ids) + len(baseline.ids) - 2 * own.size
        kept = ~(arm.failed[own] | baseline.failed[theirs])
        own, theirs = own[kept], theirs[kept]
        if not np.array_equal(arm.weights[own], baseline.weights[theirs]):
            raise Refused(f"the items of {self.arm} and {self.baseline} do not weigh the same")
        return own, arm.values[own], baseline.values[theirs]

    def _sum_up(
        self,
        at: str,
        seed: int,
        *,
        clusters: Int64[np.ndarray, "items"],
        values: Float64[np.ndarray, "items"],
        weights: Float64[np.ndarray, "items"],
    ) -> None:
        point = point_of(self.gate, next(iter(self.groups[self.arm, at, seed].records)))
        match self.gate.unit:
            case "item":
                self.cells[None, point].add(clusters, values, weights)
            case "seed_x_item" if point is None:
                self.cells[seed, None].add(clusters, values, weights)
                if not self._open[seed]:
                    self._bank(self.cells.pop((seed, None)))
            case _:
                self.cells[seed, point].add(np.zeros_like(clusters), values, weights)

    def _bank(self, sums: Sums) -> None:
        """A seed is whole: of its items only the drawn scores are kept."""
        there, generator = sums.present, generator_of(self.gate)
        try:
            self.bank = self.bank or SeedBank(self._universe, entries=ENTRIES, generator=generator)
            self.bank.add(sums.values[there], sums.weights[there], there)
        except ValueError as error:
            self.refuse(str(error))

    @property
    def sign(self) -> int:
        """Turns a difference so that higher is better."""
        return 1 if self.selection.better == "higher" else -1


def new_tally(selection: Selection, arm: str, baseline: str | None) -> Tally:
    """An empty tally; a baseline counts only where the test compares with it.

    Where it does, the arm's conditions and seeds are those that the baseline has too.
    """
    paired = isinstance(selection.gate.test, (*PAIRED, Ranking))
    baseline = baseline if paired else None
    both = [arm, baseline or arm]
    kept = {
        key: group
        for key, group in selection.groups.items()
        if key[0] in both and all((other, *key[1:]) in selection.groups for other in both)
    }
    return Tally(selection, arm, baseline, kept)


def point_of(gate: Gate, record: Record) -> float | None:
    """Where on the gate's curve the record lies; None where the gate has no curve."""
    if not isinstance(gate.test, CURVES):
        return None
    along = gate.test.along
    value = record.at[along] if along in record.at else record.protocol.get(along)
    if not isinstance(value, int | float):
        raise Refused(f"{along} is {value!r} for {record.arm}: a curve needs numbers along it")
    return float(value)


def generator_of(gate: Gate) -> np.random.Generator:
    """The gate's own random numbers: judging it again draws the same."""
    return np.random.default_rng(zlib.crc32(gate.id.encode()))


def _grown(sums: Float64[np.ndarray, "some"], size: int) -> Float64[np.ndarray, "size"]:
    return np.concatenate([sums, np.zeros(size - sums.size)])
