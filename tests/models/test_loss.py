"""The blockwise cross-entropy against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from lmlab.models import loss
from lmlab.models.loss import IGNORED, cross_entropy_sum, token_nll


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of 3 rows: 10 rows end in an uneven one."""
    monkeypatch.setitem(loss.BLOCK_ELEMENTS, "cpu", 3 * 17)


def inputs(dtype: torch.dtype, *, rows: int = 10):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(rows, 6, generator=generator, dtype=dtype)
    weight = torch.randn(17, 6, generator=generator, dtype=dtype)
    targets = torch.randint(17, (rows,), generator=generator)
    targets[::4] = IGNORED
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def gradients(value, hidden, weight):
    return torch.autograd.grad(3.0 * value, (hidden, weight))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_gradients_equal_the_plain_cross_entropy(dtype, tolerance):
    hidden, weight, targets = inputs(dtype)
    ours = cross_entropy_sum(hidden, weight, targets)
    plain = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    assert ours.dtype == dtype
    assert abs(ours - plain) <= tolerance
    for mine, theirs in zip(
        gradients(ours, hidden, weight), gradients(plain, hidden, weight), strict=True
    ):
        assert (mine - theirs).abs().max() <= tolerance


def test_the_gradient_equals_finite_differences():
    hidden, weight, targets = inputs(torch.float64)
    assert torch.autograd.gradcheck(lambda h, w: cross_entropy_sum(h, w, targets), (hidden, weight))


def test_only_what_needs_a_gradient_may_be_asked_for():
    hidden, weight, targets = inputs(torch.float64)
    frozen = cross_entropy_sum(hidden, weight.detach(), targets)
    plain = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    (mine,), (theirs, _) = torch.autograd.grad(frozen, hidden), gradients(plain, hidden, weight)
    assert (3 * mine - theirs).abs().max() <= 1e-12


def test_targets_that_are_all_ignored_cost_nothing():
    hidden, weight, targets = inputs(torch.float32)
    value = cross_entropy_sum(hidden, weight, torch.full_like(targets, IGNORED))
    assert value == 0
    assert all(not grad.any() for grad in gradients(value, hidden, weight))


def test_rows_may_have_any_shape_and_no_row_at_all():
    hidden, weight, targets = inputs(torch.float64)
    flat = cross_entropy_sum(hidden, weight, targets)
    assert cross_entropy_sum(hidden.view(2, 5, 6), weight, targets.view(2, 5)) == flat
    assert cross_entropy_sum(hidden[:0], weight, targets[:0]) == 0
    with torch.no_grad():
        assert cross_entropy_sum(hidden[:0], weight, targets[:0]) == 0


@torch.no_grad()
def test_each_token_has_its_own_nll_and_they_sum_to_the_loss():
    hidden, weight, targets = inputs(torch.float64)
    each = token_nll(hidden.view(2, 5, 6), weight, targets.view(2, 5))
    plain = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    assert (each.flatten() - plain).abs().max() <= 1e-12
    assert abs(cross_entropy_sum(hidden, weight, targets) - plain.sum()) <= 1e-12


def test_probabilities_are_float32_under_bfloat16_products():
    hidden, weight, targets = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = cross_entropy_sum(hidden, weight, targets)
        logits = hidden @ weight.T
    plain = F.cross_entropy(logits.float(), targets, reduction="sum")
    assert logits.dtype == torch.bfloat16
    assert ours.dtype == torch.float32
    assert abs(ours - plain) <= 1e-4
    exact = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    for mine, theirs in zip(
        gradients(ours, hidden, weight), gradients(exact, hidden, weight), strict=True
    ):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() / theirs.norm() <= 0.02
