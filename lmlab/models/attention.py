"""Causal self-attention: grouped-query heads, rotary positions, a mask, and a cache of keys."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lmlab.models.positions import rotate
from lmlab.models.schema import DecoderConfig, Logit
from lmlab.models.sinks import Heads, add_sink_logits, prepend_registers, sink_rows, spare_width
from lmlab.models.streaming import StreamingCache, StreamingView, attend_to_kept


@dataclass(frozen=True)
class View:
    """Where the tokens of one forward stand, and what they see."""

    cos: Float[Tensor, "rows turning 1 width"]
    sin: Float[Tensor, "rows turning 1 width"]
    # None: every token sees itself and all before it.
    mask: Bool[Tensor, "rows 1 queries keys"] | None
    # Which tokens are no left pads; None: all.
    real: Bool[Tensor, "rows tokens"] | None
    # Whether these tokens open the text, so that sinks stand before them; later a cache has those.
    opens: bool


class KeyValueCache:
    """Keys and values of all layers, allocated once and filled from the left.

    Keys are rotated before they are cached: each keeps the position at which it was written.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        batch: int,
        num_tokens: int,
        like: Tensor,
    ) -> None:
        self.num_sinks = sink_rows(config)
        slots, width = self.num_sinks + num_tokens, config.head_width + spare_width(config)
        shape = (config.num_layers, batch, config.kv_heads, slots, width)
        self.keys = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Tokens that fit."""
        return self.keys.shape[3] - self.num_sinks

    def append(
        self,
        layer: int,
        *,
        keys: Float[Tensor, "batch heads new width"],
        values: Float[Tensor, "batch heads new width"],
    ) -> tuple[Float[Tensor, "batch heads all width"], Float[Tensor, "batch heads all width"]]:
        """Store the new keys and values of one layer; all of it so far. `advance` ends the step.

        The first rows of the first call are those of the sinks.
        """
        start = self.num_sinks + self.length if self.length else 0
        end = start + keys.shape[2]
        self.keys[layer, :, :, start:end] = keys
        self.values[layer, :, :, start:end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Count the tokens that every layer has now stored."""
        self.length += num_tokens


