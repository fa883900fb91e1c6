"""How answers to a baseline task are scored: each item, the whole, and the errors to look at."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Num

from lmlab.data.tasks.records import Dialogue, Problem, Review
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Run
from lmlab.metrics.answers import score_answers
from lmlab.metrics.classification import Classification, chance, majority, score_labels
from lmlab.metrics.rouge import METRICS, rouge
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.exports import error_name, misclassified, wrong_answers
from lmlab.studies.scratch.prompting import LABELS, Question, answer_of
from lmlab.studies.scratch.scored import Scored, Task, scored_items, scored_records

STEP = "baselines"
# What is published of a task's answers, and how it is counted.
RULES: Mapping[str, Mapping[str, str]] = {
    "reviews": {"labels": ", ".join(LABELS)},
    "dialogues": {"scorer": "rouge_score, stemmer", "several_references": "mean"},
    "problems": {"rule": "official"},
}
LEAD_TURNS = 3


@dataclass(frozen=True)
class Outcome:
    """Values of each item by metric, and what is known of the whole: its value and interval.

    `errors` gives the wrong answers to look at, under the name of a checkpoint.
    """

    values: dict[str, Num[np.ndarray, "items"]]
    whole: dict[str, float] = field(default_factory=dict)
    macro_f1_interval: tuple[float, float] | None = None
    errors: Callable[[str], list[dict[str, Any]]] = lambda _: []


@dataclass(frozen=True)
class Arm:
    """Whose answers were scored, and under which conditions; controls have no weights."""

    name: str
    outcome: Outcome
    part: str = STEP
    weights: Mapping[str, str] = field(default_factory=dict)
    training_step: int | None = None
    at: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def checkpoint(self) -> str:
        """As the tables call it, with what else tells it from others."""
        if self.training_step is not None:
            return f"{self.part}/step_{self.training_step:08d}"
        place = {name: value for name, value in self.at.items() if name != "task"}
        return f"{self.name} {json.dumps(place)}" if place else self.name


def score_reviews(
    predicted: Sequence[str | None], records: Sequence[Review], *, draws: int
) -> Outcome:
    """Accuracy, macro F1 and the number without a label."""
    gold = [one.label for one in records]
    errors = partial(
        misclassified,
        item_ids=[one.id for one in records],
        texts=[one.text for one in records],
        gold=gold,
        predicted=predicted,
    )
    return _classified(score_labels(predicted, gold, labels=LABELS), draws, errors)


def score_texts(texts: Sequence[str], records: Sequence[Dialogue] | Sequence[Problem]) -> Outcome:
    """ROUGE of summaries, or the exact match of solutions' answers."""
    written = [answer_of(text) for text in texts]
    if isinstance(records[0], Dialogue):
        references = [one.summaries for one in records if isinstance(one, Dialogue)]
        return Outcome(dict(rouge(written, references, several="mean")))
    problems = [one for one in records if isinstance(one, Problem)]
    solutions, ids = [one.solution for one in problems], [one.id for one in problems]
    scores = score_answers(written, solutions, item_ids=ids, rule="official")
    errors = partial(
        wrong_answers,
        scores=scores,
        item_ids=ids,
        questions=[one.question for one in problems],
        outputs=written,
        solutions=solutions,
    )
    whole = {"num_unparsable": float(scores.num_unparsable)}
    return Outcome({"exact_match": scores.values}, whole, errors=errors)


