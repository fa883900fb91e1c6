"""A mixture of experts: each token goes through the few SwiGLUs that its router likes best.

Mixtral's form (Jiang et al. 2024), with the load-balancing loss of the Switch Transformer
(Fedus et al. 2021), one row at a time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lmlab.models.schema import DecoderConfig, ExpertsConfig


class Routing(NamedTuple):
    """Where one layer sends the tokens of each row: `top_k` slots a token."""

    probabilities: Float[Tensor, "batch tokens experts"]
    chosen: Int[Tensor, "batch tokens slots"]
    weights: Float[Tensor, "batch tokens slots"]
    # Slots beyond their expert's capacity; None: there is no capacity.
    over: Bool[Tensor, "batch tokens slots"] | None


class Experts(nn.Module):
    """sum_e w_e FFN_e(x) over a token's `top_k` experts; w are their shares, made to sum to 1.

    With a `capacity_factor`, training leaves out the slots over an expert's capacity, and what they
    would have added; evaluation and generation leave out nothing.
    """

    def __init__(self, config: DecoderConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        self.top_k, self.capacity_factor = experts.top_k, experts.capacity_factor
        self.router = nn.Linear(config.d_model, experts.num_experts, bias=False)
        # One matrix an expert: rows of gate, then of up.
        self.gate_up = nn.Parameter(
            torch.empty(experts.num_experts, 2 * config.d_ff, config.d_model)
        )
        self.down = nn.Parameter(torch.empty(experts.num_experts, config.d_model, config.d_ff))

    def route(
        self,
        x: Float[Tensor, "batch tokens width"],
        real: Bool[Tensor, "batch tokens"] | None,
    ) -> Routing:
        """Choose each token's experts, in float32 (or float64); `real` tokens are no pads."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        # Not in bf16: two close experts would be told apart by rounding.
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.to(dtype), self.router.weight.to(dtype))
        p = logits.softmax(-1)
        best = p.topk(self.top_k, dim=-1)
        over = None
        if self.capacity_factor is not None:
            over = over_capacity(
                best.indices, real, factor=self.capacity_factor, num_experts=p.shape[-1]
            )
        weights = best.values / best.values.sum(-1, keepdim=True)
        return Routing(p, best.indices, weights, over)

    def forward(
        self, x: Float[Tensor, "batch tokens width"], routing: Routing
    ) -> Float[Tensor, "batch tokens width"]:
        """What the layer adds to the residual stream."""
        num_experts = len(self.gate_up)
        expert = routing.chosen.flatten()
        if self.training and routing.over is not None:
            # An expert that there is not: its slots come last and add nothing.
            expert = torch.where(routing.over.flatten(), num_experts, expert)
        order = expert.argsort(stable=True)
        counts = (expert == torch.arange(num_experts, device=x.device)[:, None]).sum(1)
        dtype = _product_dtype(x)
        rows = x.flatten(0, 1).to(dtype).index_select(0, order // self.top_k)
        gate, up = grouped_product(rows, self.gate_up.to(dtype), counts).chunk(2, dim=-1)
        added = grouped_product(F.silu(gate) * up, self.down.to(dtype), counts)
        slots = added.index_select(0, order.argsort()).view(*routing.chosen.shape, -1)
        return (slots * routing.weights[..., None]).sum(2)


def over_capacity(
    chosen: Int[Tensor, "batch tokens slots"],
    real: Bool[Tensor, "batch tokens"] | None,
    *,
    factor: float,
    num_experts: int,
) -> Bool[Tensor, "batch tokens slots"]:
    """Slots that come to an expert after factor * tokens * top_k / experts (rounded up) of the row.

    The row's earlier tokens come first: what is dropped depends on no later token, other row or
    left pad. Pads at the right count as tokens but can take no earlier token's place.
    """
    batch, tokens, slots = chosen.shape
    if real is None:
        real = chosen.new_ones(batch, tokens, dtype=torch.bool)
    capacity = (real.sum(1) * (factor * slots / num_experts)).ceil()
    taken = F.one_hot(chosen, num_experts) * real[:, :, None, None]
    place = taken.flatten(1, 2).cumsum(1).view_as(taken).gather(3, chosen[..., None])[..., 0]
    return (place > capacity[:, None, None]) & real[:, :, None]


class Usage(NamedTuple):
    """What each layer's experts got of each row."""

    slots: Float[Tensor, "layers batch experts"]
    probabilities: Float[Tensor, "layers batch experts"]
    # Slots over capacity, which training drops.
    over: Float[Tensor, "layers batch"]


def expert_usage(
    routings: Sequence[Routing], *, real: Bool[Tensor, "batch tokens"] | None
) -> Usage:
    """Slots, and sums of the router's probabilities, over the `real` tokens (None: all)."""
    layers = [_layer_usage(one, real=real) for one in routings]
    slots, probabilities, over = (torch.stack(parts) for parts in zip(*layers, strict=True))
    return Usage(slots, probabilities, over)


def balance_sum(usage: Usage, *, top_k: int, row_units: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Sum over rows of row_units * E sum_e f_e P_e (Fedus et al. 2021, eq. 4), layers pooled.

    f_e is the mean over a row's tokens and layers of the slots given to e, P_e that of e's
    probability; at perfect balance a row's value is top_k. Each row is balanced by itself: a
    product of means over a whole window is no sum over its micro-batches, and this is one. It is
    to be divided by the window's sum of `row_units` (targets), as the NLL is.
    """
    slots, p = usage.slots.sum(0), usage.probabilities.sum(0)
    num_tokens = slots.sum(1, keepdim=True).clamp(min=1) / top_k
    each = slots.shape[1] * (slots / num_tokens * p / num_tokens).sum(1)
    return (each * row_units).sum()


def grouped_product(
    rows: Float[Tensor, "rows inner"],
    weight: Float[Tensor, "experts outer inner"],
    counts: Int[Tensor, " experts"],
) -> Float[Tensor, "rows outer"]:
    """Each row times weight[e]^T; the first counts[0] rows are expert 0's, and so on, the rest 0.

    One operation to torch.compile, whose graph would else end at sizes that depend on the data.
    (torch's grouped_mm takes no float64, and compiled no float32.)
    """
    return _product(rows, weight, counts)


@torch.library.custom_op("lmlab::expert_product", mutates_args=())
def _product(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    out = rows.new_zeros(len(rows), weight.shape[1])
    for matrix, part, into in zip(weight, _parts(rows, counts), _parts(out, counts), strict=True):
        torch.mm(part, matrix.T, out=into)
    return out


@torch.library.custom_op("lmlab::expert_product_weight", mutates_args=())
def _weight_gradient(grad: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
    parts = zip(_parts(grad, counts), _parts(rows, counts), strict=True)
    return torch.stack([upper.T @ lower for upper, lower in parts])


def _parts(rows: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
    """The rows of each expert; what is left is nobody's."""
    sizes = counts.tolist()
    return rows[: sum(sizes)].split(sizes)


@_product.register_fake
def _(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    return rows.new_empty(len(rows), weight.shape[1])


@_weight_gradient.register_fake
def _(grad: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
    return rows.new_empty(len(counts), grad.shape[1], rows.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    rows, weight, counts = ctx.saved_tensors
    return _product(grad, weight.mT, counts), _weight_gradient(grad, rows, counts), None


_product.register_autograd(_gradients, setup_context=_keep)


def _layer_usage(
    routing: Routing, *, real: Bool[Tensor, "batch tokens"] | None
) -> tuple[Float[Tensor, "batch experts"], Float[Tensor, "batch experts"], Float[Tensor, " batch"]]:
    p, chosen, over = routing.probabilities, routing.chosen, routing.over
    counted = torch.ones_like(p[..., 0]) if real is None else real.to(p.dtype)
    each = counted[..., None].expand(chosen.shape).flatten(1)
    slots = p.new_zeros(len(p), p.shape[-1]).scatter_add(1, chosen.flatten(1), each)
    probabilities = (p * counted[..., None]).sum(1)
    dropped = torch.zeros_like(each) if over is None else each * over.flatten(1)
    return slots, probabilities, dropped.sum(1)


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