class Attention(nn.Module):
    """Softmax(q k / sqrt(h)) v over what the view lets a token see; no biases."""

    def __init__(self, config: DecoderConfig, *, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads = config.num_heads, config.kv_heads
        self.head_width = config.head_width
        rows = (config.num_heads + 2 * config.kv_heads) * config.head_width
        # One product for q, k and v: rows of q, then of k, then of v.
        self.qkv = nn.Linear(config.d_model, rows, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)
        registers, logits = config.num_registers, isinstance(config.sinks, Logit)
        self.registers = nn.Parameter(torch.zeros(registers, config.d_model)) if registers else None
        self.sink_logits = nn.Parameter(torch.zeros(config.num_heads)) if logits else None

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        view: View | StreamingView,
        cache: KeyValueCache | StreamingCache | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """What attention adds to the residual stream."""
        num_tokens = x.shape[1]
        if self.registers is not None and view.opens:
            x = prepend_registers(x, self.registers)
        heads = self.qkv(x).unflatten(-1, (-1, self.head_width))
        if isinstance(view, StreamingView):
            assert isinstance(cache, StreamingCache)
            mixed = self._stream(heads, view, cache)
        else:
            assert not isinstance(cache, StreamingCache)
            mixed = self._mix(heads, view, cache)
        # Sinks ask too, at the front, and what they get is dropped.
        mixed = mixed[:, :, -num_tokens:, : self.head_width]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _mix(
        self,
        heads: Float[Tensor, "batch tokens all_heads width"],
        view: View,
        cache: KeyValueCache | None,
    ) -> Float[Tensor, "batch heads queries wide"]:
        turning, v = heads.split((self.num_heads + self.num_kv_heads, self.num_kv_heads), dim=2)
        # q and k turn together, in the dtype of the product: float32 tables would promote both.
        turned = rotate(turning, view.cos.to(heads.dtype), view.sin.to(heads.dtype))
        q, k = turned.split((self.num_heads, self.num_kv_heads), dim=2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        scale = None
        if self.sink_logits is not None:
            widened = add_sink_logits(Heads(q, k, v), self.sink_logits, opens=view.opens)
            q, k, v = widened.q, widened.k, widened.v
            scale = 1 / math.sqrt(self.head_width)
        if cache is not None:
            k, v = cache.append(self.layer, keys=k, values=v)
        return attend(q, k, v, mask=view.mask, scale=scale)

    def _stream(
        self,
        heads: Float[Tensor, "batch tokens all_heads width"],
        view: StreamingView,
        cache: StreamingCache,
    ) -> Float[Tensor, "batch heads queries width"]:
        split = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        q, k, v = (part.transpose(1, 2) for part in heads.split(split, dim=2))
        kept = cache.extend(self.layer, torch.stack((k, v)), view=view)
        # Registers need no query.
        q = q[:, :, -view.mask.shape[2] :]
        return attend_to_kept(q, kept, view=view, sink_logits=self.sink_logits)


def attend(
    q: Float[Tensor, "batch heads queries width"],
    k: Float[Tensor, "batch kv_heads keys width"],
    v: Float[Tensor, "batch kv_heads keys width"],
    *,
    mask: Bool[Tensor, "rows 1 queries keys"] | None,
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries width"]:
    """Softmax(q k / sqrt(h)) v by torch's fused kernel, or by plain products where these win.

    `scale` stands for 1 / sqrt(h) where the heads are wider than what they were made of.
    """
    causal = mask is None and q.shape[2] > 1
    # On a CPU the fused kernel gains nothing from bf16: compiled products took less than half its
    # time at 256 and 512 tokens. Beyond, the stored probabilities would cost more than they save.
    plain = q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= 1024
    if causal and plain:
        return causal_products(q, k, v, scale=scale)
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )


def causal_products(
    q: Float[Tensor, "batch heads tokens width"],
    k: Float[Tensor, "batch kv_heads tokens width"],
    v: Float[Tensor, "batch kv_heads tokens width"],
    *,
    scale: float | None = None,
    block: int = 128,
) -> Float[Tensor, "batch heads tokens width"]:
    """Causal attention as matrix products, a block of queries over the keys up to its end.

    The softmax is float32 (or float64).
    """
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    dtype = torch.promote_types(q.dtype, torch.float32)
    root = math.sqrt(q.shape[3]) if scale is None else 1 / scale
    index = torch.arange(q.shape[2], device=q.device)
    mixed = []
    for start in range(0, q.shape[2], block):
        end = min(start + block, q.shape[2])
        scores = (q[:, :, start:end] @ k[:, :, :end].mT).to(dtype) / root
        ahead = index[:end] > index[start:end, None]
        p = scores.masked_fill(ahead, -math.inf).softmax(-1).to(q.dtype)
        mixed.append(p @ v[:, :, :end])
    return torch.cat(mixed, dim=2)


def attention_mask(
    *,
    num_queries: int,
    num_keys: int,
    window: int | None,
    documents: Int[Tensor, "batch keys"] | None,
    pads: Int[Tensor, " batch"] | None,
    device: torch.device,
) -> Bool[Tensor, "rows 1 queries keys"] | None:
    """Which of `num_keys` tokens the last `num_queries` of them see; None: all up to themselves.

    A query sees itself and `window` - 1 tokens before it, only its own document, and no left pad.
    """
    windowed = window is not None and window < num_keys
    continued = 1 < num_queries < num_keys
    if documents is None and pads is None and not windowed and not continued:
        return None
    keys = torch.arange(num_keys, device=device)
    distance = keys[num_keys - num_queries :, None] - keys
    mask = (distance >= 0)[None]
    if window is not None:
        mask = mask & (distance < window)
    if documents is not None:
        mask = mask & (documents[:, num_keys - num_queries :, None] == documents[:, None, :])
    if pads is not None:
        # A pad sees itself: a query that sees nothing has no softmax.
        mask = (mask & (keys >= pads[:, None, None])) | (distance == 0)
    return mask[:, None]
