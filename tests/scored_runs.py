"""Runs whose arms have records and the items behind them."""

import numpy as np
from sample_records import make_record

from lmlab.engine.items import write_items
from lmlab.engine.records import Item
from lmlab.engine.run import Run, create_run


def made_run(
    name: str,
    arms: dict[str, list[float | None]],
    *,
    seed: int = 1,
    metric: str = "accuracy",
    weights: list[float] | None = None,
    clusters: list[str] | None = None,
    first_item: int = 0,
    config: dict | None = None,
    **record,
) -> Run:
    """A run with a record and items for each arm; items are numbered from `first_item`."""
    settings = {"study": "toy", "seed": seed, "size": 1} | (config or {})
    run = create_run("toy", name, config=settings, manifest={"created": 1.0}, unique=False)
    items, records = [], []
    for arm, values in arms.items():
        numbers = [value for value in values if value is not None]
        fields = {
            "run": run.reference, "arm": arm, "metric": metric, "better": "higher", "seed": seed,
            "value": float(np.mean(numbers)), "n": len(numbers), "interval": None,
            "interval_method": None, "at": {"split": "test"},
        }  # fmt: skip
        records.append(make_record(**(fields | record)))
        items += [
            Item(
                part="train", arm=arm, at={"split": "test"}, metric=metric,
                item_id=str(first_item + i), seed=seed,
                cluster_id=clusters[i] if clusters else str(first_item + i), value=value,
                weight=weights[i] if weights else 1.0, error="failed" if value is None else None,
            )
            for i, value in enumerate(values)
        ]  # fmt: skip
    write_items(run.results().items_path(metric), items)
    run.results().replace("evaluate", records)
    return run


def answers(rate: float, num: int, seed: int) -> list[float]:
    generator = np.random.default_rng(seed)
    return (generator.random(num) < rate).astype(float).tolist()
