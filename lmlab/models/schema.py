"""The shape of a decoder and how it is sampled, as values: no torch, so that all may read it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmlab.engine.schema import FREE, Values


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


class Register(Values):
    """Attention sinks as learned vectors: keys and values before a text's own, never masked.

    They take the positions 0 to `num_sinks` - 1 and move every token up by as many.
    """

    kind: Literal["register"] = "register"
    num_sinks: int = Field(default=2, ge=1)


class Logit(Values):
    """An attention sink as one learned logit a head in the softmax's denominator; no position."""

    kind: Literal["logit"] = "logit"


Sinks = Annotated[Register | Logit, Field(discriminator="kind")]


class ExpertsConfig(Values):
    """A mixture of experts: each token goes through `top_k` of a layer's SwiGLUs of width `d_ff`.

    `capacity_factor` bounds, in training alone, how many of a row's tokens an expert takes: factor
    times its even share. None drops nothing.
    """

    num_experts: int = Field(default=4, ge=2)
    top_k: int = Field(default=2, ge=1)
    # Switch (Fedus et al. 2021) and OLMoE (Muennighoff et al. 2024) train with this coefficient.
    balance_weight: float = Field(default=0.01, ge=0)
    capacity_factor: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _enough_experts(self) -> "ExpertsConfig":
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k {self.top_k} is more than num_experts {self.num_experts}")
        return self


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
    sinks: Sinks | None = None
    experts: ExpertsConfig | None = None
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

    @property
    def num_registers(self) -> int:
        """Positions that learned sinks take before the first token."""
        return self.sinks.num_sinks if isinstance(self.sinks, Register) else 0

    def num_parameters(self, vocab_size: int) -> int:
        """Trainable numbers, tied once: V d + L (2 d H h + 2 d H_kv h + 3 d f + 2 d) + d.

        Sinks add L n_s d (registers) or L H (logits). With E experts, E (3 d f + d) for 3 d f.
        """
        kv_width = self.kv_heads * self.head_width
        attention = 2 * self.d_model * self.d_model + 2 * self.d_model * kv_width
        mlp = 3 * self.d_model * self.d_ff
        if self.experts is not None:
            mlp = self.experts.num_experts * (mlp + self.d_model)
        block = attention + mlp + 2 * self.d_model
        embeddings = vocab_size * self.d_model * (1 if self.tie_embeddings else 2)
        return embeddings + self.num_layers * block + self.d_model + self._sink_parameters

    def flops_per_token(self, vocab_size: int) -> int:
        """Training FLOPs a token, 6 N + 12 L d T.

        N counts the head's product once, tied or not, and neither embedding look-up nor sinks, nor
        the experts that a token does not go through (Kaplan et al. 2020; Chowdhery et al. 2022,
        appendix B).
        """
        head = vocab_size * self.d_model
        lookup = head * (1 if self.tie_embeddings else 2)
        unused = lookup + self._sink_parameters + self._idle_parameters
        multiplied = self.num_parameters(vocab_size) - unused + head
        return 6 * multiplied + 12 * self.num_layers * self.d_model * self.context_tokens

    @property
    def _idle_parameters(self) -> int:
        """Of the experts that a token does not go through."""
        if self.experts is None:
            return 0
        idle = self.experts.num_experts - self.experts.top_k
        return self.num_layers * idle * 3 * self.d_model * self.d_ff

    @property
    def _sink_parameters(self) -> int:
        match self.sinks:
            case Register(num_sinks=num_sinks):
                return self.num_layers * num_sinks * self.d_model
            case Logit():
                return self.num_layers * self.num_heads
            case None:
                return 0


class FirstTokens(Values):
    """Past the trained length, see the first tokens of a text and the most recent ones.

    StreamingLLM (Xiao et al. 2023). What is seen counts its positions from 0, without gaps.
    """

    kind: Literal["first_tokens"] = "first_tokens"
    num_first: int = Field(default=4, ge=1)
    recent_tokens: int = Field(ge=1)


class Window(Values):
    """Past the trained length, see the most recent tokens alone: the control without sinks."""

    kind: Literal["window"] = "window"
    recent_tokens: int = Field(ge=1)

    @property
    def num_first(self) -> int:
        """No first tokens are kept."""
        return 0


class Recompute(Values):
    """Past the trained length, read the most recent tokens anew for every token.

    Slow, and the bound: every token then reads a text as the model did in training.
    """

    kind: Literal["recompute"] = "recompute"
    recent_tokens: int = Field(ge=1)


class Full(Values):
    """Past the trained length, see everything, positions running on to `context_tokens`."""

    kind: Literal["full"] = "full"
    context_tokens: int = Field(ge=1)


Beyond = Annotated[FirstTokens | Window, Field(discriminator="kind")]
LongText = Annotated[FirstTokens | Window | Recompute | Full, Field(discriminator="kind")]


class GenerationSettings(Values):
    """How the next token is chosen, and when to stop.

    The order is repetition penalty, temperature, top-k, top-p. Temperature 0 takes the likeliest.
    With `beyond` a text may outgrow the model's context, and then sees only part of itself.
    """

    max_new_tokens: int = Field(default=80, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_k: int | None = Field(default=50, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    stop: tuple[str, ...] = ()
    beyond: Beyond | None = None


class PretrainedConfig(Values):
    """A model in transformers' form: a hub id, a folder, or `study/name[:part][@N|best|last]`.

    `adapter` is a PEFT adapter (folder or hub id) on top. A token for gated models and offline
    caches are huggingface_hub's own settings (HF_TOKEN, HF_HUB_OFFLINE).
    """

    name: str
    adapter: str | None = None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # As accelerate takes it ("auto", "balanced"): a model too large for one device.
    device_map: str | None = Field(default=None, json_schema_extra=FREE)
    quantize: Literal["8bit", "4bit"] | None = None
    # Runs code that comes with the model.
    trust_remote_code: bool = False


class Lora(Values):
    """Low-rank matrices beside some layers (Hu et al. 2021); a class head is trained whole."""

    kind: Literal["lora"]
    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # Scaled by alpha / sqrt(r) rather than alpha / r (Kalajdzievski 2023).
    rslora: bool = False
    # Last parts of layer names. One may hit more than it says: every GPT-2 block has two c_proj.
    target_modules: tuple[str, ...] = Field(min_length=1)


class FullTuning(Values):
    """Every tensor is trained: the bound of what an adapter can be compared with."""

    kind: Literal["full"]


class Probe(Values):
    """The class head alone is trained: what the frozen model knows already."""

    kind: Literal["probe"]


Adaptation = Annotated[Lora | FullTuning | Probe, Field(discriminator="kind")]
