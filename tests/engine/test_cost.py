"""Budget, advice and prices against sums made by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import toys

from lmlab.engine import checkpoint, monitor
from lmlab.engine.cost import (
    BudgetSpentError,
    advice,
    budget_state,
    usd_per_tflop,
)
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Part
from lmlab.engine.schema import CostConfig
from lmlab.engine.trainer import train


@pytest.mark.parametrize(
    ("cost", "state"),
    [
        (0.0, "within"),
        (7.999, "within"),
        (8.0, "warned"),
        (9.999, "warned"),
        (10.0, "spent"),
        (99.0, "spent"),
    ],
)
def test_a_budget_is_warned_of_at_80_percent_and_spent_at_100(cost: float, state: str):
    assert budget_state(cost, 10.0) == state
    assert budget_state(cost, None) == "unlimited"


def test_without_a_rate_and_a_budget_nothing_is_limited():
    assert budget_state(None, None) == "unlimited"


@pytest.mark.parametrize(
    ("cost", "action"),
    [(10.01, "scale_down"), (10.0, "keep"), (5.0, "keep"), (4.99, "scale_up")],
)
def test_advice_compares_what_it_costs_with_the_budget(cost: float, action: str):
    found = advice(cost_usd=cost, budget_usd=10.0, hours=4.0)
    assert (found.action, found.affordable_usd_per_hour) == (action, 2.5)


def test_the_price_of_a_tflop_is_of_a_named_precision():
    name = "NVIDIA A100-SXM4-80GB"
    assert usd_per_tflop(3.12, name, precision="bfloat16") == pytest.approx(0.01, abs=1e-12)
    assert usd_per_tflop(3.12, name, precision="float32") == pytest.approx(0.16, abs=1e-12)


def test_the_price_of_an_unknown_gpu_is_unknown():
    assert usd_per_tflop(1.0, "NVIDIA Unheard-of", precision="bfloat16") is None
    # Volta has no bfloat16: its float32 figure does not stand in.
    assert usd_per_tflop(1.0, "Tesla V100-SXM2-16GB", precision="bfloat16") is None


class Metered(toys.MaskedLanguage):
    """A step takes a second of a fake clock, and some steps end with a notice."""

    clock: SimpleNamespace
    part: Part
    stop_at: int | None

    def units(self, batch: object) -> dict[str, int]:
        """The clock goes on with every window, which is one micro-batch here."""
        self.clock.now += 1.0
        if self.clock.now == self.stop_at:
            self.part.run.notice.reason = "SIGTERM"
        return super().units(batch)  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monitor's clock, in seconds of computing."""
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now)
    monkeypatch.setattr(monitor, "time", fake)
    monkeypatch.setattr(monitor, "read_gpus", list)
    return clock


def attempt(folder: Path, clock: SimpleNamespace, *, stop_at: int | None) -> Part:
    """Go on with the toy at 1 USD a step and a budget of 12."""
    part = toys.make_part(folder)
    objective = Metered()
    objective.clock, objective.part, objective.stop_at = clock, part, stop_at
    cost = CostConfig(hourly_rate_usd=3600.0, budget_usd=12.0)
    plan = replace(toys.make_plan(micro=8), cost=cost)
    with toys.make_loader(plan) as loader:
        train(objective, loader, plan, run=part)
    return part


def test_a_training_stops_saved_when_all_attempts_have_spent_the_budget(
    tmp_path: Path, clock: SimpleNamespace
):
    """Check T10: a dollar a step, notices after 4 and 9, and a budget of 12."""
    for stop_at in (4, 9):
        with pytest.raises(Preempted):
            attempt(tmp_path, clock, stop_at=stop_at)
    with pytest.raises(BudgetSpentError, match=r"12\.00 USD is spent .* at step 12"):
        attempt(tmp_path, clock, stop_at=None)
    part = toys.make_part(tmp_path)
    status = part.status()
    assert status["cost_usd"] == pytest.approx(12.0, abs=1e-9)
    assert (status["state"], status["step"], status["last_saved"]) == ("failed", 12, 12)
    assert checkpoint.verify(checkpoint.find(part.checkpoints, "last"))["identity"]["step"] == 12
    # Started again by a person or a scheduler, it does nothing and costs nothing.
    with pytest.raises(BudgetSpentError):
        attempt(tmp_path, clock, stop_at=None)
    assert clock.now == 12.0
