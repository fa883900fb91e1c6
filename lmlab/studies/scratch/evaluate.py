"""What a trained decoder learned: perplexity beside its controls, and samples."""

import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmlab.data.text import TextSplit, load_documents
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.checkpoint import module_tensors
from lmlab.engine.device import seed_everything
from lmlab.engine.items import write_items
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Results, Run, write_text
from lmlab.engine.steps import evaluation_results
from lmlab.engine.weights import weights_hash
from lmlab.metrics.language import (
    Corpus,
    Encode,
    Encoded,
    Perplexity,
    measure_ngrams,
    measure_perplexity,
    word_encoder,
)
from lmlab.metrics.ngrams import NgramModel, fit_ngrams, word_vocabulary
from lmlab.metrics.protocols import PerplexityProtocol, Unit
from lmlab.metrics.stats import Transform, bootstrap_ratio
from lmlab.models.decoder import Decoder
from lmlab.models.loss import token_nll
from lmlab.studies.scratch.answering import (
    answer_instructions,
    answer_problems,
    choose_solutions,
)
from lmlab.studies.scratch.baseline_answers import answer_baseline_task
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.inference import OpenedDecoder, continue_prompts
from lmlab.studies.scratch.model import TrainedDecoder, build_decoder, load_trained
from lmlab.studies.scratch.overlap import (
    contamination_items,
    contamination_records,
    measure_contamination,
)
from lmlab.studies.scratch.preferences import judge_preferences
from lmlab.studies.scratch.prepare import Prepared, load_prepared, load_training_text
from lmlab.studies.scratch.scored import Scored, scored_items, scored_records
from lmlab.studies.scratch.stage import stages_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arm:
    """A model or control with its perplexity; no weights where it has none.

    `protocol` is what its numbers are compared under.
    """

    name: str
    perplexity: Perplexity
    protocol: PerplexityProtocol
    weights: str | None
    training_step: int | None
    part: str = "pretrain"


@dataclass(frozen=True)
class Setting:
    """What every measurement of one evaluation shares."""

    config: Config
    run: Run
    prepared: Prepared
    tokenizer: TextTokenizer
    # By stage: the pretrained decoder first, then what later stages made of it.
    decoders: Mapping[str, TrainedDecoder]

    @property
    def trained(self) -> TrainedDecoder:
        """The pretrained decoder."""
        return self.decoders["pretrain"]

    @cached_property
    def training(self) -> TextSplit:
        """The text that the model was trained on."""
        return load_training_text(self.config, self.prepared)

    @cached_property
    def ngrams(self) -> "Ngrams":
        """What the n-gram arms count, fitted once however many texts they score."""
        return _fit(self)


def evaluate(config: Config, run: Run) -> None:
    """Score every split asked for, write records, items and samples."""
    seed_everything(config.seed)
    prepared = load_prepared(run)
    tokenizer = prepared.tokenizer
    decoders = {
        stage: load_trained(
            run.part(stage),
            config.model,
            vocab_size=tokenizer.vocab_size,
            # Later stages start from the last weights of the one before, and end with their own.
            at=config.evaluate.checkpoint if stage == "pretrain" else "last",
        )
        for stage in stages_of(config)
    }
    setting = Setting(config, run, prepared, tokenizer, decoders)
    results = evaluation_results("evaluate", config, run)
    # First, since a prompt that is too long should not cost a measurement.
    write_samples(setting, results)
    records: list[Record] = []
    for split in config.evaluate.splits:
        text = load_documents(config.data, split)
        arms = measure_arms(setting, text)
        records += [one for arm in arms for one in arm_records(arm, setting, text)]
        items = [one for arm in arms for one in arm_items(arm, setting, text)]
        write_items(results.items_path(f"{split}_nll"), items)
        found = measure_contamination(config.data, split, text, setting.training)
        records += contamination_records(found, config, run, data=_data(setting, text))
        contained = contamination_items(found, seed=config.seed)
        write_items(results.items_path(f"{split}_overlap"), contained)
    stages = list(_judge_stages(setting))
    if stages:
        write_items(results.items_path("stages"), scored_items(stages, config))
    results.replace("evaluate", records + scored_records(stages, config, run))


