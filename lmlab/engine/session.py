"""The state of a training in progress: started, restored, counted, saved."""

import logging
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from lmlab.engine import checkpoint
from lmlab.engine.checkpoint import CheckpointError, Snapshot
from lmlab.engine.contract import Data, Objective, Plan
from lmlab.engine.device import apply, processor_name, rng_state, seed_everything, set_rng_state
from lmlab.engine.distributed import blocks_of, spread, sum_over_ranks, unwrapped
from lmlab.engine.forward import Forward
from lmlab.engine.monitor import Monitor
from lmlab.engine.optim import build_optimizer
from lmlab.engine.run import Part
from lmlab.engine.saver import Saved, Saver
from lmlab.engine.schedules import build_schedule
from lmlab.engine.throughput import per_second
from lmlab.engine.tracker import ConsoleProgress, Tracker

log = logging.getLogger(__name__)


# Seeds of the processes of one training lie apart from those that people choose.
_RANK_SEEDS = 1_000_003


@dataclass(frozen=True)
class Moment:
    """What moves on with every micro-batch: random numbers, and the place in the data."""

    rng: dict[str, Any]
    tensors: dict[str, Tensor]
    data: dict[str, Any]


@dataclass(frozen=True)
class Wishes:
    """Why to stop, if at all; whether a save is due, and whether the budget is spent."""

    stop: str | None
    save: bool
    spent: bool


