"""The shape of a decoder and how it is sampled, as values: no torch, so that all may read it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmlab.engine.schema import Values


class Rope(Values):
    """Rotary positions (Su et al. 2021), half-split pairs."""

    kind: Literal["rope"] = "rope"
    theta: float = Field(default=10_000.0, gt=0)


class RopeLinear(Values):
    """Position interpolation (Chen et al. 2023): every frequency divided by `factor`."""

    kind: Literal["rope_linear"] = "rope_linear"
    theta: float = Field(default=10_000.0, gt=0)
    factor: float = Field(ge=1)


class RopeNtk(Values):
    """NTK-aware scaling with a fixed `factor` = target / trained length."""

    kind: Literal["rope_ntk"] = "rope_ntk"
    theta: float = Field(default=10_000.0, gt=0)
    factor: float = Field(ge=1)


class Yarn(Values):
    """YaRN (Peng et al. 2023): slow pairs interpolated, fast ones kept, scores made sharper."""

    kind: Literal["yarn"] = "yarn"
    theta: float = Field(default=10_000.0, gt=1)
    factor: float = Field(ge=1)
    trained_tokens: int = Field(ge=1)
    beta_fast: float = Field(default=32.0, gt=0)
    beta_slow: float = Field(default=1.0, gt=0)


class Llama3(Values):
    """The scaling of Llama 3.1: long waves divided by `factor`, short ones kept."""

    kind: Literal["llama3"] = "llama3"
    theta: float = Field(default=10_000.0, gt=0)
    factor: float = Field(ge=1)
    trained_tokens: int = Field(ge=1)
    low_freq_factor: float = Field(default=1.0, gt=0)
    high_freq_factor: float = Field(default=4.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Llama3":
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor {self.low_freq_factor} must be below "
                f"high_freq_factor {self.high_freq_factor}"
            )
        return self


class Proportional(Values):
    """p-RoPE: the given fraction of the pairs turns, the others stand still."""

    kind: Literal["proportional"] = "proportional"
    theta: float = Field(default=10_000.0, gt=0)
    factor: float = Field(default=1.0, ge=1)
    fraction: float = Field(gt=0, le=1)


Position = Annotated[
    Rope | RopeLinear | RopeNtk | Yarn | Llama3 | Proportional, Field(discriminator="kind")
]


class DecoderConfig(Values):
    """A decoder-only Transformer; its vocabulary comes from the tokenizer."""

    num_layers: int = Field(ge=1)
    d_model: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    num_kv_heads: int | None = Field(default=None, ge=1)
    d_ff: int = Field(ge=1)
    context_tokens: int = Field(ge=1)
    position: Position = Rope(theta=10_000.0)
    window_tokens: int | None = Field(default=None, ge=1)
    norm_eps: float = Field(default=1e-5, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    init_std: float = Field(default=0.02, gt=0)
    tie_embeddings: bool = True
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> "DecoderConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model {self.d_model} is no multiple of num_heads {self.num_heads}")
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is no multiple of num_kv_heads {self.kv_heads}"
            )
        if self.head_width % 2:
            raise ValueError(f"head width {self.head_width} is odd; rotary pairs need an even one")
        return self

    @property
    def kv_heads(self) -> int:
        """Key and value heads; as many as query heads unless said otherwise."""
        return self.num_kv_heads or self.num_heads

    @property
    def head_width(self) -> int:
        """Components of one head."""
        return self.d_model // self.num_heads

    def num_parameters(self, vocab_size: int) -> int:
        """Trainable numbers, tied once: V d + L (2 d H h + 2 d H_kv h + 3 d f + 2 d) + d."""
        kv_width = self.kv_heads * self.head_width
        attention = 2 * self.d_model * self.d_model + 2 * self.d_model * kv_width
        block = attention + 3 * self.d_model * self.d_ff + 2 * self.d_model
        embeddings = vocab_size * self.d_model * (1 if self.tie_embeddings else 2)
        return embeddings + self.num_layers * block + self.d_model

    def flops_per_token(self, vocab_size: int) -> int:
        """Training FLOPs a token, 6 N + 12 L d T.

        N counts the head's product once, tied or not, and no embedding look-up
        (Kaplan et al. 2020; Chowdhery et al. 2022, appendix B).
        """
        head = vocab_size * self.d_model
        lookup = head * (1 if self.tie_embeddings else 2)
        multiplied = self.num_parameters(vocab_size) - lookup + head
        return 6 * multiplied + 12 * self.num_layers * self.d_model * self.context_tokens


class GenerationSettings(Values):
    """How the next token is chosen, and when to stop.

    The order is repetition penalty, temperature, top-k, top-p. Temperature 0 takes the likeliest.
    """

    max_new_tokens: int = Field(default=80, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_k: int | None = Field(default=50, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    stop: tuple[str, ...] = ()
