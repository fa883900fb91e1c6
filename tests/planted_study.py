"""Runs on disk whose arms have known effects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sample_records import make_record

from lmlab.engine.items import write_items
from lmlab.engine.records import Item
from lmlab.engine.run import Run
from lmlab.evidence.gates.grammar import GateFile
from lmlab.evidence.gates.judge import Judgement, judge_gates


def plant_run(
    root: Path,
    name: str = "one",
    *,
    arms: Mapping[str, Sequence[float | None]],
    seed: int = 0,
    at: Mapping[str, Any] | None = None,
    metric: str = "accuracy",
    better: str = "higher",
    weights: Sequence[float] | None = None,
    clusters: Sequence[str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Run:
    """A run with a record and items for each arm; an item without a value has failed."""
    run = Run(root, "toy", name)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.config_path.write_text("study: toy\n")
    at = {"length": 128} if at is None else at
    records, items = run.records(), []
    for arm, values in arms.items():
        known = [value for value in values if value is not None]
        changes = {
            "run": run.reference,
            "arm": arm,
            "at": at,
            "metric": metric,
            "better": better,
            "value": float(np.mean(known)),
            "n": len(known),
            "n_error": len(values) - len(known),
            "interval": None,
            "interval_method": None,
            "weights": {"model": f"{arm}-{seed}"},
            "seed": seed,
        }
        records.append(make_record(**(changes | dict(record or {}))))
        items += [
            Item(
                part="train",
                arm=arm,
                at=at,
                metric=metric,
                item_id=str(number),
                cluster_id=str(number) if clusters is None else clusters[number],
                seed=seed,
                value=value,
                weight=1.0 if weights is None else weights[number],
                error="no answer" if value is None else None,
            )
            for number, value in enumerate(values)
        ]
    place = "_".join(str(value) for value in at.values())
    write_items(run.results().items_path(f"{metric}_{place}_{seed}"), items)
    run.results().replace("none", records)
    return run


def plant_seeds(
    root: Path,
    *,
    seeds: int,
    items: int,
    effect: float,
    generator: np.random.Generator,
    scatter: float = 0.0,
) -> list[Run]:
    """Runs that differ in seed: the arm beats its baseline by `effect`, scattered over seeds."""
    runs = []
    for seed in range(seeds):
        base = generator.normal(size=items)
        gain = effect + scatter * generator.normal()
        arm = base + gain + 0.5 * generator.normal(size=items)
        values = {"arm": arm.tolist(), "base": base.tolist()}
        runs.append(plant_run(root, f"seed_{seed}", arms=values, seed=seed, metric="score"))
    return runs


def gate_file(*gates: dict[str, Any]) -> GateFile:
    """Gates of one family; what every gate needs is filled in."""
    filled = [
        {"id": f"g{number}", "claim": "the arm is good", "metric": "accuracy"} | gate
        for number, gate in enumerate(gates)
    ]
    return GateFile.model_validate({"study": "toy", "question": "?", "gates": filled})


def pair(kind: str, margin: float | None = None, **changes: Any) -> dict[str, Any]:
    """A gate of arm against base."""
    test = {"kind": kind} | ({} if margin is None else {"margin": margin})
    return {"test": test, "arm": "arm", "baseline": "base"} | changes


def judge(runs: list[Run], *gates: dict[str, Any]) -> list[Judgement]:
    """The judgements of a file of these gates."""
    return judge_gates(gate_file(*gates), runs)


def verdict(runs: list[Run], gate: dict[str, Any]) -> str:
    """The verdict of the only gate."""
    return judge(runs, gate)[0].verdict


def answers(gains: int, losses: int, n: int, *, both: int = 0) -> dict[str, list[float]]:
    """Right and wrong of two arms: the arm alone right, the base alone right, both right."""
    neither = n - gains - losses - both
    arm = [1.0] * gains + [0.0] * losses + [1.0] * both + [0.0] * neither
    base = [0.0] * gains + [1.0] * losses + [1.0] * both + [0.0] * neither
    return {"arm": arm, "base": base}
