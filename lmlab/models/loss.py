"""Cross-entropy straight from hidden states, a block of rows at a time.

All logits of a batch in float32 are the largest tensor of a training step; here they never exist.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
# Logits of one block. On a CPU they stay in the cache; a GPU wants products of some size.
BLOCK_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}


def cross_entropy_sum(
    hidden: Float[Tensor, "*batch width"],
    weight: Float[Tensor, "vocab width"],
    targets: Int[Tensor, "*batch"],
    *,
    ignore: int = IGNORED,
) -> Float[Tensor, ""]:
    """Sum over the targets of -log softmax(hidden weight^T), in nats and float32 (or float64).

    Targets equal to `ignore` count nothing. Under autocast the products run in its dtype.
    """
    rows, wanted = hidden.flatten(0, -2), targets.flatten()
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        return _CrossEntropySum.apply(rows, weight, wanted, ignore)
    return token_nll(hidden, weight, targets, ignore=ignore).sum()


@torch.no_grad()
def token_nll(
    hidden: Float[Tensor, "*batch width"],
    weight: Float[Tensor, "vocab width"],
    targets: Int[Tensor, "*batch"],
    *,
    ignore: int = IGNORED,
) -> Float[Tensor, "*batch"]:
    """Each target's -log probability in nats, without gradients; 0 where it is ignored."""
    rows, wanted = hidden.flatten(0, -2), targets.flatten()
    dtype = _product_dtype(rows)
    weight = weight.to(dtype)
    blocks = [
        _block(rows[at].to(dtype), weight, wanted[at], ignore=ignore).nll
        for at in _slices(rows, vocab=len(weight))
    ]
    return torch.cat(blocks).view(targets.shape)


@dataclass(frozen=True)
class _Block:
    """The log-probabilities of some rows, and their targets' share of them."""

    log_p: Float[Tensor, "rows vocab"]
    nll: Float[Tensor, " rows"]
    index: Int[Tensor, "rows 1"]
    kept: Float[Tensor, "rows 1"]


class _CrossEntropySum(torch.autograd.Function):
    """The gradient of a block, softmax - onehot, is formed while its logits are there."""

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, targets: Tensor, ignore: int) -> Tensor:
        dtype = _product_dtype(rows)
        weight_cast = weight.to(dtype)
        total = torch.zeros((), dtype=_sum_dtype(dtype), device=rows.device)
        grad_rows = torch.empty_like(rows)
        grad_weight = torch.zeros_like(weight)
        for at in _slices(rows, vocab=len(weight)):
            hidden = rows[at].to(dtype)
            block = _block(hidden, weight_cast, targets[at], ignore=ignore)
            total += block.nll.sum()
            slope = block.log_p.exp_().scatter_add_(1, block.index, -torch.ones_like(block.kept))
            # In place: on a CPU each new tensor of this size is mapped and faulted in anew.
            slope = slope.mul_(block.kept).to(dtype)
            grad_rows[at] = slope @ weight_cast
            grad_weight += slope.T @ hidden
        ctx.save_for_backward(grad_rows, grad_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]  (the decorator hides the names)
        (grad,) = grads
        grad_rows, grad_weight = ctx.saved_tensors
        return grad_rows * grad.to(grad_rows.dtype), grad_weight * grad, None, None


def _block(
    hidden: Float[Tensor, "rows width"],
    weight: Float[Tensor, "vocab width"],
    targets: Int[Tensor, " rows"],
    *,
    ignore: int,
) -> _Block:
    logits = hidden @ weight.T
    log_p = logits.log_softmax(-1, dtype=_sum_dtype(logits.dtype))
    kept = (targets != ignore)[:, None]
    index = torch.where(kept, targets[:, None], 0)
    nll = torch.where(kept, -log_p.gather(1, index), 0.0)
    return _Block(log_p=log_p, nll=nll[:, 0], index=index, kept=kept.to(log_p.dtype))


def _slices(rows: Tensor, *, vocab: int) -> list[slice]:
    step = max(1, BLOCK_ELEMENTS[rows.device.type] // vocab)
    return [slice(start, start + step) for start in range(0, max(len(rows), 1), step)]


def _product_dtype(rows: Tensor) -> torch.dtype:
    kind = rows.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
