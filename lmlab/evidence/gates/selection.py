"""Which records a gate is judged on, and why it cannot be judged on them.

The records say under what a number was measured; items have no protocol of their own and are judged
under that of the records of the same arm, conditions and seed.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from lmlab.engine.records import Record, parse_record
from lmlab.engine.run import Run, read_json
from lmlab.evidence.gates.grammar import Condition, Gate, Ranking

# An arm under one set of conditions (as sorted JSON) with one seed.
Key = tuple[str, str, int]


class Refused(ValueError):
    """Why a gate cannot be judged, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What lies on disk for a gate, in the few figures that its audit needs."""

    # Means over everything selected, as measured (not oriented); None where nothing was found.
    arm: float | None = None
    baseline: float | None = None
    better: Literal["higher", "lower"] | None = None
    # Paired items (or records), and the distinct seeds behind them.
    n: int = 0
    seeds: int = 0
    # Of the paired differences: their deviation, and the share of items on which 0/1 values differ.
    deviation: float | None = None
    discordant: float | None = None
    # Every arm that was measured under the gate's conditions, controls included.
    arms: frozenset[str] = frozenset()
    # arm -> one text a distinct set of weights; empty for an arm that has none.
    weights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    weightless: frozenset[str] = frozenset()
    # arm -> {"logits_sha256": str, "trainable": [names]}, of every run's probe.json; or empty.
    probe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Damage:
    """A line that is no record, with what can still be read of it."""

    where: str
    why: str
    arm: str | None
    metric: str | None


@dataclass(frozen=True)
class ResultSet:
    """The records of one evaluation of one run, and what is damaged among them."""

    run: Run
    folder: Path
    own: bool
    records: tuple[Record, ...]
    damage: tuple[Damage, ...]


@dataclass(frozen=True)
class Group:
    """What was measured of one arm under one set of conditions with one seed, and where."""

    records: tuple[Record, ...]
    source: ResultSet


@dataclass(frozen=True)
class Selection:
    """All that a gate may be judged on."""

    gate: Gate
    better: Literal["higher", "lower"]
    groups: Mapping[Key, Group]
    marks: tuple[str, ...]

    @property
    def contrasts(self) -> list[tuple[str, str | None]]:
        """Which arm is judged against which: one pair, or each neighbours of a ranking."""
        return contrasts(self.gate)


def read_sets(runs: Iterable[Run]) -> list[ResultSet]:
    """Every evaluation of every run; what is damaged is kept apart, with its reason."""
    found = []
    for run in runs:
        for number, results in enumerate(run.all_results()):
            found.append(_read_set(run, results.folder, own=number == 0))
    return found


def select_groups(gate: Gate, sets: Sequence[ResultSet]) -> Selection:
    """What the gate is judged on. Raises Refused with the reason why it cannot be."""
    found = _matching(gate, sets)
    _refuse_damage(gate, found or sets)
    if not any(one.records for one in sets):
        runs = ", ".join(sorted({one.run.reference for one in sets})[:3])
        raise Refused(f"nothing has been measured in {runs or 'any run'}")
    found = _of_metric(gate, found)
    _refuse_missing(gate, found)
    records = [(record, one) for one in found for record in one.records]
    if any(record.dev for record, _ in records):
        raise Refused("dev: the numbers of a dev run decide nothing")
    groups = _group(records)
    _refuse_mixed_protocols(gate, groups)
    _refuse_mixed_data(groups)
    return Selection(gate, _better(gate, records), groups, _marks(groups))


def subjects(gate: Gate) -> tuple[str, ...]:
    """The arms that the gate compares."""
    if isinstance(gate.test, Ranking):
        return gate.test.order
    return tuple(arm for arm in (gate.arm, gate.baseline) if arm is not None)


def contrasts(gate: Gate) -> list[tuple[str, str | None]]:
    """Arm and baseline; of a ranking each arm and the next."""
    if isinstance(gate.test, Ranking):
        order = gate.test.order
        return list(pairwise(order))
    assert gate.arm is not None
    return [(gate.arm, gate.baseline)]


def matches(select: Mapping[str, Condition | tuple[Condition, ...]], record: Record) -> bool:
    """Whether the record has a value that is asked for: in its conditions, else its protocol."""
    for name, wanted in select.items():
        values = record.at if name in record.at else record.protocol
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        if name not in values or values[name] not in allowed:
            return False
    return True


def said(select: Mapping[str, Any]) -> str:
    """`split test, length 512 or 1024`, for a reason."""
    texts = (
        f"{name} {' or '.join(map(str, wanted)) if isinstance(wanted, tuple) else wanted}"
        for name, wanted in select.items()
    )
    return ", ".join(texts) or "any conditions"


def read_probes(sets: Iterable[ResultSet]) -> dict[str, Mapping[str, Any]]:
    """arm -> what the study's probe found; arms that one run found equal are told as equal."""
    told: dict[str, Mapping[str, Any]] = {}
    for run in {one.run.reference: one.run for one in sets}.values():
        try:
            found = read_json(run.folder / "probe.json")
        except ValueError:
            # As good as none: the audit says that the arms were not probed.
            continue
        hashes = [values["logits_sha256"] for values in found.values()]
        same = {arm for arm, values in found.items() if hashes.count(values["logits_sha256"]) > 1}
        told |= {arm: values for arm, values in found.items() if arm in same or arm not in told}
    return told


