"""The one training loop. It knows no study, no tokenizer and no model class.

`train(objective, data, plan, run=part)` fetches a whole accumulation window, counts its units,
divides every loss by them, clips, steps, logs and saves. The two protocols are in
`engine.contract`; what it needs to go on, to the bit, is in `engine.session`.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lmlab.engine.contract import Batch, Data, LossTerm, Objective, Plan, Trained
from lmlab.engine.cost import BudgetSpentError
from lmlab.engine.device import autocast, is_out_of_memory, undisturbed_rng
from lmlab.engine.distributed import sum_over_ranks, synchronised
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Part
from lmlab.engine.session import Session

log = logging.getLogger(__name__)


def train(objective: Objective, data: Data, plan: Plan, *, run: Part) -> Trained:
    """Train to the plan's end, from the newest intact checkpoint of `run` where there is one.

    Raises Preempted after a save when asked to stop, FloatingPointError when a loss or gradient is
    not finite, and CheckpointError when there are checkpoints but none can be loaded.
    """
    if plan.decided.compile:
        objective.compile()
    session = Session(objective, data, plan, part=run)
    try:
        with run.run.notice.deferred():
            _one_step_after_another(session)
            return _finish(session)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(_too_large(session)) from error
    finally:
        session.close()


class _WindowDropped(Exception):
    """The grace after a notice would not have sufficed."""


def _one_step_after_another(session: Session) -> None:
    if session.step < session.total_steps and session.agree().spent:
        raise _spent(session)
    while session.step < session.total_steps:
        moment = session.moment() if session.may_drop_window else None
        try:
            _one_step(session)
        except _WindowDropped:
            # Nothing was updated: what is saved is the last boundary, and the window is replayed.
            session.optimizer.optimizer.zero_grad(set_to_none=True)
            session.save(state="preempted", moment=moment)
            raise Preempted(f"{session.part.run.notice.reason} at step {session.step}") from None
        _after_step(session)


def _one_step(session: Session) -> None:
    started = time.perf_counter()
    window = session.data.window()
    waited = time.perf_counter() - started
    session.unfreeze()
    units, samples = _count(session, window)
    sums = _accumulate(session, window, units)
    loss = sum(sums.values())
    session.optimizer.set_factor(session.schedule.factor(session.step))
    norm = _update(session, loss)
    session.count(units, samples=samples, seconds=time.perf_counter() - started)
    values = {"train/loss": loss, **{f"train/{name}": value for name, value in sums.items()}}
    values |= {"train/grad_norm": norm, "train/lr": session.learning_rate}
    session.report(values if len(sums) > 1 else _without_parts(values, sums), waited=waited)


def _count(session: Session, window: Sequence[Batch]) -> tuple[dict[str, int], int]:
    """Units and samples over the whole window and all processes.

    A mean of means would weigh short micro-batches too much.
    """
    total: dict[str, int] = {}
    for index, batch in enumerate(window):
        counted = index < len(window) - session.data.fillers
        for unit, number in session.objective.units(batch).items():
            total[unit] = total.get(unit, 0) + number * counted
    mine = [*total.values(), len(session.data.last_ids)]
    *summed, samples = (int(number) for number in sum_over_ranks(mine, world=session.world))
    return dict(zip(total, summed, strict=True)), samples


def _accumulate(
    session: Session, window: Sequence[Batch], units: Mapping[str, int]
) -> dict[str, float]:
    """Backward through every micro-batch; name -> weighted loss a unit, over the window."""
    sums: dict[str, float] = {}
    started = time.perf_counter()
    for index, batch in enumerate(window):
        weight = 1.0 if index < len(window) - session.data.fillers else 0.0
        with synchronised(session.forward, last=index == len(window) - 1):
            for name, value in _backward(session, batch, units, weight=weight).items():
                sums[name] = sums.get(name, 0.0) + value
        each = (time.perf_counter() - started) / (index + 1)
        left = len(window) - index - 1
        if left and session.out_of_time(micro_steps_left=left, seconds_each=each):
            raise _WindowDropped
    total = sum_over_ranks(list(sums.values()), world=session.world)
    return dict(zip(sums, total, strict=True))


def _backward(
    session: Session, batch: Batch, units: Mapping[str, int], *, weight: float
) -> dict[str, float]:
    """Gradients of one micro-batch; name -> its weighted share of the window's loss."""
    on_device = {name: tensor.to(session.device) for name, tensor in batch.items()}
    with autocast(session.plan.decided):
        terms = session.forward(on_device, session.step, session.generator)
    scaled = {name: weight * _per_unit(term, units) for name, term in terms.items()}
    # Gradients are averaged over the processes, and are to be summed.
    total = torch.stack(list(scaled.values())).sum() * session.world.size
    session.scaler.scale(total).backward()
    return {name: value.item() for name, value in scaled.items()}


