"""What every run is doing, or has done, read from its small files."""

import time
from collections.abc import Iterator
from typing import Any

from lmlab.engine.references import resolve
from lmlab.engine.run import Part, Run, find_runs, read_json


def lines(reference: str | None) -> list[str]:
    """One line a run, or everything about one."""
    if reference is None:
        runs = find_runs()
        return [_summary(run) for run in runs] or ["no runs yet; start one: lmlab run scratch/demo"]
    return list(_details(resolve(reference, finished=False).run))


def run_state(run: Run) -> str:
    """done, running, preempted, failed, interrupted (its process is gone), or pending."""
    states = [step["state"] for step in run.status()["steps"].values()]
    if run.is_running():
        return "running"
    if "failed" in states:
        return "failed"
    if "running" in states:
        return "interrupted"
    if "preempted" in states:
        return "preempted"
    return "done" if states else "pending"


def _summary(run: Run) -> str:
    steps = _in_order(run)
    done = ", ".join(f"{name} {step['state']}" for name, step in steps) or "nothing begun"
    return f"{run.reference:<56} {run_state(run):<12} {done}"


def _details(run: Run) -> Iterator[str]:
    yield f"{run.reference}: {run_state(run)}"
    yield f"folder   {run.folder}"
    for name, step in _in_order(run):
        took = f"{step['seconds']:.0f} s" if "seconds" in step else ""
        yield f"step     {name:<10} {step['state']:<10} attempt {step['attempt']}  {took}"
        if step.get("error"):
            yield f"         {step['error']}"
    for part in run.parts():
        yield from _part(part)
    if mirror := read_json(run.mirror_path):
        behind = f": {mirror['error']}" if mirror["error"] else ""
        yield f"mirror   index {mirror['number']}, {mirror['state']}{behind}"
    yield f"records  {len(run.records())}"
    yield f"report   {run.report_path if run.report_path.exists() else 'none yet'}"


def _in_order(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """(name, what `status.json` says) of each step that has begun, as they began."""
    return sorted(run.status()["steps"].items(), key=lambda item: item[1]["started"])


def _part(part: Part) -> Iterator[str]:
    status = part.status()
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
