"""What every run is doing, or has done, read from its small files; damaged ones are named."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lmlab.engine.run import Part, Run, read_json, runs_root

_FILES = ("config.yaml", "manifest.json", "status.json")
_AGE = re.compile(r"\d+ s ago")
_CLEAR = "\x1b[H\x1b[J"

# (name, what `status.json` says) of each step that has begun, as they began.
Steps = tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class Entry:
    """A run in a list: what its manifest and status say, and what of them cannot be read."""

    run: Run
    state: str
    manifest: dict[str, Any]
    steps: Steps
    problems: tuple[str, ...]

    @property
    def created(self) -> float:
        """When the run was made; the time of its folder where nothing says it."""
        said = self.manifest.get("created")
        return said if isinstance(said, (int, float)) else self.run.folder.stat().st_mtime


def read_entries() -> list[Entry]:
    """Every run, the newest first, those with damaged files among them."""
    root = runs_root()
    found = {path.parent for name in _FILES for path in root.glob(f"*/*/{name}")}
    runs = [Run(root, one.parent.name, one.name) for one in found if not one.name.startswith(".")]
    return sorted(map(read_entry, runs), key=lambda one: (-one.created, one.run.reference))


def read_entry(run: Run) -> Entry:
    """One run."""
    problems: list[str] = []
    if not run.config_path.is_file():
        problems.append("config.yaml is missing")
    manifest = _object(run.manifest, where="manifest.json", problems=problems)
    if not manifest and not problems:
        problems.append("manifest.json is missing or empty")
    status = _object(run.status, where="status.json", problems=problems)
    steps = _steps(status, problems)
    asked = set(manifest.get("fingerprints", {}))
    return Entry(run, _state(run, steps, asked, problems), manifest, steps, tuple(problems))


def summaries(entries: list[Entry]) -> list[str]:
    """A line a run, and one for whatever is wrong with it."""
    found = [line for entry in entries for line in _summary(entry)]
    return found or ["no runs yet; start one: lmlab run scratch/demo"]


def details(run: Run) -> list[str]:
    """Everything about one run."""
    return list(_details(read_entry(run)))


def frames(read: Callable[[], list[str]], *, terminal: bool, pause: float = 2.0) -> Iterator[str]:
    """What to print, without end: on a terminal the screen anew, else all of it at each change."""
    before = None
    while True:
        lines = read()
        # An age is no change: without a terminal a quiet run would fill its log.
        now = [_AGE.sub("", line) for line in lines]
        if terminal:
            yield _CLEAR + "\n".join(_fitting(lines, shutil.get_terminal_size()))
        elif now != before:
            yield "\n".join(lines) + "\n"
        before = now
        time.sleep(pause)


def _fitting(lines: list[str], size: os.terminal_size) -> list[str]:
    """No more than the screen holds, and how many are left out."""
    cut = [line[: size.columns - 1] for line in lines]
    if len(cut) < size.lines:
        return cut
    shown = max(1, size.lines - 2)
    return [*cut[:shown], f"... and {len(cut) - shown} more lines"]


def _state(run: Run, steps: Steps, asked: set[str], problems: list[str]) -> str:
    """`interrupted`: its process is gone. `damaged`: nothing that can be read says it."""
    states = {step["state"] for _, step in steps}
    if run.is_running():
        return "running"
    for state, shown in (("failed", "failed"), ("running", "interrupted")):
        if state in states:
            return shown
    if not states:
        return "damaged" if problems else "pending"
    done = "done" if asked <= {name for name, _ in steps} else "unfinished"
    return next(iter(sorted(states - {"done"})), done)


def _object(
    read: Callable[[], dict[str, Any]], *, where: str, problems: list[str]
) -> dict[str, Any]:
    try:
        return read()
    except ValueError:
        problems.append(f"{where} is damaged: it was cut or edited")
        return {}


def _steps(status: dict[str, Any], problems: list[str]) -> Steps:
    steps = status.get("steps", {})
    rows = list(steps.items()) if isinstance(steps, dict) else []
    good = [(name, step) for name, step in rows if isinstance(step, dict) and "state" in step]
    if not isinstance(steps, dict) or len(good) < len(rows):
        problems.append("status.json is damaged: a step has no state")
    return tuple(sorted(good, key=lambda one: one[1].get("started") or 0.0))


def _summary(entry: Entry) -> Iterator[str]:
    steps = ", ".join(f"{name} {step['state']}" for name, step in entry.steps) or "nothing begun"
    yield f"{entry.run.reference:<56} {entry.state:<12} {steps}"
    yield from (f"  ! {problem}" for problem in entry.problems)


def _details(entry: Entry) -> Iterator[str]:
    run = entry.run
    yield f"{run.reference}: {entry.state}"
    yield f"folder   {run.folder}"
    yield from (f"damaged  {problem}" for problem in entry.problems)
    for name, step in entry.steps:
        took = f"{step['seconds']:.0f} s" if "seconds" in step else ""
        yield f"step     {name:<10} {step['state']:<10} attempt {step.get('attempt', '?')}  {took}"
        if step.get("error"):
            yield f"         {step['error']}"
    for part in run.parts():
        yield from _part(part)
    if mirror := read_json(run.mirror_path):
        behind = f": {mirror['error']}" if mirror["error"] else ""
        yield f"mirror   index {mirror['number']}, {mirror['state']}{behind}"
    yield from _records(run)
    yield f"report   {run.report_path if run.report_path.exists() else 'none yet'}"


def _records(run: Run) -> Iterator[str]:
    try:
        yield f"records  {len(run.records())}"
    except ValueError as error:
        yield f"damaged  {error}"


def _part(part: Part) -> Iterator[str]:
    problems: list[str] = []
    status = _object(part.status, where=f"{part.name}/status.json", problems=problems)
    yield from (f"damaged  {problem}" for problem in problems)
    if not status:
        return
    save = "no save yet"
    if status["saved"] is not None:
        age = time.time() - status["saved"]
        save = f"last save at {status['last_saved']}, {age:.0f} s ago"
    yield (
        f"part     {part.name}: step {status['step']} of {status['total_steps']}, {save}, "
        f"attempt {status['attempt']}"
    )
    if status["state"] == "running" and status["step_seconds"] is not None:
        lost = status["step"] - status["last_saved"]
        seconds = lost * status["step_seconds"]
        yield f"at risk  {lost} steps since that save: {seconds:.0f} s of work"
    if status["cost_usd"] is not None:
        yield f"cost     {status['cost_usd']:.4f} USD"
