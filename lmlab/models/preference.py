"""Losses on pairs of responses, of which one is preferred: DPO and its variants.

Everything is in float32 and per pair; `logp` are sums over the tokens of a response, EOS included.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmlab.models.decoder import Decoder
from lmlab.models.experts import Routing
from lmlab.models.loss import IGNORED

PreferenceKind = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "cdpo"]


@dataclass(frozen=True)
class LogRatios:
    """log policy - log reference of each pair's responses, and how many tokens each has."""

    chosen: Float[Tensor, " pairs"]
    rejected: Float[Tensor, " pairs"]
    chosen_tokens: Int[Tensor, " pairs"]
    rejected_tokens: Int[Tensor, " pairs"]

    @property
    def margin(self) -> Float[Tensor, " pairs"]:
        """By how much more the policy has moved towards the chosen response."""
        return self.chosen - self.rejected

    @property
    def mean_margin(self) -> Float[Tensor, " pairs"]:
        """The same of averages a token."""
        return self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens


def preference_loss(
    ratios: LogRatios, *, kind: PreferenceKind, beta: float, label_smoothing: float = 0.0
) -> Float[Tensor, " pairs"]:
    """The loss of each pair; `label_smoothing` is the share of labels taken to be swapped.

    sigmoid: Rafailov et al. 2023. sigmoid_norm: the same of averages a token. ipo: Azar et al.
    2023, of averages a token. hinge: Zhao et al. 2023. cdpo: Mitchell 2023. robust: Chowdhury et
    al. 2024.
    """
    scaled, swapped = beta * ratios.margin, label_smoothing
    match kind:
        case "sigmoid":
            return -F.logsigmoid(scaled)
        case "sigmoid_norm":
            return -F.logsigmoid(beta * ratios.mean_margin)
        case "ipo":
            return (ratios.mean_margin - 1 / (2 * beta)) ** 2
        case "hinge":
            return F.relu(1 - scaled)
        case "cdpo":
            return -(1 - swapped) * F.logsigmoid(scaled) - swapped * F.logsigmoid(-scaled)
        case "robust":
            right, wrong = (1 - swapped) * F.logsigmoid(scaled), swapped * F.logsigmoid(-scaled)
            return -(right - wrong) / (1 - 2 * swapped)


def response_logps(
    model: Decoder,
    tokens: Int[Tensor, "rows tokens"],
    targets: Int[Tensor, "rows tokens"],
    *,
    routings: list[Routing] | None = None,
) -> Float[Tensor, " rows"]:
    """log p of each row's targets, summed. Only the states that predict one become logits.

    Where each layer's experts were sent what is added to `routings`.
    """
    wanted = targets != IGNORED
    states = model.hidden(tokens, routings=routings)[wanted]
    nll = F.cross_entropy(model.logits(states).float(), targets[wanted], reduction="none")
    rows = wanted.nonzero()[:, 0]
    return torch.zeros(len(tokens), device=nll.device).index_add(0, rows, -nll)


def response_kl(
    policy: Decoder,
    reference: Decoder,
    tokens: Int[Tensor, "rows tokens"],
    targets: Int[Tensor, "rows tokens"],
) -> Float[Tensor, " rows"]:
    """KL(policy || reference) in nats of the token to come, averaged over each row's targets."""
    known = targets != IGNORED
    ours, theirs = (
        F.log_softmax((one.hidden(tokens)[known] @ one.head_weight.T).float(), dim=-1)
        for one in (policy, reference)
    )
    each = torch.zeros_like(targets, dtype=torch.float32)
    each[known] = F.kl_div(theirs, ours, log_target=True, reduction="none").sum(-1)
    return each.sum(1) / known.sum(1)
