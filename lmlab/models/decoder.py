"""The decoder: RMSNorm, SwiGLU, rotary positions, causal attention; no biases, like Llama."""

import hashlib
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lmlab.models.attention import Attention, KeyValueCache, View, attention_mask
from lmlab.models.experts import Experts, Routing
from lmlab.models.positions import frequencies, tables
from lmlab.models.schema import DecoderConfig
from lmlab.models.sinks import show_sinks, sink_rows
from lmlab.models.streaming import StreamingCache, StreamingView


class Decoder(nn.Module):
    """Tokens to hidden states and logits.

    Points at which it can be read: `embed`, `blocks[l]`, `blocks[l].attention`, `blocks[l].mlp`,
    `final_norm`; attention and mlp return what they add to the residual stream, a block the
    stream itself and its `Routing` (None where it has no experts).
    """

    def __init__(self, config: DecoderConfig, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.embed = nn.Embedding(vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer=n) for n in range(config.num_layers))
        self.final_norm = RMSNorm(config)
        untied = not config.tie_embeddings
        self.head = nn.Linear(config.d_model, vocab_size, bias=False) if untied else None
        turns = tables(
            frequencies(config.position, width=config.head_width),
            torch.arange(config.num_registers + config.context_tokens),
        )
        self.cos = nn.Buffer(turns.cos.float(), persistent=False)
        self.sin = nn.Buffer(turns.sin.float(), persistent=False)

    @property
    def head_weight(self) -> Float[Tensor, "vocab width"]:
        """The output projection: the embedding itself when tied."""
        return self.embed.weight if self.head is None else self.head.weight

    def forward(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        documents: Int[Tensor, "batch tokens"] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
        cache: KeyValueCache | StreamingCache | None = None,
    ) -> Float[Tensor, "batch tokens vocab"]:
        """The logits of the token after each one; arguments as in `hidden`."""
        return self.logits(self.hidden(tokens, documents=documents, pads=pads, cache=cache))

    def hidden(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        documents: Int[Tensor, "batch tokens"] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
        cache: KeyValueCache | StreamingCache | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """The states after the final norm.

        `documents` names the document of each token of a packed row: none sees another, and each
        starts at position 0. `pads` counts the pads at the left of each row. With a `cache`, the
        tokens go on where it ends; `pads` are then given at every call. Where each layer's experts
        were sent what is added to `routings`.
        """
        view = self._view(tokens, documents=documents, pads=pads, cache=cache)
        x = F.dropout(self.embed(tokens), self.config.dropout, self.training)
        recompute = self.config.gradient_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            if recompute:
                x, routing = checkpoint(block, x, view, cache, use_reentrant=False)
            else:
                x, routing = block(x, view, cache)
            if routings is not None and routing is not None:
                routings.append(routing)
        if cache is not None:
            cache.advance(tokens.shape[1])
        return self.final_norm(x)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocab"]:
        """Hidden states times the output projection."""
        return F.linear(hidden, self.head_weight)

    def _view(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        documents: Int[Tensor, "batch tokens"] | None,
        pads: Int[Tensor, " batch"] | None,
        cache: KeyValueCache | StreamingCache | None,
    ) -> View | StreamingView:
        if documents is not None and (pads is not None or cache is not None):
            raise ValueError("packed documents go with neither left pads nor a cache")
        if isinstance(cache, StreamingCache):
            return cache.view(tokens.shape[1], pads)
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        _check_length(end, context_tokens=self.config.context_tokens, cache=cache)
        mask = attention_mask(
            num_queries=tokens.shape[1],
            num_keys=end,
            window=self.config.window_tokens,
            documents=documents,
            pads=pads,
            device=tokens.device,
        )
        index = torch.arange(start, end, device=tokens.device)
        real = None if pads is None else index >= pads[:, None]
        opens, shift = start == 0, self.config.num_registers
        mask = show_sinks(mask, num_rows=sink_rows(self.config), opens=opens)
        # Registers take the first positions and move all others up.
        begin = 0 if opens else shift + start
        cos, sin = self.cos[None, begin : shift + end], self.sin[None, begin : shift + end]
        if documents is not None or pads is not None:
            positions = _positions(start, end, documents=documents, pads=pads, like=tokens) + shift
            if opens and shift:
                registers = torch.arange(shift, device=tokens.device).expand(len(positions), -1)
                positions = torch.cat((registers, positions), dim=1)
            cos, sin = self.cos[positions], self.sin[positions]
        return View(cos=cos[:, :, None], sin=sin[:, :, None], mask=mask, real=real, opens=opens)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); and where its experts were sent what."""

    def __init__(self, config: DecoderConfig, *, layer: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention_norm = RMSNorm(config)
        self.attention = Attention(config, layer=layer)
        self.mlp_norm = RMSNorm(config)
        self.mlp = SwiGLU(config) if config.experts is None else Experts(config, config.experts)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        view: View | StreamingView,
        cache: KeyValueCache | StreamingCache | None,
    ) -> tuple[Float[Tensor, "batch tokens width"], Routing | None]:
        """One layer. Dropout falls on what is added, so that attention keeps its fast kernels."""
        mixed = self.attention(self.attention_norm(x), view, cache)
        x = x + F.dropout(mixed, self.dropout, self.training)
        normed, routing = self.mlp_norm(x), None
        if isinstance(self.mlp, Experts):
            routing = self.mlp.route(normed, view.real)
            added = self.mlp(normed, routing)
        else:
            added = self.mlp(normed)
        return x + F.dropout(added, self.dropout, self.training), routing


class SwiGLU(nn.Module):
    """(SiLU(x W_gate) * x W_up) W_down (Shazeer 2020)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        # One product for both: rows of gate, then of up.
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """What the layer adds to the residual stream."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class RMSNorm(nn.Module):
    """g x / sqrt(mean(x^2) + eps); torch computes the mean in float32 whatever the dtype."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.d_model))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised states."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


@torch.no_grad()
def init_weights(model: Decoder, *, seed: int) -> None:
    """N(0, init_std), what writes to the residual stream / sqrt(2 L); norms one, sink logits zero.

    Every parameter draws from a generator of its own, keyed by the seed and its name, so that
    adding a module changes the start of no other.
    """
    std = model.config.init_std
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("sink_logits") else 1.0)
            continue
        writes = name.endswith(("attention.out.weight", "mlp.down.weight", "mlp.down"))
        scale = 1 / math.sqrt(2 * model.config.num_layers) if writes else 1.0
        drawn = torch.empty(parameter.shape).normal_(
            0.0, std * scale, generator=_generator(name, seed=seed)
        )
        parameter.copy_(drawn)


def _generator(name: str, *, seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def _check_length(end: int, *, context_tokens: int, cache: KeyValueCache | None) -> None:
    if end > context_tokens:
        raise ValueError(
            f"{end} tokens are more than the model's context of {context_tokens}; "
            "shorten the text or choose a model with a longer context"
        )
    if cache is not None and end > cache.capacity:
        raise ValueError(f"{end} tokens are more than the cache of {cache.capacity} holds")


def _positions(
    start: int,
    end: int,
    *,
    documents: Int[Tensor, "batch tokens"] | None,
    pads: Int[Tensor, " batch"] | None,
    like: Tensor,
) -> Int[Tensor, "batch tokens"]:
    """Each token's place in its document or, with left pads, among the real tokens of its row."""
    index = torch.arange(start, end, device=like.device)
    if pads is not None:
        return (index - pads[:, None]).clamp(min=0)
    assert documents is not None
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return index - (index * begins).cummax(dim=1).values
