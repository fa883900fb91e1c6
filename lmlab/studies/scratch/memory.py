"""How much memory a step of training or of reading holds at its peak, by formula. No torch.

What autograd keeps is counted tensor by tensor (a test compares it with what it keeps), the rest
is rough: on a CPU the peak that was measured lay within a factor of 1.6 of the sum.
"""

from dataclasses import dataclass
from typing import Literal

from lmlab.engine.monitor import read_gpus
from lmlab.engine.schema import DeviceConfig
from lmlab.models.schema import DecoderConfig, Logit

# float32: weights, gradients, and AdamW's two moments.
BYTES_PER_PARAMETER = 16
# Python and torch themselves, measured on a CPU before the first row.
PROCESS_BYTES = 350_000_000
# As in `models.loss` and `models.attention`.
LOSS_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}
PLAIN_TOKENS, PLAIN_BLOCK = 1024, 128
# As in `models.sinks`, which needs torch.
SPARE_WIDTH = 8
FLOAT = 4
# Its expert, its place among the rows, and its weight.
SLOT_BYTES = 36


# Where a training step's logits go: through `models.loss` in blocks, all at once, or nowhere.
Logits = Literal["blocks", "all", "none"]


@dataclass(frozen=True)
class Held:
    """Bytes at the peak of a step, by what holds them; `process` is 0 on a GPU."""

    parameters: int
    activations: int
    logits: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.activations + self.logits + self.process


def training_memory(
    model: DecoderConfig,
    *,
    rows: int,
    vocab_size: int,
    device: DeviceConfig,
    apart: bool = False,
    logits: Logits = "blocks",
) -> Held:
    """Of one process that trains `rows` at once. `apart`: no document of a row sees another."""
    kind = device_kind(device)
    size = value_bytes(device, kind)
    parameters = model.num_parameters(vocab_size)
    tokens = rows * model.context_tokens
    layer = tokens * layer_bytes(model, size=size, kind=kind, apart=apart)
    kept = tokens * FLOAT * model.d_model if model.gradient_checkpointing else layer
    # The way back through a layer makes about as much anew as the layer kept; where it kept its
    # input alone, it is gone through once more first.
    backward = 2 * layer if model.gradient_checkpointing else layer
    num_logits = {"blocks": LOSS_ELEMENTS[kind], "all": tokens * vocab_size, "none": 0}[logits]
    return Held(
        # Under autocast each step also holds the weights in the smaller type.
        parameters=parameters * (BYTES_PER_PARAMETER + (size if size < FLOAT else 0)),
        activations=model.num_layers * kept + tokens * end_bytes(model, kind=kind) + backward,
        # The logits, and in float32 their log-probabilities.
        logits=min(tokens * vocab_size, num_logits) * 2 * FLOAT,
        process=PROCESS_BYTES if kind == "cpu" else 0,
    )


def reading_memory(
    model: DecoderConfig, *, rows: int, vocab_size: int, device: DeviceConfig, cached: bool
) -> Held:
    """Of one process that reads `rows` without training, in float32.

    With `cached` keys and values it writes them token by token, else it scores them whole.
    """
    kind = device_kind(device)
    tokens = rows * model.context_tokens
    if cached:
        activations = 2 * tokens * model.num_layers * model.kv_heads * model.head_width * FLOAT
    else:
        activations = tokens * layer_bytes(model, size=FLOAT, kind=kind, apart=False)
    return Held(
        parameters=model.num_parameters(vocab_size) * FLOAT,
        activations=activations,
        logits=(rows if cached else tokens) * vocab_size * 2 * FLOAT,
        process=PROCESS_BYTES if kind == "cpu" else 0,
    )


def device_kind(device: DeviceConfig) -> str:
    """What would be chosen here, without torch."""
    return "cuda" if device.kind != "cpu" and read_gpus() else "cpu"


def layer_bytes(model: DecoderConfig, *, size: int, kind: str, apart: bool) -> int:
    """What autograd keeps of one layer for each token; products are in `size` bytes a value."""
    width = model.d_model
    # Each norm's output; gate, up, silu(gate) and their product.
    values = 2 * width + 4 * model.d_ff + (2 * width if model.dropout else 0)
    router = 0
    if model.experts is not None:
        # Each slot has its SwiGLU, and its token before and after; the router reads in float32.
        slots = model.experts.top_k
        values += (slots - 1) * 4 * model.d_ff + slots * 2 * width - width
        router = width * FLOAT + model.experts.num_experts * FLOAT + slots * SLOT_BYTES
    attention = _attention_bytes(model, size=size, kind=kind, apart=apart)
    return 2 * _norm_bytes(model, kind) + values * size + attention + router


def end_bytes(model: DecoderConfig, *, kind: str) -> int:
    """What is kept of each token beside the layers: the last norm's, and its output's gradient."""
    return _norm_bytes(model, kind) + FLOAT * model.d_model * (2 if model.dropout else 1)


def _norm_bytes(model: DecoderConfig, kind: str) -> int:
    """Of a norm beside its output: its float32 input and, on a CPU, that divided by its mean."""
    return FLOAT * model.d_model * (2 if kind == "cpu" else 1)


def _attention_bytes(model: DecoderConfig, *, size: int, kind: str, apart: bool) -> int:
    """Of q, k, v, what was mixed and, where it is stored, who sees whom."""
    width, keys, tokens = model.d_model, model.kv_heads * model.head_width, model.context_tokens
    logits, rows = isinstance(model.sinks, Logit), tokens + model.num_registers
    wider = 1.0
    if logits:
        rows, wider = tokens + 1, 1 + SPARE_WIDTH / model.head_width
    if kind == "cpu" and size < FLOAT and not apart and rows <= PLAIN_TOKENS:
        # Plain products: q, k and v for every head, and the probabilities in both types.
        seen = model.num_heads * (rows + min(PLAIN_BLOCK, rows)) // 2
        each = 3 * wider * width * size + seen * (size + FLOAT)
        return int(each * rows / tokens) + width * size
    # The mixed values, which sinks have copied once more without their own; the softmax's sums.
    mixed = wider * width * size + model.num_heads * FLOAT
    # q and k turned, and the product that v is part of; with sink logits only widened copies.
    heads = wider * (width + 2 * keys) + (0 if logits else width + keys)
    each = heads * size + mixed + (rows * size if apart else 0)
    return int(each * rows / tokens) + (width * size if model.sinks else 0)


def value_bytes(device: DeviceConfig, kind: str) -> int:
    """Of a product's result; `auto` on a CPU counts as float32, the larger of the two."""
    small = device.precision in ("bfloat16", "float16")
    return 2 if small or (device.precision == "auto" and kind == "cuda") else FLOAT
