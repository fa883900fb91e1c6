"""Perplexity of a text: the decoders of a run beside the untrained one and n-gram models."""

import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmlab.data.text import TextSplit
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.metrics.language import Corpus, Perplexity, measure_ngrams, measure_perplexity
from lmlab.metrics.protocols import PerplexityProtocol, Unit
from lmlab.metrics.stats import Transform, bootstrap_ratio
from lmlab.models.decoder import Decoder
from lmlab.models.loss import token_nll
from lmlab.studies.scratch.model import TrainedDecoder
from lmlab.studies.scratch.setting import Setting, token_encoder
from lmlab.studies.scratch.stage import UNTRAINED

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


def measure_arms(setting: Setting, text: TextSplit) -> list[Arm]:
    """The trained decoder, the same untrained, what stages made of it, and n-gram models."""
    later = {stage: one for stage, one in setting.decoders.items() if stage != "pretrain"}
    arms = [
        measure_decoder("trained", setting, text, setting.trained),
        measure_decoder(UNTRAINED, setting, text, setting.untrained),
        *(measure_decoder(stage, setting, text, one, part=stage) for stage, one in later.items()),
    ]
    arms += _ngram_arms(setting, text, beside=arms[0].protocol)
    for arm in arms:
        log.info("%s %s: %.2f a word", text.split, arm.name, arm.perplexity.per_word)
    return arms


def measure_decoder(
    name: str,
    setting: Setting,
    text: TextSplit,
    decoder: TrainedDecoder,
    *,
    part: str = "pretrain",
) -> Arm:
    """One decoder's, in float32: a bf16 log-probability is off in its third digit."""
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
        encode=token_encoder(tokenizer),
        bos_id=tokenizer.bos_id,
        target_nll=_target_nll(decoder.model),
        batch_size=config.evaluate.batch_size,
    )
    return Arm(name, found, protocol, decoder.weights, decoder.step, part)


def text_records(arm: Arm, setting: Setting, text: TextSplit) -> list[Record]:
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
                data={**setting.data_of(text), "tokenizer": arm.protocol.tokenizer},
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


def text_items(arm: Arm, setting: Setting, text: TextSplit) -> list[Item]:
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


def _target_nll(
    model: Decoder,
) -> Callable[
    [Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]], Float[Tensor, "batch tokens"]
]:
    @torch.inference_mode()
    def nll(
        tokens: Int[Tensor, "batch tokens"], targets: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens"]:
        weight = model.head_weight
        hidden = model.hidden(tokens.to(weight.device))
        return token_nll(hidden, weight, targets.to(weight.device))

    return nll
