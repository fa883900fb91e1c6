"""Learned attention sinks, as rows that stand before those of the tokens.

Registers are vectors that attention reads like tokens. A sink logit b adds exp(b) to the
denominator of a softmax: here it is a row too, with a key to which every query has the score b,
and the value 0. So both work with any attention that knows a causal flag or a mask, and nothing of
the size of the scores is stored: torch's fused kernels know no sink logit, take a bias only as a
tensor of that size, and do not give the softmax's denominator.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lmlab.models.schema import DecoderConfig, Logit

# A sink's key differs from all others in one component of its own. Fused kernels of GPUs want a
# multiple of eight.
SPARE_WIDTH = 8


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values of one layer."""

    q: Float[Tensor, "batch heads queries width"]
    k: Float[Tensor, "batch kv_heads keys width"]
    v: Float[Tensor, "batch kv_heads keys width"]


def sink_rows(config: DecoderConfig) -> int:
    """Rows that a model's sinks put before those of the tokens."""
    return 1 if isinstance(config.sinks, Logit) else config.num_registers


def spare_width(config: DecoderConfig) -> int:
    """Components that a model's sinks add to its heads."""
    return SPARE_WIDTH if isinstance(config.sinks, Logit) else 0


def prepend_registers(
    x: Float[Tensor, "batch tokens width"], registers: Float[Tensor, "sinks width"]
) -> Float[Tensor, "batch sinks_and_tokens width"]:
    """The registers before every row. They ask nothing: drop what attention mixes for them."""
    return torch.cat((registers.to(x.dtype).expand(len(x), -1, -1), x), dim=1)


def add_sink_logits(of: Heads, logits: Float[Tensor, " heads"], *, opens: bool) -> Heads:
    """Heads whose queries, times keys, divided by the root of their old width, know the logits.

    If it `opens` the text, the sink's row stands first, with a query of 0; later, a cache has it.
    """
    spare = (0, SPARE_WIDTH)
    score = (logits * math.sqrt(of.q.shape[3])).to(of.q.dtype)[:, None, None]
    score = F.pad(score.expand(*of.q.shape[:3], 1), (0, SPARE_WIDTH - 1))
    q, k, v = torch.cat((of.q, score), dim=3), F.pad(of.k, spare), F.pad(of.v, spare)
    if not opens:
        return Heads(q, k, v)
    above = (0, 0, 1, 0)
    row = k.new_zeros(k.shape[3])
    row[of.k.shape[3]] = 1
    k = torch.cat((row.expand(*k.shape[:2], 1, -1), k), dim=2)
    return Heads(F.pad(q, above), k, F.pad(v, above))


def show_sinks(
    mask: Bool[Tensor, "rows 1 queries keys"] | None, *, num_rows: int, opens: bool
) -> Bool[Tensor, "rows 1 all_queries all_keys"] | None:
    """The mask of the tokens with the sinks before it: every query sees them.

    What they see themselves is dropped, and lets their softmax be defined.
    """
    if mask is None or not num_rows:
        return mask
    return F.pad(mask, (num_rows, 0, num_rows if opens else 0, 0), value=True)
