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
from lmlab.engine.device import autocast, undisturbed_rng
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
            while session.step < session.total_steps:
                _one_step(session)
                _after_step(session)
            return _finish(session)
    finally:
        session.close()


def _one_step(session: Session) -> None:
    started = time.perf_counter()
    window = session.data.window()
    waited = time.perf_counter() - started
    session.unfreeze()
    units = _count(session.objective, window)
    sums = _accumulate(session, window, units)
    loss = sum(sums.values())
    session.optimizer.set_factor(session.schedule.factor(session.step))
    norm = _update(session, loss)
    session.count(units, samples=len(session.data.last_ids), seconds=time.perf_counter() - started)
    values = {"train/loss": loss, **{f"train/{name}": value for name, value in sums.items()}}
    values |= {"train/grad_norm": norm, "train/lr": session.learning_rate}
    session.report(values if len(sums) > 1 else _without_parts(values, sums), waited=waited)


def _count(objective: Objective, window: Sequence[Batch]) -> dict[str, int]:
    """Units over the whole window: a mean of means would weigh short micro-batches too much."""
    total: dict[str, int] = {}
    for batch in window:
        for unit, number in objective.units(batch).items():
            total[unit] = total.get(unit, 0) + number
    return total


def _accumulate(
    session: Session, window: Sequence[Batch], units: Mapping[str, int]
) -> dict[str, float]:
    """Backward through every micro-batch; name -> weighted loss a unit, over the window."""
    sums: dict[str, float] = {}
    for batch in window:
        on_device = {name: tensor.to(session.device) for name, tensor in batch.items()}
        with autocast(session.plan.decided):
            terms = session.objective.losses(
                on_device, step=session.step, generator=session.generator
            )
        scaled = {name: _per_unit(term, units) for name, term in terms.items()}
        total = torch.stack(list(scaled.values())).sum()
        session.scaler.scale(total).backward()
        for name, value in scaled.items():
            sums[name] = sums.get(name, 0.0) + value.item()
    return sums


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
        f"{said}. Training stopped; the last good checkpoint is step {session.last_saved} in "
        f"{session.part.checkpoints}. Lower the learning rate, or set nonfinite=skip"
    )


def _after_step(session: Session) -> None:
    if session.evaluation_due():
        evaluate(session)
    reason = session.part.run.notice.reason
    if reason is not None:
        session.save(state="preempted")
        raise Preempted(f"{reason} at step {session.step}")
    if session.save_due():
        session.save(state="running")


def evaluate(session: Session) -> None:
    """Held-out values; the training's random numbers do not notice."""
    with undisturbed_rng(), autocast(session.plan.decided), torch.no_grad():
        modes = {module: module.training for module in session.objective.modules.values()}
        for module in modes:
            module.eval()
        values = dict(session.objective.evaluate())
        for module, training in modes.items():
            module.train(training)
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(f"evaluation at step {session.step}: {', '.join(bad)} not finite")
    session.judge(values)


def _finish(session: Session) -> Trained:
    session.save(state="done")
    return Trained(session.step, session.weights, dict(session.units), session.monitor.seconds)


def _without_parts(values: dict[str, float], sums: Mapping[str, float]) -> dict[str, float]:
    """With one term the total says it all."""
    return {
        name: value for name, value in values.items() if name.removeprefix("train/") not in sums
    }
