"""Scores of single items, and the records that they make: a mean with its interval."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Num

from lmlab.data.tasks.records import TaskSplit
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Run
from lmlab.metrics.stats import Interval, bootstrap_ratio, rate_interval
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.exports import error_name
from lmlab.studies.scratch.model import TrainedDecoder
from lmlab.studies.scratch.stage import arm_of, part_of


@dataclass(frozen=True)
class Task:
    """What was scored: a split of records under the name of its kind, and how."""

    name: str
    data: TaskSplit[Any]
    protocol: Mapping[str, Any]
    item_ids: Sequence[str]


@dataclass(frozen=True)
class Scored:
    """One arm's value of each item. Without `weights` it is a control that has none."""

    task: Task
    metric: str
    values: Num[np.ndarray, "items"]
    _: KW_ONLY
    arm: str
    part: str
    weights: Mapping[str, str]
    training_step: int | None = None
    unit: str = "share"
    better: Literal["higher", "lower"] = "higher"
    at: Mapping[str, str | int | float] | None = None
    # The wrong answers to look at.
    errors: Sequence[Mapping[str, Any]] = ()

    @property
    def place(self) -> dict[str, str | int | float]:
        """The record's `at`."""
        return {"task": self.task.name, "split": self.task.data.split, **(self.at or {})}


def stage_checkpoint(stage: str, trained: TrainedDecoder) -> str:
    """What files call the checkpoint of a stage's decoder."""
    return f"{part_of(stage)}/step_{trained.step:08d}"


def of_stage(stage: str, trained: TrainedDecoder) -> dict[str, Any]:
    """The fields that say whose score it is."""
    return {
        "arm": arm_of(stage),
        "part": part_of(stage),
        "weights": {"decoder": trained.weights},
        "training_step": trained.step,
    }


def scored_records(scored: Iterable[Scored], config: Config, run: Run) -> list[Record]:
    """A record each: the mean over the items."""
    found = []
    for one in scored:
        interval = _interval(one, config)
        task = one.task
        found.append(
            Record(
                study=config.study,
                run=run.reference,
                part=one.part,
                step="evaluate",
                training_step=one.training_step,
                arm=one.arm,
                at=one.place,
                metric=one.metric,
                unit=one.unit,
                better=one.better,
                value=float(one.values.mean()),
                n=len(one.values),
                n_error=0,
                interval=(interval.low, interval.high),
                interval_method=interval.method,
                protocol={"dataset": task.data.name, "split": task.data.split, **task.protocol},
                data={task.data.split: task.data.sha256},
                data_kind=task.data.data_kind,
                weights=one.weights,
                weightless=not one.weights,
                seed=config.seed,
                dev=config.dev,
                command=shlex.join(command_line()),
                commit=code_state()["commit"],
            )
        )
    return found


def scored_items(scored: Iterable[Scored], config: Config) -> list[Item]:
    """An item each, under its own id: what a paired test needs."""
    return [
        Item(
            part=one.part,
            arm=one.arm,
            at=one.place,
            metric=one.metric,
            item_id=item_id,
            cluster_id=item_id,
            seed=config.seed,
            value=float(value),
        )
        for one in scored
        for item_id, value in zip(one.task.item_ids, one.values, strict=True)
    ]


def scored_errors(scored: Iterable[Scored]) -> dict[str, list[Mapping[str, Any]]]:
    """File name -> the wrong answers of all arms."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in scored:
        if one.errors:
            found.setdefault(error_name(one.task.name, one.metric), []).extend(one.errors)
    return found


def _interval(one: Scored, config: Config) -> Interval:
    """Of a rate where every item is right or wrong, else by drawing items again."""
    if np.isin(one.values, (0, 1)).all():
        return rate_interval(int(one.values.sum()), one.values.size)
    return bootstrap_ratio(
        one.values.astype(np.float64),
        np.ones(one.values.size),
        draws=config.evaluate.bootstrap_draws,
        generator=np.random.default_rng(config.seed),
    )
