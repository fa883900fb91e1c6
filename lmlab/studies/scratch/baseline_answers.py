"""The run's own decoders on the baselines' task: asked in the same words, scored the same way."""

import logging
from collections.abc import Mapping

from lmlab.data.tokenizer import TextTokenizer
from lmlab.metrics.classification import parse_label
from lmlab.models.schema import GenerationSettings
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.inference import answer_greedily
from lmlab.studies.scratch.model import TrainedDecoder
from lmlab.studies.scratch.outcomes import Arm, score_reviews, score_texts
from lmlab.studies.scratch.prompting import LABELS, answer_of, load_records, question, render
from lmlab.studies.scratch.scored import Task, of_stage
from lmlab.studies.scratch.trial import item_task

log = logging.getLogger(__name__)

# A label is looked for in as many tokens; their own pieces may cut its word into several.
LABEL_TOKENS = 10


def answer_baseline_task(
    config: Config, decoders: Mapping[str, TrainedDecoder], *, tokenizer: TextTokenizer
) -> tuple[Task, list[Arm]]:
    """Every stage's greedy answers without examples; for a class the first label word counts.

    No arm where the decoders' context holds no question with its answer: a log line says so.
    """
    settings = config.baselines
    assert settings is not None
    data = load_records(settings, settings.split)
    new = LABEL_TOKENS if settings.task == "reviews" else settings.max_new_tokens
    prompts = [render(settings.task, question(one).text) for one in data.records]
    read = [
        (record, ids)
        for record, prompt in zip(data.records, prompts, strict=True)
        if len(ids := [*tokenizer.start_ids, *tokenizer.encode(prompt)]) + new
        <= config.model.context_tokens
    ][: settings.max_items]
    records = [record for record, _ in read]
    task = item_task(settings, data, records)
    if not records:
        log.warning("no %s item fits model.context_tokens beside %d new tokens", data.name, new)
        return task, []
    at = {"task": settings.name, "num_shots": 0, "answer": "greedy text"}
    greedy = GenerationSettings(temperature=0.0, max_new_tokens=new)
    arms = []
    for stage, trained in decoders.items():
        made = answer_greedily(
            trained.model, [ids for _, ids in read], tokenizer=tokenizer, settings=greedy
        )
        texts = [answer_of(tokenizer.decode(one.tokens)) for one in made]
        if settings.task == "reviews":
            labels = [parse_label(text, labels=LABELS) for text in texts]
            outcome = score_reviews(labels, records, draws=config.evaluate.bootstrap_draws)
        else:
            outcome = score_texts(texts, records)
        whose = of_stage(stage, trained)
        arms.append(Arm(whose.pop("arm"), outcome, at=at, **whose))
    return task, arms