def at_key(at: Mapping[str, Any]) -> str:
    """Conditions as text that is equal where they are."""
    return json.dumps(dict(at), sort_keys=True)


def _read_set(run: Run, folder: Path, *, own: bool) -> ResultSet:
    path = folder / "results.jsonl"
    records, damage = [], []
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    # At newlines alone: `str.splitlines` would cut inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            records += [parse_record(line, "it")] if line else []
        except ValueError as error:
            where = f"{run.reference}, {path.relative_to(run.folder)}, line {number}"
            damage.append(
                Damage(where, str(error), _legible("arm", line), _legible("metric", line))
            )
    return ResultSet(run, folder, own, tuple(records), tuple(damage))


def _legible(name: str, line: str) -> str | None:
    """A text field of a line that may be cut."""
    found = re.search(rf'"{name}": ("(?:[^"\\]|\\.)*")', line)
    return json.loads(found[1], strict=False) if found else None


def _matching(gate: Gate, sets: Sequence[ResultSet]) -> list[ResultSet]:
    """The sets that have the first arm, each with the gate's records alone.

    A run's own results count; another evaluation of it only where these have nothing.
    """
    wanted = {*subjects(gate), *gate.controls}
    by_run: dict[str, list[ResultSet]] = {}
    for one in sets:
        chosen = tuple(
            record
            for record in one.records
            if record.arm in wanted and matches(gate.select, record)
        )
        told = ResultSet(one.run, one.folder, one.own, chosen, one.damage)
        if chosen or one.damage:
            by_run.setdefault(one.run.reference, []).append(told)
    kept = []
    for of_run in by_run.values():
        own = [one for one in of_run if one.own]
        kept += own if any(one.records for one in own) else of_run
    return kept


def _refuse_damage(gate: Gate, sets: Sequence[ResultSet]) -> None:
    """A damaged line that may be the gate's spoils it: what is left might be a choice."""
    wanted = {*subjects(gate), *gate.controls}
    for damage in (damage for one in sets for damage in one.damage):
        if damage.arm in {None, *wanted} and damage.metric in {None, gate.metric}:
            raise Refused(f"{damage.where} is damaged: {damage.why}")


def _of_metric(gate: Gate, sets: Sequence[ResultSet]) -> list[ResultSet]:
    """The records of the gate's metric; where it has none, those measured beside its items."""
    named = any(record.metric == gate.metric for one in sets for record in one.records)
    if not named and gate.unit == "record":
        kinds = sorted({record.metric for one in sets for record in one.records})
        raise Refused(
            f"no record of {gate.metric} under {said(gate.select)}; "
            f"there is {', '.join(kinds) or 'none of these arms'}"
        )
    if not named:
        return list(sets)
    return [
        ResultSet(
            one.run,
            one.folder,
            one.own,
            tuple(record for record in one.records if record.metric == gate.metric),
            one.damage,
        )
        for one in sets
    ]


def _refuse_missing(gate: Gate, sets: Sequence[ResultSet]) -> None:
    found = {record.arm for one in sets for record in one.records}
    for arm in subjects(gate):
        if arm not in found:
            raise Refused(
                f"{arm} has no {gate.metric} under {said(gate.select)}"
                + (f"; only {', '.join(sorted(found))}" if found else "")
            )
    under = {at_key(one.at) for of in sets for one in of.records if one.arm == subjects(gate)[0]}
    for control in gate.controls:
        seen = {at_key(one.at) for of in sets for one in of.records if one.arm == control}
        if missing := sorted(under - seen):
            raise Refused(f"the control {control} was not measured under {missing[0]}")