class Session:
    """Everything that changes while a training runs; `save` stores it, the constructor restores."""

    def __init__(self, objective: Objective, data: Data, plan: Plan, *, part: Part) -> None:
        self.objective, self.data, self.plan, self.part = objective, data, plan, part
        self.world = plan.world
        # Each process has files of its own; what there is once belongs to the main one.
        self.own = part if self.world.is_main else part.of_rank(self.world.rank)
        apply(plan.decided)
        seed = plan.seed + _RANK_SEEDS * self.world.rank
        seed_everything(seed)
        self.device = torch.device(plan.decided.device)
        for module in objective.modules.values():
            module.to(self.device).train()
        # Before anything is frozen: DDP sends no gradient that it was not made with.
        self.forward = self._spread()
        self.total_steps = _total_steps(plan, data)
        self.schedule = build_schedule(
            plan.train.optim.schedule,
            total_steps=self.total_steps,
            steps_per_epoch=data.steps_per_epoch,
        )
        self.optimizer = build_optimizer(plan.train.optim, objective.modules)
        self.scaler = torch.amp.GradScaler(  # type: ignore[attr-defined]
            self.device.type, enabled=plan.decided.precision == "float16"
        )
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.saver = Saver(part, plan.train.checkpoint, world=self.world)
        self.step = self.samples = self.skipped = self.last_saved = 0
        self.last_evaluated = -1
        self.units: dict[str, int] = {}
        self.best: dict[str, Any] | None = None
        self.score: float | None = None
        self.weights = ""
        self._intervals = _Intervals(self)
        self._rates: dict[str, float] = {}
        self._save_seconds, self._warned = 0.0, False
        self._state = "running"
        self._open(self._restore())

    @property
    def learning_rate(self) -> float:
        """Of the first group, as used in the last update."""
        return float(self.optimizer.optimizer.param_groups[0]["lr"])

    def unfreeze(self) -> None:
        """Parameters under a `freeze` prefix get gradients from their step on, none before."""
        for prefix, start in self._intervals.freeze.items():
            for name, parameter in self.optimizer.names.items():
                if name.startswith(prefix):
                    parameter.requires_grad_(self.step >= start)

    def moment(self) -> Moment:
        """Now: what a dropped window is taken back to."""
        plain, tensors = rng_state()
        tensors["generator"] = self.generator.get_state()
        return Moment(plain, tensors, self.data.state_dict())

    @property
    def may_drop_window(self) -> bool:
        """Whether a window can be left in its midst; several processes would have to agree there.

        What it is taken back to costs a GPU a wait at each step, so it is kept for no other.
        """
        pieces = self.plan.train.batch_size > self.plan.decided.micro_batch_size
        return pieces and self.world.size == 1

    def out_of_time(self, *, micro_steps_left: int, seconds_each: float) -> bool:
        """Whether the rest of a window and a save would outlast the grace after a notice."""
        asked = self.part.run.notice.asked_at
        if asked is None or not self.may_drop_window:
            return False
        needed = micro_steps_left * seconds_each + self._save_seconds
        grace = self.plan.train.checkpoint.grace_seconds
        return time.monotonic() - asked + needed > grace

    def evaluate(self) -> dict[str, float]:
        """The objective's held-out values."""
        forward = unwrapped(self.forward)
        assert isinstance(forward, Forward)
        return forward.evaluate()

    def agree(self) -> Wishes:
        """What is to be done after a step, the same on every process."""
        reason, budget = self.part.run.notice.reason, self.monitor.budget
        if budget == "warned" and not self._warned:
            self._warned = True
            log.warning(
                "%.2f of %.2f USD are spent; at the budget the training is saved and stops",
                self.monitor.cost_usd, self.plan.cost.budget_usd,
            )  # fmt: skip
        mine = [reason is not None, self._save_is_due(), budget == "spent"]
        stop, save, spent = (number > 0 for number in sum_over_ranks(mine, world=self.world))
        if stop and reason is None:
            reason = "a notice to another process"
        return Wishes(reason, save, spent)

    def count(self, units: Mapping[str, int], *, samples: int, seconds: float) -> None:
        """An update was made."""
        self.step += 1
        self.samples += samples
        for unit, number in units.items():
            self.units[unit] = self.units.get(unit, 0) + number
        self._rates = {
            "tokens_per_sec": round(per_second(units[self.plan.unit], seconds), 1),
            "samples_per_sec": round(per_second(samples, seconds), 2),
            "step_seconds": round(seconds, 4),
        }
        self.progress.update(step=self.step, seconds=seconds)

    def report(self, values: Mapping[str, float], *, waited: float) -> None:
        """Write the step's numbers where they are due."""
        if self.step % self.plan.train.log_every == 0 or self.step == self.total_steps:
            rate = {"tokens_per_second": self._rates["tokens_per_sec"]}
            counted = {"epoch": self.data.epoch, "tokens": self.units[self.plan.unit]}
            self.tracker.log({**values, **rate}, step=self.step, **counted)
            shown = {name: values[name] for name in ("train/loss", "train/lr")}
            self.progress.say({**shown, **rate}, step=self.step)
        sampled = self.monitor.sample(
            {"step": self.step, "data_wait_seconds": round(waited, 4), **self._rates}
        )
        self._note(self.saver.finished())
        if sampled:
            self._write_status("running")

    def judge(self, values: Mapping[str, float]) -> None:
        """Log an evaluation and remember the best. Raises ValueError for an unknown best_metric."""
        self.tracker.log(values, step=self.step)
        self.progress.say(values, step=self.step)
        self.last_evaluated = self.step
        metric, mode = self.plan.train.checkpoint.best_metric, self.plan.train.checkpoint.best_mode
        if metric is None:
            return
        if metric not in values:
            raise ValueError(f"best_metric {metric!r} is not evaluated; there are {list(values)}")
        self.score = values[metric]
        sign = 1 if mode == "min" else -1
        if self.best is None or sign * self.score < sign * self.best["value"]:
            self.best = {"metric": metric, "value": self.score, "step": self.step}

    def evaluation_due(self) -> bool:
        """Every `eval_every` steps, and at the end: the last checkpoint has a score too."""
        due = self.step == self.total_steps or self.step % max(1, self._intervals.evaluate) == 0
        return self._intervals.evaluate > 0 and due

    def save(self, *, state: str, moment: Moment | None = None) -> None:
        """Begin a checkpoint of this moment, once a step; what ends the training waits for it.

        Raises OSError where this save, or the one before, could not be written.
        """
        if self._begun != self.step or self.step == 0:
            self._note(self.saver.begin(self._snapshot(moment or self.moment()), step=self.step))
            self._begun, self._saved_at = self.step, time.monotonic()
        if state != "running":
            self._note(self.saver.wait())
        self._write_status(state)

    def saved_step(self) -> int:
        """The last step that is on disk, once the save under way is done."""
        self._note(self.saver.wait())
        return self.last_saved

    def close(self) -> None:
        """Files are flushed, the terminal is as it was; what ended without a save has failed."""
        self.saver.close()
        if self._state == "running":
            self._write_status("failed")
        self.progress.close()
        self.tracker.close()

    def _open(self, offset: int) -> None:
        before = self.own.status()
        self._begun, self._saved_time = self.last_saved, before.get("saved")
        self.attempt = before.get("attempt", 0) + 1
        self._saved_at = time.monotonic()
        self.monitor = Monitor(
            self.own.system_path,
            self.plan.monitor.every_seconds,
            self.attempt,
            self.plan.cost.hourly_rate_usd,
            before.get("seconds", 0.0),
            earlier_cost_usd=before.get("cost_usd"),
            budget_usd=self.plan.cost.budget_usd,
        )
        self.tracker = Tracker(
            self.own,
            offset=offset,
            step=self.step,
            tensorboard=self.plan.tracker.tensorboard,
            wandb=self.plan.tracker.wandb if self.world.is_main else None,
        )
        self.progress = ConsoleProgress(self.own.name, step=self.step, total=self.total_steps)
        self._write_status("running")

    def _write_status(self, state: str) -> None:
        self._state = state
        self.own.write_status(
            {
                "state": state,
                "step": self.step,
                "total_steps": self.total_steps,
                "last_saved": self.last_saved,
                "saved": self._saved_time,
                "step_seconds": self._rates.get("step_seconds"),
                "attempt": self.attempt,
                "seconds": round(self.monitor.seconds, 3),
                "cost_usd": self.monitor.cost_usd,
                "best": self.best,
                "updated": time.time(),
            }
        )

    def _spread(self) -> nn.Module:
        return spread(
            Forward(self.objective),
            blocks_of(self.objective.modules),
            world=self.world,
            shard=self.plan.decided.shard,
            unused=bool(self.plan.train.freeze),
        )

    def _save_is_due(self) -> bool:
        """Every `save_every` steps, or so many seconds after the last save began."""
        if self._intervals.save_seconds is not None:
            return time.monotonic() - self._saved_at >= self._intervals.save_seconds
        return self._intervals.save > 0 and self.step % self._intervals.save == 0

    def _note(self, saved: Saved | None) -> None:
        """A checkpoint is on disk."""
        if saved is None:
            return
        self.last_saved, self.weights = saved.step, saved.weights
        self._save_seconds, self._saved_time = saved.seconds, time.time()

    def _snapshot(self, moment: Moment) -> Snapshot:
        state = {
            "rng": moment.rng,
            "data": moment.data,
            "scaler": self.scaler.state_dict(),
            "learning_rate": self.learning_rate,
            "counters": {
                "step": self.step,
                "samples": self.samples,
                "units": self.units,
                "skipped": self.skipped,
                "last_evaluated": self.last_evaluated,
            },
            "best": self.best,
            "metrics_offset": self.tracker.offset,
        }
        scored = self.score if self.last_evaluated == self.step else None
        identity = {
            "run": self.part.run.reference,
            "part": self.part.name,
            "fingerprint": self.plan.fingerprint,
            "frozen": dict(self.objective.frozen),
            "processes": self.world.size,
            "score": scored,
            "score_mode": self.plan.train.checkpoint.best_mode,
            **_promises(),
        }
        files = {
            "model": checkpoint.module_tensors(self.objective.modules),
            "optimizer": self.optimizer.state_tensors(),
            "rng": moment.tensors,
        }
        return Snapshot(tensors=files, state=state, identity=identity)

    def _restore(self) -> int:
        """Take over the newest intact checkpoint; the offset of metrics.jsonl, 0 without one."""
        found = checkpoint.newest_intact(self.part.checkpoints)
        if found is None:
            return 0
        for reason in found.skipped:
            log.warning("skipped a checkpoint: %s", reason)
        snapshot = checkpoint.load(found.path, rank=self.world.rank)
        self._check(snapshot, where=str(found.path))
        checkpoint.assign_weights(
            self.objective.modules, snapshot.tensors["model"], where=str(found.path)
        )
        self.optimizer.load_state_tensors(snapshot.tensors["optimizer"], where=str(found.path))
        tensors = dict(snapshot.tensors["rng"])
        self.generator.set_state(tensors.pop("generator"))
        state = snapshot.state
        set_rng_state(state["rng"], tensors)
        self.data.load_state_dict(state["data"])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self.best, self.last_saved = state["best"], self.step
        self.weights = str(snapshot.identity["weights"])
        log.info("going on from step %d (%s)", self.step, found.path.name)
        return int(state["metrics_offset"])

    def _check(self, snapshot: Snapshot, *, where: str) -> None:
        identity = snapshot.identity
        if identity["fingerprint"] != self.plan.fingerprint:
            raise CheckpointError(f"{where} was trained with another configuration")
        if identity["frozen"] != dict(self.objective.frozen):
            frozen = dict(self.objective.frozen)
            raise CheckpointError(f"{where} was trained beside {identity['frozen']}, not {frozen}")
        if identity["processes"] != self.world.size:
            raise CheckpointError(
                f"{where} was saved by {identity['processes']} processes and cannot go on with "
                f"{self.world.size}; set launch.processes and launch.nodes back"
            )
        for name, value in _promises().items():
            if identity[name] != value:
                log.warning(
                    "%s was %s and is now %s: the run goes on, but not to the bit",
                    name, identity[name], value,
                )  # fmt: skip


class _Intervals:
    """The plan's durations, in steps of this training."""

    def __init__(self, session: Session) -> None:
        known = {
            "total_steps": session.total_steps,
            "steps_per_epoch": session.data.steps_per_epoch,
        }
        train = session.plan.train
        every = train.checkpoint.save_every
        self.evaluate = train.eval_every.steps(**known)
        self.save = every.steps.steps(**known) if every.steps is not None else 0
        self.save_seconds = every.seconds
        self.freeze = {prefix: start.steps(**known) for prefix, start in train.freeze.items()}
        for prefix in self.freeze:
            if not any(name.startswith(prefix) for name in session.optimizer.names):
                raise ValueError(f"freeze: no parameter begins with {prefix!r}")


def _total_steps(plan: Plan, data: Data) -> int:
    if plan.train.max_steps is not None:
        return plan.train.max_steps
    assert plan.train.num_epochs is not None
    return max(1, round(plan.train.num_epochs * data.steps_per_epoch))


def _promises() -> dict[str, str]:
    """What bit-equality is promised for, beside what `device.decide` keeps."""
    return {
        "processor": processor_name(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
    }