def controls(
    records: Sequence[Any], train: Sequence[Question], *, generator: np.random.Generator, draws: int
) -> list[Arm]:
    """What answers score that look at nothing but the training split, or at the text's beginning.

    Labels and answers: the most frequent one. Classes: chance, in expectation. Texts: the answer of
    a training example drawn for each item; of dialogues, their first turns.
    """
    if isinstance(records[0], Review):
        gold, seen = [one.label for one in records], [one.answer for one in train]
        return [
            Arm("majority", _classified(majority(gold, labels=LABELS, training=seen), draws)),
            Arm("chance", _classified(chance(gold, labels=LABELS), None)),
        ]
    drawn = [train[index].answer for index in generator.integers(len(train), size=len(records))]
    random = Arm("random", score_texts(drawn, records))
    if isinstance(records[0], Dialogue):
        lead = [" ".join(one.dialogue.splitlines()[:LEAD_TURNS]) for one in records]
        return [random, Arm(f"first {LEAD_TURNS} turns", score_texts(lead, records))]
    answers = [one.answer.rpartition("#### ")[2] for one in train]
    most = max(sorted(set(answers)), key=answers.count)
    return [random, Arm("majority", score_texts([f"#### {most}"] * len(records), records))]


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Each item's mean over several prompts."""
    names = outcomes[0].values
    return Outcome({name: np.mean([one.values[name] for one in outcomes], 0) for name in names})


def order_spread(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The standard deviation over prompts of each metric's mean."""
    names = outcomes[0].values
    return {
        f"{name}_sd": float(np.std([one.values[name].mean() for one in outcomes], ddof=1))
        for name in names
    }


def arm_scores(arm: Arm, task: Task) -> list[Scored]:
    """Its item values."""
    return [
        Scored(
            task,
            metric,
            values,
            arm=arm.name,
            part=arm.part,
            weights=arm.weights,
            training_step=arm.training_step,
            unit=_unit(metric),
            at=arm.at,
        )
        for metric, values in arm.outcome.values.items()
    ]


def arm_records(
    arm: Arm, task: Task, config: Config, run: Run, *, step: str = STEP
) -> list[Record]:
    """The mean of its items by metric, and what is known of the whole."""
    found = [replace(one, step=step) for one in scored_records(arm_scores(arm, task), config, run)]
    for metric, value in arm.outcome.whole.items():
        interval = arm.outcome.macro_f1_interval if metric == "macro_f1" else None
        record = replace(
            found[0],
            metric=metric,
            value=value,
            unit=_unit(metric),
            better="lower" if metric.endswith(("_sd", "unparsable")) else "higher",
            interval=interval,
            interval_method="bootstrap" if interval else None,
        )
        found.append(record)
    return found


def arm_items(arm: Arm, task: Task, config: Config) -> list[Item]:
    """What a paired test needs."""
    return scored_items(arm_scores(arm, task), config)


def arm_errors(arms: Sequence[Arm], task: Task) -> dict[str, list[dict[str, Any]]]:
    """File name -> the wrong answers of all arms; summaries have none."""
    errors: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        score = next(iter(arm.outcome.values))
        if score not in METRICS:
            found = errors.setdefault(error_name(task.name, score), [])
            found += arm.outcome.errors(arm.checkpoint)
    return errors


def _unit(metric: str) -> Literal["items", "share", "F", "examples"]:
    if metric == "num_unparsable":
        return "items"
    if metric == "shots_shown":
        return "examples"
    return "F" if metric.removesuffix("_sd") in (*METRICS, "macro_f1") else "share"


def _classified(
    found: Classification,
    draws: int | None,
    errors: Callable[[str], list[dict[str, Any]]] = lambda _: [],
) -> Outcome:
    whole = {"macro_f1": found.macro_f1, "num_unparsable": float(found.num_unparsable)}
    interval = None if draws is None else _macro_f1_interval(found, draws)
    return Outcome({"accuracy": found.values}, whole, interval, errors)


def _macro_f1_interval(found: Classification, draws: int) -> tuple[float, float]:
    """Percentiles over items drawn again: of each (label, answer) as a multinomial gives."""
    cells = found.confusion
    count = int(cells.sum())
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, cells.ravel() / count, size=draws)
    scores = [
        replace(found, confusion=one.reshape(cells.shape).astype(np.float64)).macro_f1
        for one in drawn
    ]
    low, high = np.percentile(np.array(scores), [2.5, 97.5])
    return float(low), float(high)
