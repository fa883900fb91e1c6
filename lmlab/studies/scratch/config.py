"""What the scratch study can be told: data, tokenizer, decoder, and one section a stage."""

from typing import Literal

from pydantic import Field, model_validator

from lmlab.data.schema import TextConfig, TokenizerConfig
from lmlab.engine.schema import FREE, StudyConfig, TrainConfig, Values
from lmlab.models.schema import DecoderConfig, GenerationSettings
from lmlab.studies.scratch.estimate import estimate_training, vocabulary_size
from lmlab.studies.scratch.memory import needed_memory


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
    prompts: tuple[str, ...] = ()
    sampling: GenerationSettings = GenerationSettings(temperature=0.8)
    bootstrap_draws: int = Field(default=2000, ge=100)


class PackingConfig(Values):
    """How documents become rows of the context's length."""

    attend_across_documents: bool = True


class Config(StudyConfig):
    """The scratch study: pretrain a decoder from nothing and measure what it learned."""

    data: TextConfig
    tokenizer: TokenizerConfig
    model: DecoderConfig
    packing: PackingConfig = PackingConfig()
    pretrain: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _samples_fit(self) -> "Config":
        new, context = self.evaluate.sampling.max_new_tokens, self.model.context_tokens
        if self.evaluate.prompts and new >= context:
            raise ValueError(
                f"evaluate.sampling.max_new_tokens={new} leaves no room for a prompt in "
                f"model.context_tokens={context}"
            )
        return self

    def describe(self) -> tuple[str, str]:
        """Source and width x depth."""
        data = self.data.name if self.data.kind == "named" else self.data.kind
        return data, f"d{self.model.d_model}l{self.model.num_layers}"

    def estimate(self) -> dict[str, str]:
        """Parameters, tokens, FLOPs, memory and time of pretraining, by formula."""
        held = needed_memory(
            self.model,
            rows=self.pretrain.micro_batch_size or self.pretrain.batch_size,
            vocab_size=vocabulary_size(self.tokenizer),
            device=self.device,
            apart=not self.packing.attend_across_documents,
        )
        found = estimate_training(self.model, self.pretrain, self.tokenizer, self.cost)
        return found | {"memory": str(held)}
