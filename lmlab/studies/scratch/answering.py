"""How each stage answers instructions and problems, and what choosing among samples buys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from lmlab.data.instruct import render_prompt
from lmlab.data.schema import TaskConfig
from lmlab.data.tasks.load import load_instructions, load_problems
from lmlab.data.tasks.records import TaskSplit
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine import checkpoint
from lmlab.engine.device import prepare_scoring
from lmlab.engine.run import Run
from lmlab.metrics.answers import score_answers
from lmlab.metrics.best_of_n import best_of_n, majority_vote, pass_at_n, random_choice
from lmlab.models.decoder import Decoder
from lmlab.models.schema import GenerationSettings
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.exports import wrong_answers
from lmlab.studies.scratch.inference import answer_greedily
from lmlab.studies.scratch.model import TrainedDecoder
from lmlab.studies.scratch.scored import Scored, Task, of_stage, stage_checkpoint
from lmlab.studies.scratch.solve import read_solutions
from lmlab.studies.scratch.verifier import Verifier, judge, verify

SPLIT = "test"


@dataclass(frozen=True)
class Asked:
    """Records under the name of their task, and the prompt of each."""

    name: str
    data: TaskSplit[Any]
    prompts: list[str]


@dataclass(frozen=True)
class Answered:
    """What a stage wrote for the records that fit its context, and which of them ended by EOS."""

    stage: str
    task: Task
    texts: list[str]
    ended: Float64[np.ndarray, "items"]
    records: list[Any]


def answer_instructions(
    config: Config, decoders: Mapping[str, TrainedDecoder], *, tokenizer: TextTokenizer
) -> list[Scored]:
    """The share of responses that are the reference to the letter, and of those that end."""
    assert config.sft is not None
    data = load_instructions(config.sft.data, SPLIT)
    prompts = [render_prompt(one.instruction, one.input) for one in data.records]
    found = []
    asked = Asked("instructions", data, prompts)
    for one in _answers(asked, config, decoders, tokenizer=tokenizer):
        both = zip(one.texts, one.records, strict=True)
        right = [text.strip() == record.response.strip() for text, record in both]
        mine = of_stage(one.stage, decoders[one.stage])
        found += [
            Scored(one.task, "response_exact_match", np.array(right, np.float64), **mine),
            Scored(one.task, "stop_rate", one.ended, **mine),
        ]
    return found


def answer_problems(
    config: Config,
    data: TaskConfig,
    decoders: Mapping[str, TrainedDecoder],
    *,
    tokenizer: TextTokenizer,
) -> list[Scored]:
    """The share of problems whose greedy solution ends in the right answer."""
    problems = load_problems(data, SPLIT)
    prompts = [render_prompt(one.question) for one in problems.records]
    found = []
    asked = Asked("problems", problems, prompts)
    for one in _answers(asked, config, decoders, tokenizer=tokenizer):
        scores = score_answers(
            one.texts,
            [record.solution for record in one.records],
            item_ids=one.task.item_ids,
            rule="official",
        )
        trained = decoders[one.stage]
        errors = wrong_answers(
            stage_checkpoint(one.stage, trained),
            scores,
            item_ids=one.task.item_ids,
            questions=[record.question for record in one.records],
            outputs=one.texts,
            solutions=[record.solution for record in one.records],
        )
        mine = of_stage(one.stage, trained)
        found.append(Scored(one.task, "exact_match", scores.values, errors=errors, **mine))
    return found


def choose_solutions(config: Config, run: Run, *, tokenizer: TextTokenizer) -> list[Scored]:
    """Best-of-N by the verifier, between a random choice and a perfect one, and by majority."""
    assert config.verifier is not None
    solved, settings = read_solutions(run, SPLIT), config.verifier
    path = checkpoint.find(run.part("verifier").checkpoints, "last")
    decoder = Decoder(config.model, vocab_size=tokenizer.vocab_size)
    verifier = Verifier(decoder).to(prepare_scoring(config.device))
    weights = checkpoint.load_weights(path, {"verifier": verifier})
    judged = judge(solved, settings, tokenizer=tokenizer)
    shape = (len(solved), settings.samples)
    scores = verify(verifier.eval(), judged, labels=settings.labels).reshape(shape)
    correct = np.array([[each.correct for each in one.solutions] for one in solved])
    answers = [[each.answer for each in one.solutions] for one in solved]
    data = load_problems(settings.data, SPLIT)
    sampling = settings.sampling.model_dump(mode="json")
    protocol = {"samples": settings.samples, "sampling": sampling, "rule": "official"}
    task = Task("problems", data, protocol, [one.problem.id for one in solved])
    step = int(path.name.removeprefix("step_"))
    found = []
    for n in _counts(settings.samples):
        arms = {
            "verifier": best_of_n(correct, scores, n=n),
            "majority": majority_vote(answers, correct, n=n),
            "random": random_choice(correct),
            "oracle": pass_at_n(correct, n=n),
        }
        found += [
            Scored(
                task,
                "best_of_n",
                values,
                arm=arm,
                part="verifier",
                weights={"verifier": weights} if arm == "verifier" else {},
                training_step=step if arm == "verifier" else None,
                at={"n": n},
            )
            for arm, values in arms.items()
        ]
    return found


def _counts(samples: int) -> list[int]:
    """1, 2, 4 ... and all of them."""
    return sorted({2**power for power in range(samples.bit_length())} | {samples})


def _answers(
    asked: Asked,
    config: Config,
    decoders: Mapping[str, TrainedDecoder],
    *,
    tokenizer: TextTokenizer,
) -> Iterator[Answered]:
    """Every stage's answers, to the records whose prompt leaves room for one."""
    data = asked.data
    settings = GenerationSettings(temperature=0.0, max_new_tokens=config.evaluate.answer_tokens)
    ids = [[*tokenizer.start_ids, *one] for one in tokenizer.encode_batch(asked.prompts)]
    room = config.model.context_tokens - settings.max_new_tokens
    kept = [row for row, one in enumerate(ids) if len(one) <= room][: config.evaluate.max_answers]
    if not kept:
        raise ValueError(f"no prompt of {data.name} ({data.split}) fits beside the answer's tokens")
    protocol = {
        "prompt": "instruction",
        "generation": settings.model_dump(mode="json"),
        "tokenizer": tokenizer.sha256,
        "items": len(kept),
    }
    task = Task(asked.name, data, protocol, [data.records[row].id for row in kept])
    for stage, trained in decoders.items():
        made = answer_greedily(
            trained.model, [ids[row] for row in kept], tokenizer=tokenizer, settings=settings
        )
        ended = np.array([one.reason == "eos" for one in made], np.float64)
        texts = [tokenizer.decode(one.tokens) for one in made]
        yield Answered(stage, task, texts, ended, [data.records[row] for row in kept])