def measure_arms(setting: Setting, text: TextSplit) -> list[Arm]:
    """The trained decoder, the same decoder untrained, a unigram and an n-gram model."""
    config, trained = setting.config, setting.trained
    untrained = build_decoder(
        config.model, vocab_size=setting.tokenizer.vocab_size, seed=config.seed
    ).eval()
    start = weights_hash(module_tensors({"decoder": untrained}))
    arms = [
        _decoder_arm("trained", setting, text, trained),
        _decoder_arm("untrained", setting, text, TrainedDecoder(untrained, start, 0)),
    ]
    arms += [
        _decoder_arm(stage, setting, text, decoder, part=stage)
        for stage, decoder in setting.decoders.items()
        if stage != "pretrain"
    ]
    arms += _ngram_arms(setting, text, beside=arms[0].protocol)
    for arm in arms:
        log.info("%s %s: %.2f a word", text.split, arm.name, arm.perplexity.per_word)
    return arms


def arm_records(arm: Arm, setting: Setting, text: TextSplit) -> list[Record]:
    """Perplexity a word, a token, and bits a byte, each with its interval over documents."""
    config, found = setting.config, arm.perplexity
    generator = np.random.default_rng(config.seed)
    figures: dict[Unit, tuple[str, float, np.ndarray, Transform | None]] = {
        "word": ("word_perplexity", found.per_word, found.num_words, np.exp),
        "byte": ("bits_per_byte", found.bits_per_byte, found.num_bytes * np.log(2), None),
    }
    if arm.protocol.unit == "token":
        figures["token"] = ("token_perplexity", found.per_token, found.num_tokens, np.exp)
    records = []
    for per, (metric, value, counts, transform) in figures.items():
        interval = bootstrap_ratio(
            found.nll,
            counts,
            draws=config.evaluate.bootstrap_draws,
            generator=generator,
            transform=transform,
        )
        records.append(
            Record(
                study=config.study,
                run=setting.run.reference,
                part=arm.part,
                step="evaluate",
                training_step=arm.training_step,
                arm=arm.name,
                at={"split": text.split},
                metric=metric,
                unit="bits" if per == "byte" else f"1 per {per}",
                better="lower",
                value=value,
                n=len(text.documents),
                n_error=0,
                interval=(interval.low, interval.high),
                interval_method=interval.method,
                protocol=arm.protocol.as_record(per=per),
                data={**_data(setting, text), "tokenizer": arm.protocol.tokenizer},
                data_kind=text.data_kind,
                weights={} if arm.weights is None else {"decoder": arm.weights},
                weightless=arm.weights is None,
                seed=config.seed,
                dev=config.dev,
                command=shlex.join(command_line()),
                commit=code_state()["commit"],
            )
        )
    return records


def arm_items(arm: Arm, setting: Setting, text: TextSplit) -> list[Item]:
    """NLL of each document over its words, so that two runs can be compared pairwise."""
    return [
        Item(
            part=arm.part,
            arm=arm.name,
            at={"split": text.split},
            metric="nll_per_word",
            item_id=str(index),
            cluster_id=str(index),
            seed=setting.config.seed,
            value=float(value),
            weight=float(words),
        )
        for index, (value, words) in enumerate(
            zip(arm.perplexity.nll, arm.perplexity.num_words, strict=True)
        )
    ]


def write_samples(setting: Setting, results: Results) -> None:
    """Continuations of the configured prompts, as `exports/lm_generation_samples.json`."""
    config, run = setting.config, setting.run
    if not config.evaluate.prompts:
        return
    opened = OpenedDecoder(setting.trained, setting.tokenizer, run.part("pretrain"))
    sampling = config.evaluate.sampling
    texts = continue_prompts(opened, config.evaluate.prompts, settings=sampling, seed=config.seed)
    row = {
        "run_name": run.reference,
        "checkpoint": f"step_{setting.trained.step:08d}",
        "checkpoint_sha256": setting.trained.weights,
        "seed": config.seed,
        "settings": sampling.model_dump(mode="json"),
        "samples": dict(zip(config.evaluate.prompts, texts, strict=True)),
    }
    text = json.dumps([row], indent=1, ensure_ascii=False)
    write_text(results.export("lm_generation_samples.json"), text)


def _judge_stages(setting: Setting) -> Iterator[Scored]:
    """What the stages after pretraining were trained for, of every decoder."""
    config, tokenizer, decoders = setting.config, setting.tokenizer, setting.decoders
    if config.sft is not None:
        yield from answer_instructions(config, decoders, tokenizer=tokenizer)
        if config.sft.problems is not None:
            yield from answer_problems(config, config.sft.problems, decoders, tokenizer=tokenizer)
    if config.dpo is not None:
        yield from judge_preferences(config, decoders, tokenizer=tokenizer)
    if config.baselines is not None:
        yield from answer_baseline_task(config, decoders, tokenizer=tokenizer)
    if config.verifier is not None:
        yield from choose_solutions(config, setting.run, tokenizer=tokenizer)


