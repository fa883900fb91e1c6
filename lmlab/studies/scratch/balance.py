"""Balance between experts, as one more term of every stage's loss."""

from collections.abc import Sequence

from jaxtyping import Bool, Int
from torch import Tensor

from lmlab.data.pack import NO_TARGET
from lmlab.engine.contract import LossTerm
from lmlab.models.experts import Routing, Usage, balance_sum, expert_usage
from lmlab.models.schema import DecoderConfig


def usage_up_to_targets(
    routings: Sequence[Routing], targets: Int[Tensor, "rows tokens"]
) -> Usage | None:
    """What each expert got of the tokens up to their row's last target; None without experts."""
    return expert_usage(routings, real=_before_tail(targets)) if routings else None


def balance_term(
    usage: Usage | None, targets: Int[Tensor, "rows tokens"], config: DecoderConfig, *, unit: str
) -> dict[str, LossTerm]:
    """`balance`, in which a row weighs by its targets, counted as `unit`; nothing without experts.

    A sum over rows, so that micro-batches add up to the window's.
    """
    if usage is None or config.experts is None:
        return {}
    counts = (targets != NO_TARGET).sum(1)
    balance = balance_sum(usage, top_k=config.experts.top_k, row_units=counts)
    return {"balance": LossTerm(balance, unit, config.experts.balance_weight)}


def without_capacity(config: DecoderConfig) -> DecoderConfig:
    """The same decoder, whose experts drop nothing.

    For rows that are padded where they are fetched: a capacity would count their pads, and so
    depend on which rows share a micro-batch.
    """
    if config.experts is None:
        return config
    experts = config.experts.model_copy(update={"capacity_factor": None})
    return config.model_copy(update={"experts": experts})


def _before_tail(targets: Int[Tensor, "rows tokens"]) -> Bool[Tensor, "rows tokens"]:
    """Tokens up to their row's last target; what follows is padding, or as good as."""
    return (targets != NO_TARGET).flip(1).cumsum(1).flip(1) > 0
