"""The NLL at every position of a long text, arm by arm, against slow loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow_decoder import drawn_tokens as tokens
from slow_decoder import everything, slow_logits, slow_nll, small_decoder, streaming

from lmlab.models.decoder import Decoder
from lmlab.models.long_text import nll_by_position, with_context
from lmlab.models.schema import FirstTokens, Full, Recompute, Window

SINKS = {"none": None, "register": {"kind": "register", "num_sinks": 2}, "logit": {"kind": "logit"}}
each_kind = pytest.mark.parametrize("sinks", SINKS)


def decoder(sinks: str = "none", **changes) -> Decoder:
    return small_decoder(SINKS[sinks], **{"context_tokens": 8} | changes)


ARMS = {
    "first": (FirstTokens(num_first=3, recent_tokens=5), streaming(3, 5)),
    "window": (Window(recent_tokens=8), streaming(0, 8)),
    "full": (Full(context_tokens=150), everything),
}


@each_kind
@pytest.mark.parametrize(("arm", "slots"), ARMS.values(), ids=ARMS.keys())
def test_nll_by_position_equals_a_slow_loop(sinks, arm, slots):
    # Longer than one piece.
    model, text = decoder(sinks).double(), tokens(2, 140)
    found = nll_by_position(model, text, arm=arm)
    assert found.shape == (2, 140)
    assert found[:, 0].isnan().all()
    for row, words in zip(found, text.tolist(), strict=True):
        slow = slow_nll(slow_logits(model, words, slots), words)
        assert np.abs(row[1:].numpy() - slow).max() <= 1e-5


@each_kind
@pytest.mark.parametrize("length", [2, 8, 9, 10, 40])
@torch.no_grad()
def test_recompute_reads_every_window_anew(sinks, length, monkeypatch):
    # Blocks of windows that do not divide their number.
    monkeypatch.setattr("lmlab.models.long_text.BLOCK_TOKENS", 2 * 6 * 7)
    model, text = decoder(sinks).double(), tokens(2, length)
    found = nll_by_position(model, text, arm=Recompute(recent_tokens=6))
    assert found[:, 0].isnan().all()
    for t in range(1, length):
        logits = model(text[:, max(0, t - 6) : t])[:, -1]
        expected = F.cross_entropy(logits, text[:, t], reduction="none")
        assert (found[:, t] - expected).abs().max() <= 1e-9


def test_with_one_layer_a_window_is_what_recomputing_gives():
    model, text = decoder("register", num_layers=1).double(), tokens(2, 60)
    streamed = nll_by_position(model, text, arm=Window(recent_tokens=8))
    recomputed = nll_by_position(model, text, arm=Recompute(recent_tokens=8))
    assert (streamed - recomputed)[:, 1:].abs().max() <= 1e-5
    deep = decoder("register").double()
    streamed = nll_by_position(deep, text, arm=Window(recent_tokens=8))
    recomputed = nll_by_position(deep, text, arm=Recompute(recent_tokens=8))
    assert (streamed - recomputed)[:, 20:].abs().max() > 1e-2


@each_kind
def test_all_arms_agree_within_the_context(sinks):
    model, text = decoder(sinks), tokens(2, 8)
    arms = [arm for arm, _ in ARMS.values()] + [Recompute(recent_tokens=8)]
    first, *others = (nll_by_position(model, text, arm=arm)[:, 1:] for arm in arms)
    for other in others:
        assert (first - other).abs().max() <= 1e-4


def test_a_longer_context_shares_the_weights_and_draws_no_random_number():
    model = decoder("register")
    state = torch.get_rng_state()
    longer = with_context(model, 100)
    assert torch.equal(torch.get_rng_state(), state)
    assert {p.data_ptr() for p in longer.parameters()} == {p.data_ptr() for p in model.parameters()}
    assert torch.equal(longer.cos[: len(model.cos)], model.cos)
    assert not longer.training


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        nll_by_position(decoder().train(), tokens(1, 9), arm=Window(recent_tokens=8))
    with pytest.raises(ValueError, match="9 recent tokens"):
        nll_by_position(decoder(), tokens(1, 9), arm=Window(recent_tokens=9))
    with pytest.raises(ValueError, match=r"10 tokens.*context of 9"):
        nll_by_position(decoder(), tokens(1, 11), arm=Full(context_tokens=9))
    with pytest.raises(ValueError, match=r"9 tokens.*context of 8"):
        nll_by_position(decoder(), tokens(1, 20), arm=Recompute(recent_tokens=9))
