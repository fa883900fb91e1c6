"""What a training has cost and may cost: the budget's state, advice, dollars a TFLOP."""

from dataclasses import dataclass
from typing import Literal

from lmlab.engine.throughput import Precision, dense_peak

BudgetState = Literal["unlimited", "within", "warned", "spent"]
WARN_SHARE = 0.8
# Below this share of the budget a faster machine can be afforded.
IDLE_SHARE = 0.5


class BudgetSpentError(RuntimeError):
    """A training stopped, saved, because its budget is spent; going on is for a person to decide.

    No Preempted: a scheduler starts what was preempted again, and it would stop at once for ever.
    """

    def __init__(self, cost_usd: float, budget_usd: float, *, step: int) -> None:
        super().__init__(
            f"the budget of {budget_usd:.2f} USD is spent ({cost_usd:.2f} USD) at step {step}, "
            "which is saved; raise cost.budget_usd to go on from it"
        )


@dataclass(frozen=True)
class Advice:
    """What to do about the machine, and the dearest hour that the budget affords."""

    action: Literal["scale_down", "scale_up", "keep"]
    affordable_usd_per_hour: float


def budget_state(cost_usd: float | None, budget_usd: float | None) -> BudgetState:
    """`warned` from 80 % of the budget on, `spent` from all of it on."""
    if budget_usd is None:
        return "unlimited"
    assert cost_usd is not None, "a budget has a rate: the configuration sees to it"
    if cost_usd >= budget_usd:
        return "spent"
    return "warned" if cost_usd >= WARN_SHARE * budget_usd else "within"


def advice(*, cost_usd: float, budget_usd: float, hours: float) -> Advice:
    """For a training that takes so many hours and so costs so much."""
    affordable = budget_usd / hours
    if cost_usd > budget_usd:
        return Advice("scale_down", affordable)
    if cost_usd < IDLE_SHARE * budget_usd:
        return Advice("scale_up", affordable)
    return Advice("keep", affordable)


def usd_per_tflop(
    hourly_rate_usd: float, device_name: str, *, precision: Precision
) -> float | None:
    """An hour's price a TFLOP/s of dense products; None where the GPU's peak is not known."""
    peak = dense_peak(device_name, precision)
    return None if peak is None else hourly_rate_usd / (peak / 1e12)
