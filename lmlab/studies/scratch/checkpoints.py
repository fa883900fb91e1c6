"""A run's decoders over their training: perplexity of held-out text, and fixed prompts continued.

Of pretraining these are the checkpoints that were kept (`pretrain.checkpoint`); of later stages,
what the stage ended with.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lmlab.data.text import load_documents
from lmlab.engine import checkpoint
from lmlab.engine.records import Record
from lmlab.engine.run import Part
from lmlab.studies.scratch.inference import OpenedDecoder, continue_prompts
from lmlab.studies.scratch.model import TrainedDecoder, load_trained
from lmlab.studies.scratch.perplexity import Arm, measure_decoder, text_records
from lmlab.studies.scratch.setting import Setting

log = logging.getLogger(__name__)

SPLIT = "validation"
# Not the stage's own: gates and comparisons mean one decoder by that name, not several.
ARM = "checkpoint"


@dataclass(frozen=True)
class Saved:
    """The decoder of one checkpoint of a stage."""

    stage: str
    part: Part
    decoder: TrainedDecoder

    @property
    def name(self) -> str:
        """As tables and files call it."""
        return f"{self.stage}/step_{self.decoder.step:08d}"


@dataclass(frozen=True)
class Followed:
    """What was measured over a training, and a row of continuations for each checkpoint."""

    records: list[Record]
    samples: list[dict[str, Any]]


def follow_training(setting: Setting) -> Followed:
    """Perplexity of the validation text over pretraining; continuations over all stages."""
    text = load_documents(setting.config.data, SPLIT)
    arms, samples = [], []
    for saved in saved_decoders(setting):
        # First, since a prompt that is too long should not cost a measurement.
        if setting.config.evaluate.prompts:
            samples.append(continuations(saved, setting))
        if saved.stage == "pretrain":
            arms.append(measure_decoder(ARM, setting, text, saved.decoder))
            log.info("%s %s: %.2f a word", SPLIT, saved.name, arms[-1].perplexity.per_word)
    records = [record for arm in arms for record in text_records(arm, setting, text)]
    return Followed([*records, _count(records[0], arms[0])], samples)


def saved_decoders(setting: Setting) -> Iterator[Saved]:
    """One after another, so that no more than one beside those of the setting is in memory."""
    every = setting.config.evaluate.checkpoints == "kept"
    for stage, decoder in setting.decoders.items():
        part = setting.run.part(stage)
        for step in _kept_steps(part) if every and stage == "pretrain" else [decoder.step]:
            yield Saved(stage, part, _load(setting, part, step, known=decoder))


def continuations(saved: Saved, setting: Setting) -> dict[str, Any]:
    """The configured prompts, continued with the same random numbers whatever the checkpoint."""
    config = setting.config
    opened = OpenedDecoder(saved.decoder, setting.tokenizer, saved.part)
    prompts, sampling = config.evaluate.prompts, config.evaluate.sampling
    texts = continue_prompts(opened, prompts, settings=sampling, seed=config.seed)
    return {
        "run_name": setting.run.reference,
        "checkpoint": saved.name,
        "checkpoint_sha256": saved.decoder.weights,
        "seed": config.seed,
        "settings": sampling.model_dump(mode="json"),
        "samples": dict(zip(prompts, texts, strict=True)),
    }


def _count(beside: Record, arm: Arm) -> Record:
    """How many tokens were scored: as many of every checkpoint, so that it belongs to the text."""
    return replace(
        beside,
        arm=f"{SPLIT} text",
        training_step=None,
        metric="measured_tokens",
        unit="tokens",
        better="higher",
        value=float(arm.perplexity.num_tokens.sum()),
        interval=None,
        interval_method="exact",
        weights={},
        weightless=True,
    )


def _kept_steps(part: Part) -> list[int]:
    """In order, but for those after the last that is whole, of which its loading has warned."""
    last = checkpoint.find(part.checkpoints, "last").name
    kept = checkpoint.checkpoints(part.checkpoints)
    return sorted(step for step, path in kept if path.name <= last)


def _load(setting: Setting, part: Part, step: int, *, known: TrainedDecoder) -> TrainedDecoder:
    if step == known.step:
        return known
    return load_trained(
        part,
        setting.config.model,
        vocab_size=setting.tokenizer.vocab_size,
        at=str(step),
        device=str(known.model.head_weight.device),
    )
