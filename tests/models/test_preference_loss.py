"""Preference losses: their closed forms, their gradients, and what a prompt may add to them."""

import math

import numpy as np
import pytest
import torch
from slow_decoder import drawn_tokens, slow_logits, small_decoder

from lmlab.data.pack import NO_TARGET
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.preference import LogRatios, preference_loss, response_kl, response_logps
from lmlab.models.schema import DecoderConfig

BETA = 0.3
CHOSEN, REJECTED = 1.7, -0.4
CHOSEN_TOKENS, REJECTED_TOKENS = 5, 8


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


MARGIN = CHOSEN - REJECTED
MEAN_MARGIN = CHOSEN / CHOSEN_TOKENS - REJECTED / REJECTED_TOKENS
UP, DOWN = math.log(sigmoid(BETA * MARGIN)), math.log(sigmoid(-BETA * MARGIN))
CLOSED_FORMS = {
    "sigmoid": -UP,
    "sigmoid_norm": -math.log(sigmoid(BETA * MEAN_MARGIN)),
    "ipo": (MEAN_MARGIN - 1 / (2 * BETA)) ** 2,
    "hinge": max(0.0, 1 - BETA * MARGIN),
    "cdpo": -0.9 * UP - 0.1 * DOWN,
    "robust": (-0.9 * UP + 0.1 * DOWN) / 0.8,
}


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_each_kind_is_its_closed_form(kind):
    smoothing = 0.1 if kind in ("cdpo", "robust") else 0.0
    loss = preference_loss(
        ratios(CHOSEN, REJECTED), kind=kind, beta=BETA, label_smoothing=smoothing
    )
    assert loss.item() == pytest.approx(CLOSED_FORMS[kind], abs=1e-12)


@pytest.mark.parametrize("kind", ["sigmoid", "sigmoid_norm", "cdpo", "robust"])
def test_a_policy_that_is_its_reference_loses_ln_2(kind):
    loss = preference_loss(ratios(0.0, 0.0), kind=kind, beta=BETA)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_the_gradient_reaches_the_rejected_response(kind):
    chosen = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    rejected = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([CHOSEN_TOKENS]), torch.tensor([REJECTED_TOKENS])
    preference_loss(LogRatios(chosen, rejected, *counts), kind=kind, beta=BETA).sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() < 0 < rejected.grad.item()


def test_a_response_is_scored_by_its_own_tokens_alone():
    model, tokens = (
        decoder(),
        torch.randint(24, (2, 12), generator=torch.Generator().manual_seed(0)),
    )
    targets = torch.full_like(tokens, NO_TARGET)
    targets[0, 4:9] = tokens[0, 5:10]
    targets[1, 7:11] = tokens[1, 8:12]
    log_p = model(tokens).log_softmax(-1)
    slow = [
        sum(log_p[row, at, targets[row, at]].item() for at in range(12) if targets[row, at] >= 0)
        for row in range(2)
    ]
    found = response_logps(model, tokens, targets)
    assert found.tolist() == pytest.approx(slow, abs=1e-5)


def test_a_row_without_a_response_scores_zero_and_takes_nothing_from_others():
    model, tokens = decoder(), torch.arange(8).view(2, 4)
    targets = torch.tensor([[NO_TARGET] * 4, [NO_TARGET, 6, 7, 1]])
    found = response_logps(model, tokens, targets)
    assert found[0].item() == 0.0
    assert found[1].item() == pytest.approx(
        response_logps(model, tokens[1:], targets[1:]).item(), abs=1e-6
    )


def ratios(chosen: float, rejected: float) -> LogRatios:
    return LogRatios(
        torch.tensor([chosen], dtype=torch.float64),
        torch.tensor([rejected], dtype=torch.float64),
        torch.tensor([CHOSEN_TOKENS]),
        torch.tensor([REJECTED_TOKENS]),
    )


def decoder() -> Decoder:
    shape = {"num_layers": 2, "d_model": 16, "num_heads": 2, "d_ff": 24, "context_tokens": 32}
    model = Decoder(DecoderConfig.model_validate(shape | {"init_std": 0.3}), vocab_size=24)
    init_weights(model, seed=1)
    return model.double().eval()


def test_the_divergence_is_that_of_the_probabilities_after_each_prompt():
    policy, reference = (
        small_decoder(context_tokens=8),
        small_decoder(context_tokens=8, init_std=0.2),
    )
    tokens, targets = drawn_tokens(2, 6), drawn_tokens(2, 6, seed=1)
    targets[0, :3] = NO_TARGET
    targets[1, [0, 5]] = NO_TARGET
    with torch.no_grad():
        found = response_kl(policy, reference, tokens, targets)
    for row, places in enumerate(([3, 4, 5], [1, 2, 3, 4])):
        p, q = (log_probabilities(one, tokens[row].tolist()) for one in (policy, reference))
        expected = np.mean([(np.exp(p[t]) * (p[t] - q[t])).sum() for t in places])
        assert found[row].item() == pytest.approx(expected, rel=1e-5)
        assert expected > 0.01


def log_probabilities(model: Decoder, tokens: list[int]) -> np.ndarray:
    """In float64, by the slow decoder."""
    logits = slow_logits(model, tokens)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
