"""What the scratch study can be told: data, tokenizer, decoder, and one section a stage."""

import importlib
from typing import Literal

from pydantic import Field, model_validator

from lmlab.data.schema import TaskConfig, TextConfig, TokenizerConfig
from lmlab.engine.schema import FREE, StudyConfig, TrainConfig, Values
from lmlab.models.schema import DecoderConfig, GenerationSettings
from lmlab.studies.scratch.baselines_config import BaselinesConfig


class EvaluateConfig(Values):
    """How perplexity is measured, what stands beside it, and what is sampled."""

    splits: tuple[Literal["validation", "test"], ...] = ("test",)
    checkpoint: Literal["last", "best"] = "last"
    window_tokens: int | None = Field(default=None, ge=2)
    stride_tokens: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=16, ge=1, json_schema_extra=FREE)
    # One stream as published, or each document by itself: what a test text is, its source knows.
    reading: Literal["joined", "alone"] = "alone"
    ngram_unit: Literal["token", "word"] = "token"
    ngram_order: int = Field(default=5, ge=2, le=5)
    word_rule: Literal["words", "words_and_line_ends"] = "words"
    # Whose validation perplexity and continuations stand side by side: of pretraining every
    # checkpoint that was kept, or the one that is scored; of later stages always their last.
    checkpoints: Literal["kept", "last"] = "kept"
    prompts: tuple[str, ...] = ()
    sampling: GenerationSettings = GenerationSettings(temperature=0.8)
    # Instructions and problems are answered greedily, at most so many of each.
    answer_tokens: int = Field(default=96, ge=1)
    max_answers: int | None = Field(default=None, ge=1)
    bootstrap_draws: int = Field(default=2000, ge=100)


class PackingConfig(Values):
    """How documents become rows of the context's length."""

    attend_across_documents: bool = True


class SftConfig(TrainConfig):
    """Supervised fine-tuning on instructions and their responses."""

    data: TaskConfig
    # Worked solutions that are learnt beside them: a verifier needs a decoder that can solve some.
    problems: TaskConfig | None = None
    # How a prompt and its response become tokens (see `data.examples`).
    joining: Literal["apart", "joint"] = "apart"


class DpoConfig(TrainConfig):
    """Preference optimisation against the model that the stage starts with."""

    data: TaskConfig
    joining: Literal["apart", "joint"] = "apart"
    loss: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "cdpo"] = "sigmoid"
    beta: float = Field(default=0.1, gt=0)
    # The share of pairs taken to be labelled the wrong way round: of robust and cdpo.
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)

    @model_validator(mode="after")
    def _smoothing_is_used(self) -> "DpoConfig":
        if self.label_smoothing and self.loss not in ("robust", "cdpo"):
            raise ValueError(f"label_smoothing does nothing for {self.loss}; choose robust or cdpo")
        return self


class VerifierConfig(TrainConfig):
    """A verifier of solutions that the run's own decoder samples."""

    data: TaskConfig
    # Of each problem; best-of-N is known for every N up to it.
    samples: int = Field(default=8, ge=2)
    sampling: GenerationSettings = GenerationSettings(max_new_tokens=96)
    labels: Literal["outcome", "process"] = "outcome"


class SinksConfig(Values):
    """Decoders trained as the run's own, but with attention sinks, and all read past their context.

    Each is trained anew from `num_seeds` seeds, from the run's own on.
    """

    # Learned vectors a layer of one of them, and the first tokens that the run's own keeps.
    num_registers: int = Field(default=4, ge=1)
    num_first: int = Field(default=4, ge=1)
    num_seeds: int = Field(default=1, ge=1)
    num_texts: int = Field(default=64, ge=2)


class Config(StudyConfig):
    """The scratch study: a decoder from nothing, stage by stage, and what each stage bought.

    A stage that is null is left out.
    """

    data: TextConfig
    tokenizer: TokenizerConfig
    model: DecoderConfig
    packing: PackingConfig = PackingConfig()
    pretrain: TrainConfig
    sft: SftConfig | None = None
    dpo: DpoConfig | None = None
    verifier: VerifierConfig | None = None
    baselines: BaselinesConfig | None = None
    sinks: SinksConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _samples_fit(self) -> "Config":
        sampling, context = self.evaluate.sampling, self.model.context_tokens
        new = sampling.max_new_tokens
        if self.evaluate.prompts and new >= context and sampling.beyond is None:
            raise ValueError(
                f"evaluate.sampling.max_new_tokens={new} leaves no room for a prompt in "
                f"model.context_tokens={context}"
            )
        return self

    @model_validator(mode="after")
    def _sinks_fit(self) -> "Config":
        if self.sinks is None:
            return self
        if self.model.sinks is not None or self.model.window_tokens is not None:
            raise ValueError(
                "sinks adds them to a decoder that has none and sees its whole context; set "
                "model.sinks=null and model.window_tokens=null"
            )
        if self.sinks.num_first >= self.model.context_tokens:
            raise ValueError(
                f"sinks.num_first={self.sinks.num_first} leaves no recent token in "
                f"model.context_tokens={self.model.context_tokens}"
            )
        return self

    def describe(self) -> tuple[str, str]:
        """Source and width x depth."""
        data = self.data.name if self.data.kind == "named" else self.data.kind
        return data, f"d{self.model.d_model}l{self.model.num_layers}"

    def estimate(self) -> dict[str, str]:
        """Parameters, and each stage's tokens, FLOPs, time and memory, by formula."""
        # It reads this configuration, and is needed where somebody asks.
        return importlib.import_module("lmlab.studies.scratch.estimate").estimate(self)
