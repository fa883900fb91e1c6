"""Prompted models: the same questions after several draws and orders of examples, and their mean.

A class is chosen by the log-probability of its label word, with and without contextual calibration
(Zhao et al. 2021); summaries and solutions are written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from lmlab.metrics.classification import CONTENT_FREE, calibrate, label_tokens, likeliest
from lmlab.studies.scratch.baselines_config import PromptConfig
from lmlab.studies.scratch.outcomes import Outcome, mean_outcome, order_spread
from lmlab.studies.scratch.prompting import (
    LABELS,
    Prompt,
    Question,
    TaskName,
    build_prompt,
    draw_shots,
    prompt_end,
)

Answers = Sequence[str | None]


@runtime_checkable
class Reader(Protocol):
    """A language model that reads prompts."""

    def encode(self, text: str) -> list[int]:
        """A prompt's ids."""
        ...

    def encode_after(self, before: str, text: str) -> list[int]:
        """The ids of `text` where `before` stands before it."""
        ...

    def label_log_probs(
        self, prompts: Sequence[list[int]], tokens: Int64[np.ndarray, "labels"]
    ) -> Float64[np.ndarray, "prompts labels"]:
        """log p of each token as the next one."""
        ...

    def write(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, num_beams: int
    ) -> list[str]:
        """Continuations."""
        ...


@dataclass(frozen=True)
class Asking:
    """What is asked of whom: prompts of at most `room` tokens, examples from `train`."""

    task: TaskName
    reader: Reader
    room: int
    asked: Sequence[Question]
    train: Sequence[Question]
    max_new_tokens: int
    num_beams: int


@dataclass(frozen=True)
class Prompted:
    """What a way of prompting gave, and which way it was."""

    at: Mapping[str, str | int | float]
    outcome: Outcome


def prompt_each_way(
    asking: Asking, entry: PromptConfig, *, score: Callable[[Answers], Outcome]
) -> Iterator[Prompted]:
    """Each draw and order of examples by itself; then, where there are several, their mean."""
    by_calibration: dict[str, list[Outcome]] = {}
    for seeds in _seeds(entry):
        shots = draw_shots(
            asking.train, num_shots=entry.num_shots, asked=asking.asked, **_drawn(seeds)
        )
        prompts = [_prompt(asking, one.text, shots) for one in asking.asked]
        for calibration, answers in _answer(asking, prompts, shots).items():
            scored = score(answers)
            outcome = replace(scored, whole=scored.whole | _shown(prompts, entry))
            by_calibration.setdefault(calibration, []).append(outcome)
            yield Prompted(_place(entry, calibration) | seeds, outcome)
    for calibration, outcomes in by_calibration.items():
        if len(outcomes) > 1:
            mean = replace(mean_outcome(outcomes), whole=order_spread(outcomes))
            yield Prompted(_place(entry, calibration) | {"prompts": len(outcomes)}, mean)


def calibrated_log_probs(
    asking: Asking, prompts: Sequence[Prompt], shots: Sequence[Question]
) -> dict[str, Float64[np.ndarray, "items labels"]]:
    """Of the label words after each prompt: as they are, and less what the prompt favours.

    What it favours is asked of the prompt with the same examples and an input that says nothing.
    """
    end = prompt_end(asking.task)
    tokens = label_tokens(LABELS, encode=lambda word: asking.reader.encode_after(end, word))
    plain = asking.reader.label_log_probs([one.ids for one in prompts], tokens)
    calibrated = np.empty_like(plain)
    counts = np.array([one.num_shots for one in prompts])
    for count in np.unique(counts):
        free = [_prompt(asking, text, shots[len(shots) - count :]).ids for text in CONTENT_FREE]
        rows = counts == count
        calibrated[rows] = calibrate(plain[rows], asking.reader.label_log_probs(free, tokens))
    return {"none": plain, "contextual": calibrated}


def _answer(
    asking: Asking, prompts: Sequence[Prompt], shots: Sequence[Question]
) -> dict[str, Answers]:
    """By the kind of calibration; texts have none."""
    if asking.task == "reviews":
        scores = calibrated_log_probs(asking, prompts, shots)
        return {name: likeliest(one, labels=LABELS) for name, one in scores.items()}
    ids = [one.ids for one in prompts]
    written = asking.reader.write(
        ids, max_new_tokens=asking.max_new_tokens, num_beams=asking.num_beams
    )
    return {"": list(written)}


def _prompt(asking: Asking, text: str, shots: Sequence[Question]) -> Prompt:
    encode, room = asking.reader.encode, asking.room
    return build_prompt(asking.task, text, shots, encode=encode, room=room)


def _seeds(entry: PromptConfig) -> list[dict[str, int]]:
    """Draws and orders; without examples there is nothing to vary."""
    if entry.num_shots == 0:
        return [{}]
    orders = entry.order_seeds if entry.num_shots > 1 else entry.order_seeds[:1]
    return [{"shot_seed": a, "order_seed": b} for a in entry.shot_seeds for b in orders]


def _drawn(seeds: Mapping[str, int]) -> dict[str, int]:
    return {"shot_seed": 0, "order_seed": 0, **seeds}


def _place(entry: PromptConfig, calibration: str) -> dict[str, str | int | float]:
    kind = {"calibration": calibration} if calibration else {}
    return {"num_shots": entry.num_shots, **kind}


def _shown(prompts: Sequence[Prompt], entry: PromptConfig) -> dict[str, float]:
    """How many of the examples fitted before an item, on average."""
    shown = np.mean([one.num_shots for one in prompts])
    return {"shots_shown": float(shown)} if entry.num_shots else {}
