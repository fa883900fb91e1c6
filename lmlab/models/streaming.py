"""A cache of constant size, for running past the trained length (Xiao et al. 2023, StreamingLLM).

It keeps the keys and values of a few pinned tokens (registers, the first tokens of a text) and of
the most recent ones. Keys are kept as they were before rotation and turned anew at every call: a
token's position is its slot among what is kept now, not its place in the text. So no distance is
longer than in training, however long the text.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lmlab.models.positions import frequencies, rotate, tables
from lmlab.models.schema import Beyond, DecoderConfig

# Most tokens that one call takes: a longer text is fed in pieces.
PIECE_TOKENS = 128


@dataclass(frozen=True)
class Turn:
    """Cos and sin for heads laid out as [batch, heads, tokens, width]."""

    cos: Float[Tensor, "rows 1 tokens width"]
    sin: Float[Tensor, "rows 1 tokens width"]

    def __call__(
        self, x: Float[Tensor, "batch heads tokens width"]
    ) -> Float[Tensor, "batch heads tokens width"]:
        """The heads turned, in their own dtype."""
        return rotate(x, self.cos.to(x.dtype), self.sin.to(x.dtype))


@dataclass(frozen=True)
class Arrivals:
    """Which of the new tokens are first ones of their text, and so stay."""

    rows: Int[Tensor, " arrivals"]
    columns: Int[Tensor, " arrivals"]
    slots: Int[Tensor, " arrivals"]


@dataclass(frozen=True)
class StreamingView:
    """Where the new tokens of one forward stand, and what they see.

    Of several new tokens, each sees the slots as they are when it comes. The distance to a recent
    token is the same at all times; the one to a pinned token stops growing once the cache is full.
    """

    query_to_pinned: Turn
    query_to_recent: Turn
    pinned: Turn
    recent: Turn
    # Over the pinned keys, then the recent ones.
    mask: Bool[Tensor, "rows 1 tokens keys"]
    arrivals: Arrivals
    # Which tokens are no left pads; None: all.
    real: Bool[Tensor, "rows tokens"] | None
    # Whether these tokens open the text, so that registers stand before them.
    opens: bool


@dataclass(frozen=True)
class Kept:
    """Unrotated keys and values of one layer."""

    pinned: Float[Tensor, "2 batch kv_heads pinned width"]
    recent: Float[Tensor, "2 batch kv_heads recent width"]


class StreamingCache:
    """Unrotated keys and values of all layers, in the same space however long the text.

    Rows may have left pads, given at every call; each row has first tokens of its own.
    """

    def __init__(self, config: DecoderConfig, beyond: Beyond, *, batch: int, like: Tensor) -> None:
        check_beyond(beyond, config)
        self.num_registers, self.num_first = config.num_registers, beyond.num_first
        self.recent_tokens = beyond.recent_tokens
        self.length = 0
        # The newest token need not be kept: it is given.
        slots = (self.num_registers + self.num_first, self.recent_tokens - 1)
        pinned, recent = (
            (config.num_layers, 2, batch, config.kv_heads, number, config.head_width)
            for number in slots
        )
        self.pinned, self.recent = like.new_zeros(pinned), like.new_zeros(recent)
        turns = tables(
            frequencies(config.position, width=config.head_width),
            torch.arange(1 - PIECE_TOKENS, self.num_registers + self.seen_tokens),
        )
        # Never below float32: in bf16 positions beyond 256 would fall together.
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.cos, self.sin = turns.cos.to(like.device, dtype), turns.sin.to(like.device, dtype)

    @property
    def seen_tokens(self) -> int:
        """Tokens that a token sees when the cache is full, itself included."""
        return self.num_first + self.recent_tokens

    @property
    def num_bytes(self) -> int:
        """What it holds between calls."""
        return sum(part.nbytes for part in (self.pinned, self.recent, self.cos, self.sin))

    def view(self, num_new: int, pads: Int[Tensor, " batch"] | None) -> StreamingView:
        """Where the next tokens stand. Raises ValueError for more than a piece of them."""
        if num_new > PIECE_TOKENS:
            raise ValueError(
                f"{num_new} tokens are more than the {PIECE_TOKENS} that a streaming cache takes "
                "at once; feed them in pieces"
            )
        begin = self.length - self.recent_tokens + 1
        columns = torch.arange(begin, self.length + num_new, device=self.cos.device)
        # Places in each row's text; negative before it.
        keys = columns[None] if pads is None else columns - pads[:, None]
        queries = keys[:, -num_new:]
        # The slots are those of the last new token, when so many have left.
        gone = (queries[:, -1:] - (self.seen_tokens - 1)).clamp(min=0)
        slots = torch.arange(self.num_registers + self.num_first, device=keys.device)
        return StreamingView(
            query_to_pinned=self._turn(queries.clamp(0, self.seen_tokens - 1) + self.num_registers),
            query_to_recent=self._turn(queries - gone + self.num_registers),
            pinned=self._turn(slots[None]),
            recent=self._turn(keys - gone + self.num_registers),
            mask=self._mask(queries, keys, slots - self.num_registers),
            arrivals=self._arrivals(queries),
            real=None if pads is None else queries >= 0,
            opens=self.length == 0,
        )

    def extend(
        self, layer: int, new: Float[Tensor, "2 batch kv_heads new width"], *, view: StreamingView
    ) -> Kept:
        """Store one layer's new keys and values; what is seen. `advance` ends the step.

        The first rows of the first call are the registers'.
        """
        pinned, recent = self.pinned[layer], self.recent[layer]
        if view.opens:
            pinned[..., : self.num_registers, :] = new[..., : self.num_registers, :]
            new = new[..., self.num_registers :, :]
        came = view.arrivals
        pinned[:, came.rows, :, self.num_registers + came.slots] = new[
            :, came.rows, :, came.columns
        ]
        both = torch.cat((recent, new), dim=3)
        recent.copy_(both[..., new.shape[3] :, :])
        return Kept(pinned, both)

    def advance(self, num_tokens: int) -> None:
        """Count the tokens that every layer has now stored."""
        self.length += num_tokens

    def _turn(self, positions: Int[Tensor, "rows tokens"]) -> Turn:
        # What is hidden may stand before all that is seen.
        index = (positions + PIECE_TOKENS - 1).clamp(min=0)
        return Turn(self.cos[index][:, None], self.sin[index][:, None])

    def _mask(
        self,
        queries: Int[Tensor, "rows new"],
        keys: Int[Tensor, "rows recent"],
        pinned: Int[Tensor, " pinned"],
    ) -> Bool[Tensor, "rows 1 new all_keys"]:
        """Places of `pinned` are negative for registers, which all see."""
        asks, recent = queries[:, :, None], keys[:, None]
        distance = asks - recent
        near = (distance >= 0) & (distance < self.recent_tokens) & (recent >= self.num_first)
        # A pad sees itself: a query that sees nothing has no softmax.
        near = near | ((distance == 0) & (recent < 0))
        return torch.cat(((pinned <= asks) | (pinned < 0), near), dim=2)[:, None]

    def _arrivals(self, queries: Int[Tensor, "rows new"]) -> Arrivals:
        places = queries.expand(self.pinned.shape[2], -1)
        rows, columns = ((places >= 0) & (places < self.num_first)).nonzero(as_tuple=True)
        return Arrivals(rows=rows, columns=columns, slots=places[rows, columns])


def check_beyond(beyond: Beyond, config: DecoderConfig) -> None:
    """Raise ValueError where a model was never trained on what it would see."""
    seen = beyond.num_first + beyond.recent_tokens
    if seen > config.context_tokens:
        raise ValueError(
            f"{beyond.num_first} first and {beyond.recent_tokens} recent tokens are {seen}, more "
            f"than the model's context of {config.context_tokens}; keep fewer recent_tokens"
        )
    if config.window_tokens is not None and beyond.recent_tokens > config.window_tokens:
        raise ValueError(
            f"{beyond.recent_tokens} recent tokens are more than the model's window of "
            f"{config.window_tokens}; keep fewer recent_tokens"
        )


def attend_to_kept(
    q: Float[Tensor, "batch heads new width"],
    kept: Kept,
    *,
    view: StreamingView,
    sink_logits: Float[Tensor, " heads"] | None,
) -> Float[Tensor, "batch heads new width"]:
    """Softmax(q k / sqrt(h)) v with every key turned to its slot; the softmax is float32."""
    kv_heads = kept.pinned.shape[2]

    def fold(turned: Tensor) -> Tensor:
        # The query heads of a key head beside each other, as more queries: no key is repeated.
        return turned.unflatten(1, (kv_heads, -1)).flatten(2, 3)

    products = (
        fold(view.query_to_pinned(q)) @ view.pinned(kept.pinned[0]).mT,
        fold(view.query_to_recent(q)) @ view.recent(kept.recent[0]).mT,
    )
    scores = torch.cat(products, dim=3).unflatten(2, (-1, q.shape[2]))
    scores = scores.to(torch.promote_types(q.dtype, torch.float32)) / math.sqrt(q.shape[3])
    scores = scores.masked_fill(~view.mask[:, :, None], -math.inf)
    if sink_logits is not None:
        column = sink_logits.to(scores.dtype).view(kv_heads, -1, 1, 1)
        scores = torch.cat((scores, column.expand(*scores.shape[:-1], 1)), dim=4)
    num_keys = view.mask.shape[3]
    p = scores.softmax(-1)[..., :num_keys].to(q.dtype)
    values = torch.cat((kept.pinned[1], kept.recent[1]), dim=2)
    return (p.flatten(2, 3) @ values).unflatten(2, (-1, q.shape[2])).flatten(1, 2)
