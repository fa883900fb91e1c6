"""What every measurement of one evaluation of the scratch study shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmlab.data.text import TextSplit
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.checkpoint import module_tensors
from lmlab.engine.device import prepare_scoring
from lmlab.engine.run import Run
from lmlab.engine.weights import weights_hash
from lmlab.metrics.language import Encode, Encoded, word_encoder
from lmlab.metrics.ngrams import NgramModel, fit_ngrams, word_vocabulary
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import TrainedDecoder, build_decoder, load_trained
from lmlab.studies.scratch.prepare import Prepared, load_prepared, load_training_text
from lmlab.studies.scratch.stage import UNTRAINED, stages_of


@dataclass(frozen=True)
class Ngrams:
    """N-gram models of the training text by their arm's name, and how they read a text."""

    models: dict[str, NgramModel]
    encode: Encode
    name: str


@dataclass(frozen=True)
class Setting:
    """A run with its tokenizer and its decoders."""

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
    def untrained(self) -> TrainedDecoder:
        """The same decoder at its start: what stands beside every score of a trained one."""
        vocab_size, seed = self.tokenizer.vocab_size, self.config.seed
        model = build_decoder(self.config.model, vocab_size=vocab_size, seed=seed).eval()
        start = weights_hash(module_tensors({"decoder": model}))
        return TrainedDecoder(model.to(self.trained.model.head_weight.device), start, 0)

    @property
    def judged(self) -> dict[str, TrainedDecoder]:
        """Every stage's decoder, and before them the untrained one."""
        return {UNTRAINED: self.untrained, **self.decoders}

    @cached_property
    def training(self) -> TextSplit:
        """The text that the model was trained on."""
        return load_training_text(self.config, self.prepared)

    @cached_property
    def ngrams(self) -> Ngrams:
        """What the n-gram arms count, fitted once however many texts they score."""
        return _fit(self)

    def data_of(self, text: TextSplit) -> dict[str, str]:
        """What a number on the text was made from."""
        return {**self.prepared.sha256, text.split: text.sha256}


def open_setting(config: Config, run: Run) -> Setting:
    """With the last weights of each stage; of pretraining those that `evaluate.checkpoint` names.

    Later stages start from the last weights of the one before, and end with their own.
    """
    prepared, device = load_prepared(run), prepare_scoring(config.device)
    tokenizer = prepared.tokenizer
    decoders = {
        stage: load_trained(
            run.part(stage),
            config.model,
            vocab_size=tokenizer.vocab_size,
            at=config.evaluate.checkpoint if stage == "pretrain" else "last",
            device=device,
        )
        for stage in stages_of(config)
    }
    return Setting(config, run, prepared, tokenizer, decoders)


def token_encoder(tokenizer: TextTokenizer) -> Encode:
    """Ids of a text with the character at which each starts."""

    def encode(text: str) -> Encoded:
        found = tokenizer.encode_with_starts(text)
        return Encoded(np.array(found.ids, np.int64), np.array(found.starts, np.int64))

    return encode


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
        encode, name = token_encoder(tokenizer), tokenizer.sha256
    arms = {"unigram": 1, f"{order}-gram": order}
    models = {arm: fit_ngrams(ids, order=n, vocab_size=size) for arm, n in arms.items()}
    return Ngrams(models, encode, name)
