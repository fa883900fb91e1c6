"""How much memory a training step holds at its peak, by formula. No torch.

What autograd keeps is counted tensor by tensor (a test compares it with what it keeps), the rest
is rough: on a CPU the peak that was measured lay within a factor of 1.6 of the sum.
"""

from dataclasses import dataclass

from lmlab.engine.monitor import read_gpus
from lmlab.engine.schema import DeviceConfig
from lmlab.models.schema import DecoderConfig

# float32: weights, gradients, and AdamW's two moments.
BYTES_PER_PARAMETER = 16
# Python and torch themselves, measured on a CPU before the first row.
PROCESS_BYTES = 350_000_000
# As in `models.loss` and `models.attention`.
LOSS_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}
PLAIN_TOKENS, PLAIN_BLOCK = 1024, 128
FLOAT = 4
# Its expert, its place among the rows, and its weight.
SLOT_BYTES = 36


@dataclass(frozen=True)
class Held:
    """Bytes at the peak of a step, by what holds them; `process` is 0 on a GPU."""

    parameters: int
    activations: int
    loss: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.activations + self.loss + self.process

    def __str__(self) -> str:
        parts = {
            "weights, gradients and moments": self.parameters,
            "activations": self.activations,
            "logits": self.loss,
            "Python and torch": self.process,
        }
        said = ", ".join(f"{size / 1e9:.2f} {name}" for name, size in parts.items() if size)
        return f"about {self.total / 1e9:.2f} GB: {said}"


def needed_memory(
    model: DecoderConfig, *, rows: int, vocab_size: int, device: DeviceConfig, apart: bool
) -> Held:
    """Of one process that trains `rows` at once. `apart`: no document of a row sees another."""
    kind = "cuda" if device.kind != "cpu" and read_gpus() else "cpu"
    size = value_bytes(device, kind)
    parameters = model.num_parameters(vocab_size)
    tokens = rows * model.context_tokens
    layer = tokens * layer_bytes(model, size=size, kind=kind, apart=apart)
    kept = tokens * FLOAT * model.d_model if model.gradient_checkpointing else layer
    # The way back through a layer makes about as much anew as the layer kept; where it kept its
    # input alone, it is gone through once more first.
    backward = 2 * layer if model.gradient_checkpointing else layer
    logits = min(tokens * vocab_size, LOSS_ELEMENTS[kind])
    return Held(
        # Under autocast each step also holds the weights in the smaller type.
        parameters=parameters * (BYTES_PER_PARAMETER + (size if size < FLOAT else 0)),
        activations=model.num_layers * kept + tokens * end_bytes(model) + backward,
        # The logits, and in float32 their log-probabilities.
        loss=logits * 2 * FLOAT,
        process=PROCESS_BYTES if kind == "cpu" else 0,
    )


def layer_bytes(model: DecoderConfig, *, size: int, kind: str, apart: bool) -> int:
    """What autograd keeps of one layer for each token; products are in `size` bytes a value."""
    width, keys = model.d_model, model.kv_heads * model.head_width
    dropped = 2 * width if model.dropout else 0
    # Both norms' outputs; q, k, v; q and k turned; what was mixed, before and after its heads are
    # put side by side; gate, up, silu(gate) and their product.
    values = 2 * width + (width + 2 * keys) + (width + keys) + 2 * width + 4 * model.d_ff + dropped
    router = 0
    if model.experts is not None:
        # Each slot has its SwiGLU, and its token before and after; the router reads in float32.
        slots = model.experts.top_k
        values += (slots - 1) * 4 * model.d_ff + slots * 2 * width - width
        router = width * FLOAT + model.experts.num_experts * FLOAT + slots * SLOT_BYTES
    tokens = model.context_tokens
    if kind == "cpu" and size < FLOAT and not apart and tokens <= PLAIN_TOKENS:
        # Plain products: k and v for every head, and the probabilities in both types.
        seen = model.num_heads * (tokens + min(PLAIN_BLOCK, tokens)) // 2
        attention = 2 * width * size + seen * (size + FLOAT)
    else:
        repeated = 2 * (width - keys) if kind == "cpu" else 0
        attention = repeated * size + (tokens * FLOAT if apart else 0)
    # The residual stream before each norm stays float32.
    return 2 * width * FLOAT + values * size + attention + router


def end_bytes(model: DecoderConfig) -> int:
    """What is kept of each token beside the layers: the last norm's input, output and gradient."""
    return FLOAT * model.d_model * (4 if model.dropout else 3)


def value_bytes(device: DeviceConfig, kind: str) -> int:
    """Of a product's result; `auto` on a CPU counts as float32, the larger of the two."""
    small = device.precision in ("bfloat16", "float16")
    return 2 if small or (device.precision == "auto" and kind == "cuda") else FLOAT