def _decoder_arm(
    name: str,
    setting: Setting,
    text: TextSplit,
    decoder: TrainedDecoder,
    *,
    part: str = "pretrain",
) -> Arm:
    """In float32: a bf16 log-probability is off in its third digit."""
    config, tokenizer = setting.config, setting.tokenizer
    window = config.evaluate.window_tokens or config.model.context_tokens
    whole = _protocol(setting, text, unit="token", tokenizer=tokenizer.sha256)
    rolling = {
        "windows": "rolling",
        "window_tokens": window,
        "stride_tokens": config.evaluate.stride_tokens or max(1, window // 2),
    }
    protocol = PerplexityProtocol.model_validate(whole | rolling)
    found = measure_perplexity(
        _corpus(text),
        protocol=protocol,
        encode=_encode(tokenizer),
        bos_id=tokenizer.bos_id,
        target_nll=_target_nll(decoder.model),
        batch_size=config.evaluate.batch_size,
    )
    return Arm(name, found, protocol, decoder.weights, decoder.step, part)


def _ngram_arms(setting: Setting, text: TextSplit, *, beside: PerplexityProtocol) -> list[Arm]:
    """N-gram models of the training text, under the decoder's own protocol.

    Windows that overlap by more than its order give an n-gram model what the whole text would.
    """
    config, ngrams = setting.config.evaluate, setting.ngrams
    whole = _protocol(setting, text, unit=config.ngram_unit, tokenizer=ngrams.name)
    shared = beside
    if beside.unit != config.ngram_unit:
        shared = beside.model_copy(update={"unit": config.ngram_unit, "tokenizer": ngrams.name})
    assert beside.window_tokens is not None
    assert beside.stride_tokens is not None
    if beside.window_tokens - beside.stride_tokens < config.ngram_order:
        shared = PerplexityProtocol.model_validate(whole)
    arms = []
    for name, model in ngrams.models.items():
        found = measure_ngrams(
            _corpus(text),
            protocol=PerplexityProtocol.model_validate(whole),
            encode=ngrams.encode,
            model=model,
        )
        arms.append(Arm(name, found, shared, None, None))
    return arms


@dataclass(frozen=True)
class Ngrams:
    """N-gram models of the training text by their arm's name, and how they read a text."""

    models: dict[str, NgramModel]
    encode: Encode
    name: str


def _fit(setting: Setting) -> Ngrams:
    tokenizer, order = setting.tokenizer, setting.config.evaluate.ngram_order
    if setting.config.evaluate.ngram_unit == "word":
        train = setting.training.text
        words = word_vocabulary(train)
        ids, size = words.encode(train), len(words.ids)
        encode, name = word_encoder(words), words.hash
    else:
        rows = setting.prepared.rows("train", context_tokens=1, across_documents=True)
        ids, size = rows.stream(), tokenizer.vocab_size
        encode, name = _encode(tokenizer), tokenizer.sha256
    arms = {"unigram": 1, f"{order}-gram": order}
    models = {arm: fit_ngrams(ids, order=n, vocab_size=size) for arm, n in arms.items()}
    return Ngrams(models, encode, name)


def _data(setting: Setting, text: TextSplit) -> dict[str, str]:
    return {**setting.prepared.sha256, text.split: text.sha256}


def _protocol(setting: Setting, text: TextSplit, *, unit: str, tokenizer: str) -> dict[str, Any]:
    """The values of a protocol that reads each text in one go."""
    config = setting.config.evaluate
    return {
        "dataset": text.name,
        "split": text.split,
        "documents": "as published, in order",
        "num_documents": len(text.documents),
        "reading": config.reading,
        "joiner": text.joiner if config.reading == "joined" else None,
        "detokenizer": "none",
        "unit": unit,
        "tokenizer": tokenizer,
        "bos": "before_text",
        "windows": "whole",
        "word_rule": config.word_rule,
    }


def _corpus(text: TextSplit) -> Corpus:
    return Corpus(texts=text.documents, originals=text.documents)


def _encode(tokenizer: TextTokenizer) -> Encode:
    def encode(text: str) -> Encoded:
        found = tokenizer.encode_with_starts(text)
        return Encoded(np.array(found.ids, np.int64), np.array(found.starts, np.int64))

    return encode


def _target_nll(
    model: Decoder,
) -> Callable[
    [Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]], Float[Tensor, "batch tokens"]
]:
    @torch.inference_mode()
    def nll(
        tokens: Int[Tensor, "batch tokens"], targets: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens"]:
        return token_nll(model.hidden(tokens), model.head_weight, targets)

    return nll