def _per_unit(term: LossTerm, units: Mapping[str, int]) -> Tensor:
    if units[term.unit] == 0:
        raise ValueError(f"a batch without a single one of its {term.unit} has no loss")
    return term.sum.float() * (term.weight / units[term.unit])


def _update(session: Session, loss: float) -> float:
    """Clip and step; the gradient's norm before clipping."""
    session.scaler.unscale_(session.optimizer.optimizer)
    norm = session.optimizer.clip().item()
    overflow = session.scaler.is_enabled() and not math.isfinite(norm)
    if not overflow and not (math.isfinite(loss) and math.isfinite(norm)):
        _nonfinite(session, loss=loss, norm=norm)
    else:
        session.scaler.step(session.optimizer.optimizer)
        session.scaler.update()
    session.optimizer.optimizer.zero_grad(set_to_none=True)
    return norm


def _nonfinite(session: Session, *, loss: float, norm: float) -> None:
    ids = ", ".join(str(one) for one in session.data.last_ids[:8])
    said = f"step {session.step + 1}: loss {loss}, gradient norm {norm}, items {ids} ..."
    if session.plan.train.nonfinite == "skip":
        session.skipped += 1
        log.warning("%s: update skipped (%d so far)", said, session.skipped)
        return
    raise FloatingPointError(
        f"{said}. Training stopped; the last good checkpoint is step {session.saved_step()} in "
        f"{session.part.checkpoints}. Lower the learning rate, or set nonfinite=skip"
    )


def _after_step(session: Session) -> None:
    if session.evaluation_due():
        evaluate(session)
    wishes = session.agree()
    if wishes.stop is not None:
        session.save(state="preempted")
        raise Preempted(f"{wishes.stop} at step {session.step}")
    if wishes.spent:
        session.save(state="failed")
        raise _spent(session)
    if wishes.save:
        session.save(state="running")


def _spent(session: Session) -> BudgetSpentError:
    cost, budget = session.monitor.cost_usd, session.plan.cost.budget_usd
    assert cost is not None, "a budget has a rate"
    assert budget is not None, "it was spent"
    return BudgetSpentError(cost, budget, step=session.step)


def evaluate(session: Session) -> None:
    """Held-out values; the training's random numbers do not notice."""
    with undisturbed_rng(), autocast(session.plan.decided), torch.no_grad():
        modes = {module: module.training for module in session.objective.modules.values()}
        for module in modes:
            module.eval()
        values = session.evaluate()
        for module, training in modes.items():
            module.train(training)
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(f"evaluation at step {session.step}: {', '.join(bad)} not finite")
    session.judge(values)


def _too_large(session: Session) -> str:
    size, device = session.plan.decided.micro_batch_size, session.device.type
    said = f"step {session.step + 1}: no memory left on {device} for micro-batches of {size}. "
    if (saved := session.saved_step()) == 0:
        return f"{said}Set micro_batch_size lower; the result is the same, in more pieces"
    return (
        f"{said}Step {saved} is saved and needs a machine with more memory; "
        "with a lower micro_batch_size another run can be started (--new)"
    )


def _finish(session: Session) -> Trained:
    session.save(state="done")
    return Trained(session.step, session.weights, dict(session.units), session.monitor.seconds)


def _without_parts(values: dict[str, float], sums: Mapping[str, float]) -> dict[str, float]:
    """With one term the total says it all."""
    return {
        name: value for name, value in values.items() if name.removeprefix("train/") not in sums
    }
