"""The record (one measured number with all that makes it trustworthy) and the item behind it."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record v1: a value, its interval and n, and the weights, data and protocol it belongs to."""

    study: str
    run: str
    part: str
    step: str
    training_step: int | None
    arm: str
    at: Mapping[str, str | int | float]
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    value: float
    n: int
    n_error: int
    interval: tuple[float, float] | None
    interval_method: str | None
    protocol: Mapping[str, Any]
    data: Mapping[str, str]
    data_kind: Literal["real", "generated"]
    weights: Mapping[str, str]
    weightless: bool = False
    imported: bool = False
    seed: int
    dev: bool
    command: str
    commit: str
    version: int = VERSION
    id: str = field(default="")
    protocol_hash: str = field(default="")
    digest: str = field(default="")

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.arm} {self.metric} is {self.value}; a record holds a number")
        if not (self.weights or self.weightless or self.imported):
            raise ValueError(
                f"{self.arm} {self.metric} names no weights; give their hash, or declare the arm "
                "weightless or imported"
            )
        if self.interval is not None and self.interval_method is None:
            raise ValueError(f"{self.arm} {self.metric} has an interval without its method")
        object.__setattr__(self, "protocol_hash", protocol_hash(self.protocol))
        object.__setattr__(self, "id", self._identity())
        object.__setattr__(self, "digest", _digest(asdict(self) | {"digest": ""})[:16])

    def _identity(self) -> str:
        """The same measurement of the same weights has the same id, however often it is run."""
        parts = (
            self.study, self.run, self.part, self.step, self.training_step, self.arm,
            dict(self.at), self.metric, self.protocol_hash, dict(self.data), dict(self.weights),
            self.seed,
        )  # fmt: skip
        return _digest(parts)[:16]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One scored item behind a record: what a paired test needs.

    `value` is a sum over `weight` units (1 answer; the words of a document for its NLL), so that
    the items of an arm give its score as sum of values over sum of weights.
    """

    part: str
    arm: str
    at: Mapping[str, str | int | float]
    metric: str
    item_id: str
    cluster_id: str
    seed: int
    value: float | None
    weight: float = 1.0
    error: str | None = None


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """Two numbers may stand in one comparison only where this is equal."""
    return _digest(dict(protocol))[:16]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """One JSON object a line; the file is replaced whole, so a reader never sees half of it."""
    temporary = path.with_name(path.name + ".tmp")
    lines = (json.dumps(asdict(record), sort_keys=True) + "\n" for record in records)
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_records(path: Path) -> list[Record]:
    """All records of a file; a line that is no record v1 is an error that names the line."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [parse_record(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def parse_record(line: str, where: str) -> Record:
    """One line as a record; `where` names it in errors."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON ({error}); the file was cut or edited") from error
    version = row.get("version") if isinstance(row, dict) else None
    if version != VERSION:
        raise ValueError(f"{where} is record version {version}; this reads {VERSION}")
    known = {one.name for one in fields(Record)}
    given = {key: value for key, value in row.items() if key in known}
    if given.get("interval") is not None:
        given["interval"] = tuple(given["interval"])
    try:
        record = Record(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is no record: {error}") from error
    if (record.id, record.digest) != (row.get("id"), row.get("digest")):
        raise ValueError(f"{where} does not match its id and digest; the line was edited")
    return record


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