def _group(records: Sequence[tuple[Record, ResultSet]]) -> dict[Key, Group]:
    """One measurement a key and metric; the same one made twice counts once."""
    groups: dict[Key, dict[str, tuple[Record, ResultSet]]] = {}
    for record, one in records:
        by_metric = groups.setdefault((record.arm, at_key(record.at), record.seed), {})
        first, source = by_metric.setdefault(record.metric, (record, one))
        if _measurement(first) != _measurement(record):
            raise Refused(
                f"{record.arm} with seed {record.seed} has two values of {record.metric} under "
                f"{said(record.at)}: {first.value:g} ({source.run.reference}, {first.part}) and "
                f"{record.value:g} ({one.run.reference}, {record.part}); say which runs are meant"
            )
    told = {}
    for key, by_metric in groups.items():
        sources = [source for _, source in by_metric.values()]
        told[key] = Group(tuple(record for record, _ in by_metric.values()), sources[0])
    return told


def _measurement(record: Record) -> tuple[object, ...]:
    return (record.value, record.n, dict(record.weights), record.protocol_hash)


def _refuse_mixed_protocols(gate: Gate, groups: Mapping[Key, Group]) -> None:
    """Under equal conditions all arms and seeds share the protocol of every metric they share."""
    by_conditions: dict[str, list[Group]] = {}
    for (_, at, _), group in groups.items():
        by_conditions.setdefault(at, []).append(group)
    for at, found in by_conditions.items():
        metrics = [{record.metric for record in group.records} for group in found]
        shared = set.intersection(*metrics)
        if not shared:
            raise Refused(
                f"no metric was recorded for every arm under {at}, so nothing says that the items "
                f"of {gate.metric} share a protocol"
            )
        for metric in sorted(shared):
            records = [one for group in found for one in group.records if one.metric == metric]
            if len({one.protocol_hash for one in records}) > 1:
                raise Refused(f"mixed protocols under {at}: {_protocols(records)}")


def _protocols(records: Sequence[Record]) -> str:
    """The fields in which protocols differ, with the values, and an arm for each."""
    names = sorted({name for record in records for name in record.protocol})
    texts = []
    for name in names:
        values: dict[str, str] = {}
        for record in records:
            value = json.dumps(record.protocol.get(name))
            values.setdefault(value, f"{record.arm} in {record.run}")
        if len(values) > 1:
            texts.append(f"{name} is " + ", ".join(f"{one} ({who})" for one, who in values.items()))
    return "; ".join(texts)


def _refuse_mixed_data(groups: Mapping[Key, Group]) -> None:
    """Arms were scored on the same data; generated data may differ from seed to seed."""
    first: dict[tuple[str, int | None], dict[str, tuple[str, Record]]] = {}
    for (_, at, seed), group in groups.items():
        for record in group.records:
            place = (at, seed if record.data_kind == "generated" else None)
            known = first.setdefault(place, {})
            for name, sha in _scored_on(record).items():
                other, whose = known.setdefault(name, (sha, record))
                if other != sha:
                    raise Refused(
                        f"mixed data under {at}: {name} is {other[:8]} for {whose.arm} in "
                        f"{whose.run}, {sha[:8]} for {record.arm} in {record.run}"
                    )


def _scored_on(record: Record) -> dict[str, str]:
    """The data of the split that was scored; all data where no split is named."""
    split = record.at.get("split", record.protocol.get("split"))
    name = str(split)
    return {name: record.data[name]} if name in record.data else dict(record.data)


def _better(gate: Gate, records: Sequence[tuple[Record, ResultSet]]) -> Literal["higher", "lower"]:
    told: list[Literal["higher", "lower"]] = [
        record.better for record, _ in records if record.metric == gate.metric
    ]
    found = gate.better or next(iter(told), None)
    if found is None:
        raise Refused(
            f"no record says whether {gate.metric} is better higher or lower: add `better`"
        )
    if told and set(told) != {found}:
        raise Refused(f"records and gate disagree on whether {gate.metric} is better {found}")
    return found


def _marks(groups: Mapping[Key, Group]) -> tuple[str, ...]:
    records = [record for group in groups.values() for record in group.records]
    marks = {
        "generated": any(one.data_kind == "generated" for one in records),
        "imported": any(one.imported for one in records),
        "weights unknown": any(one.imported and not one.weights for one in records),
    }
    return tuple(name for name, holds in marks.items() if holds)
