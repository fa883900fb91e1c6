"""One evaluation of the baselines: the items that fit every model, and each arm's answers."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lmlab.data.tasks.records import TaskSplit
from lmlab.engine import checkpoint
from lmlab.engine.device import choose_device
from lmlab.engine.run import Run
from lmlab.metrics.classification import likeliest
from lmlab.models.adapt import adapt
from lmlab.models.complete import Completer
from lmlab.models.pretrained import (
    Pretrained,
    build_untrained,
    context_tokens,
    load_pretrained,
    load_pretrained_tokenizer,
)
from lmlab.models.schema import PretrainedConfig
from lmlab.studies.scratch.baselines_config import AdaptConfig, BaselinesConfig, PromptConfig
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.outcomes import (
    RULES,
    STEP,
    Arm,
    Outcome,
    controls,
    score_reviews,
    score_texts,
)
from lmlab.studies.scratch.prompted import Asking, prompt_each_way
from lmlab.studies.scratch.prompting import (
    LABELS,
    TEMPLATES,
    Question,
    load_records,
    question,
    render,
)
from lmlab.studies.scratch.scored import Task


@dataclass(frozen=True)
class Trial:
    """What all arms share."""

    config: Config
    settings: BaselinesConfig
    run: Run

    @property
    def device(self) -> str:
        """Where models answer."""
        return choose_device(self.config.device.kind)

    @cached_property
    def data(self) -> TaskSplit[Any]:
        """The split that is scored."""
        return load_records(self.settings, self.settings.split)

    @cached_property
    def train(self) -> list[Question]:
        """What examples are drawn from, and all that controls know."""
        return [question(one) for one in load_records(self.settings, "train").records]

    @cached_property
    def records(self) -> list[Any]:
        """The same items for every arm: the first of those whose question fits every model."""
        fitting = list(self.data.records)
        for entry in (*self.settings.adapt.values(), *self.settings.prompting.values()):
            tokenizer = load_pretrained_tokenizer(entry.model)
            prompts = [render(self.settings.task, question(one).text) for one in fitting]
            lengths = [len(tokenizer(one)["input_ids"]) for one in prompts]  # type: ignore[arg-type]
            room = self._room(entry)
            fitting = [one for one, length in zip(fitting, lengths, strict=True) if length <= room]
        if not fitting:
            raise ValueError(f"no item of {self.data.name} fits every model; set max_tokens higher")
        return fitting[: self.settings.max_items]

    @cached_property
    def task(self) -> Task:
        """What the numbers are compared under, equal for all arms."""
        return item_task(self.settings, self.data, self.records)

    def arms(self) -> Iterator[Arm]:
        """Controls first; then each entry, with its architecture untrained beside it."""
        draws, generator = self._draws, np.random.default_rng(self.config.seed)
        yield from map(
            self._named, controls(self.records, self.train, generator=generator, draws=draws)
        )
        untrained: set[PretrainedConfig] = set()
        for name, entry in self.settings.adapt.items():
            yield self._named(self._adapted(name, entry))
            if entry.model not in untrained:
                untrained.add(entry.model)
                yield self._named(self._untrained(name, entry))
        for name, entry in self.settings.prompting.items():
            yield from map(self._named, self._prompted(name, entry))

    @property
    def _draws(self) -> int:
        return self.config.evaluate.bootstrap_draws

    def _named(self, arm: Arm) -> Arm:
        return replace(arm, at={"task": self.settings.name, **arm.at})

    def _adapted(self, name: str, entry: AdaptConfig) -> Arm:
        part = self.run.part(f"{STEP}/{name}")
        base = load_base(self.config, entry)
        adapted = adapt(base, entry.method, seed=self.config.seed)
        adapted.trained.to(self.device).eval()
        path = checkpoint.find(part.checkpoints, "last")
        trained = checkpoint.load_weights(path, {"adapter": adapted.trained})
        outcome = self._score(self._answers(replace(base, model=adapted.model)))
        step = int(path.name.removeprefix("step_"))
        return Arm(name, outcome, part.name, {**base.weights, "adapter": trained}, step)

    def _untrained(self, name: str, entry: AdaptConfig) -> Arm:
        model = build_untrained(
            entry.model, labels=self._labels, device=self.device, seed=self.config.seed
        )
        outcome = self._score(self._answers(model))
        return Arm(f"{name} untrained", outcome, weights=model.weights)

    def _prompted(self, name: str, entry: PromptConfig) -> Iterator[Arm]:
        model = load_pretrained(entry.model, device=self.device, seed=self.config.seed)
        check_context(model, entry.max_tokens)
        for one in prompt_each_way(self._asking(model, entry), entry, score=self._score):
            yield Arm(name, one.outcome, weights=model.weights, at=one.at)
        random = build_untrained(entry.model, device=self.device, seed=self.config.seed)
        seeds = {"shot_seeds": entry.shot_seeds[:1], "order_seeds": entry.order_seeds[:1]}
        once = entry.model_copy(update=seeds)
        for one in prompt_each_way(self._asking(random, entry), once, score=self._score):
            yield Arm(f"{name} untrained", one.outcome, weights=random.weights, at=one.at)

    def _asking(self, model: Pretrained, entry: PromptConfig) -> Asking:
        return Asking(
            self.settings.task,
            Completer(model, self.settings.batch_size),
            room=self._room(entry),
            asked=[question(one) for one in self.records],
            train=self.train,
            max_new_tokens=self.settings.max_new_tokens,
            num_beams=self.settings.num_beams,
        )

    def _answers(self, model: Pretrained) -> list[str | None]:
        """Of a model that was trained for the task: classes of the bare text, or what it writes."""
        completer = Completer(model, self.settings.batch_size)
        asked = [question(one).text for one in self.records]
        if self.settings.task == "reviews":
            ids = [completer.encode(text) for text in asked]
            return likeliest(completer.class_log_probs(ids), labels=LABELS)
        ids = [completer.encode(render(self.settings.task, text)) for text in asked]
        new, beams = self.settings.max_new_tokens, self.settings.num_beams
        return [*completer.write(ids, max_new_tokens=new, num_beams=beams)]

    def _score(self, answers: Sequence[str | None]) -> Outcome:
        if self.settings.task == "reviews":
            return score_reviews(answers, self.records, draws=self._draws)
        return score_texts([text or "" for text in answers], self.records)

    @property
    def _labels(self) -> tuple[str, ...]:
        return LABELS if self.settings.task == "reviews" else ()

    def _room(self, entry: AdaptConfig | PromptConfig) -> int:
        """What a prompt may have beside its answer."""
        written = self.settings.task != "reviews"
        return entry.max_tokens - (self.settings.max_new_tokens if written else 1)


def item_task(settings: BaselinesConfig, data: TaskSplit[Any], records: Sequence[Any]) -> Task:
    """The task on some of a split's records: which ones is part of the protocol."""
    written = {"max_new_tokens": settings.max_new_tokens, "num_beams": settings.num_beams}
    ids = [one.id for one in records]
    protocol = {
        "task": settings.task,
        "prompt_template": TEMPLATES[settings.task],
        **RULES[settings.task],
        **({} if settings.task == "reviews" else written),
        "items": len(ids),
        "item_ids": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16],
    }
    return Task(settings.name, data, protocol, ids)


def load_base(config: Config, entry: AdaptConfig) -> Pretrained:
    """What an entry's training starts from; for reviews with a class head."""
    assert config.baselines is not None
    labels = LABELS if config.baselines.task == "reviews" else ()
    base = load_pretrained(entry.model, labels=labels, seed=config.seed)
    check_context(base, entry.max_tokens)
    return base


def check_context(model: Pretrained, max_tokens: int) -> None:
    """Raises ValueError where a model was made for fewer positions."""
    context = context_tokens(model.model.config)  # type: ignore[arg-type]
    if context is not None and max_tokens > context:
        raise ValueError(
            f"max_tokens={max_tokens} is more than the {context} positions of {model.name}"
        )
