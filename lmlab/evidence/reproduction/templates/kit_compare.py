"""Compares records: `python compare.py STORED NEW` are two folders of runs, `study/name/` in each.

Plain Python, so that it needs nothing of what it checks. Exit code 0: equal, bit for bit.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

COMPARED = ("value", "interval", "n", "n_error", "data", "weights")
KEY = ("part", "step", "arm", "at", "metric", "seed", "training_step", "protocol")
SHOWN = 20


def main() -> int:
    """Every run of STORED against the same run of NEW."""
    stored, new = map(Path, sys.argv[1:3])
    equal = True
    for folder in sorted(path.parent for path in stored.glob("*/*/manifest.json")):
        name = folder.relative_to(stored)
        say(f"{name.as_posix()}: stored on {machine(folder)}")
        say(f"{name.as_posix()}: made on {machine(new / name)}")
        equal = compare(records(folder), records(new / name), name=name.as_posix()) and equal
    return 0 if equal else 1


def compare(stored: dict, new: dict, *, name: str) -> bool:
    """Say what is missing, added or different; whether all stored ones are there and equal."""
    different = [key for key in stored if key in new and stored[key] != new[key]]
    missing = [key for key in stored if key not in new]
    for key in missing[:SHOWN]:
        say(f"  missing here: {key}")
    for key in different[:SHOWN]:
        say(f"  differs: {key}")
        for before, after in zip(stored[key], new[key], strict=False):
            for field in (one for one in COMPARED if before[one] != after[one]):
                say(f"    {field}: {before[field]} stored, {after[field]} here")
    total = count(stored, stored)
    equal = total - count(stored, [*different, *missing])
    say(f"{name}: {equal} of {total} measurements are equal, bit for bit")
    extra = count(new, [key for key in new if key not in stored])
    if extra:
        say(f"{name}: {extra} more were measured here")
    return not different and not missing


def count(found: dict, keys: Iterable[str]) -> int:
    """Of one key there may be several: two evaluations may measure the same thing."""
    return sum(len(found[key]) for key in keys)


def records(folder: Path) -> dict:
    """What was measured -> its records; imported ones, which nothing here makes, are left out."""
    found: dict = {}
    files = [folder / "results.jsonl", *sorted(folder.glob("evaluations/*/results.jsonl"))]
    for path in files:
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        for row in (json.loads(line) for line in lines if line):
            if not row["imported"]:
                key = json.dumps({one: named(row[one]) for one in KEY}, sort_keys=True)
                found.setdefault(key, []).append({one: row[one] for one in COMPARED})
    for rows in found.values():
        rows.sort(key=lambda row: json.dumps(row, sort_keys=True))
    return found


def named(value: object) -> object:
    """A path as its last name: the same file may lie elsewhere here."""
    if isinstance(value, dict):
        return {key: named(inner) for key, inner in value.items()}
    return value.rpartition("/")[2] if isinstance(value, str) else value


def machine(folder: Path) -> str:
    """Processor, GPUs and torch of a run's last start."""
    path = folder / "manifest.json"
    attempts = json.loads(path.read_text(encoding="utf-8"))["attempts"] if path.exists() else []
    last = attempts[-1] if attempts else {}
    gpus = ", ".join(last.get("gpus") or []) or "no GPU"
    torch = last.get("versions", {}).get("torch")
    return f"{last.get('processor')}, {gpus}, torch {torch}, Python {last.get('python')}"


def say(line: str) -> None:
    """At once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
