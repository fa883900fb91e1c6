"""The training loop: resumed to the bit, divided by the whole window, undisturbed by looking on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from torch import nn

from lmlab.data.loader import Loader
from lmlab.engine import checkpoint, trainer
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Part
from lmlab.engine.schema import TrackerConfig
from lmlab.engine.trainer import train

STATE_ITEMS = (
    "weights", "optimizer", "data", "counters", "metrics",
    "torch rng", "numpy rng", "python rng", "generator rng",
)  # fmt: skip


def run_toy(folder: Path, *, workers: int = 0, **changes: object) -> Part:
    """Train the masked toy to its end, from wherever `folder` is."""
    plan = toys.make_plan(**changes)
    part = toys.make_part(folder)
    with toys.make_loader(plan, workers=workers) as loader:
        train(toys.MaskedLanguage(), loader, plan, run=part)
    return part


def unequal(one: Part, other: Part) -> set[str]:
    """The shape checks of the tests draw from python's generator; the script above has none."""
    return toys.differences(one, other) - {"python rng"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """The training that nothing interrupted."""
    return run_toy(tmp_path_factory.mktemp("unbroken"))


def test_two_unbroken_runs_are_equal_and_another_seed_is_not(
    unbroken: Part, tmp_path: Path
) -> None:
    assert unequal(unbroken, run_toy(tmp_path / "again")) == set()
    plan = toys.make_plan()
    other = toys.make_part(tmp_path / "other")
    with Loader(50, toys.masked_rows, batch_size=8, micro_batch_size=3, seed=6) as loader:
        train(toys.MaskedLanguage(), loader, plan, run=other)
    assert "model" in unequal(unbroken, other)


def kill_and_resume(folder: Path, *arguments: str) -> dict[str, Any]:
    """What the script of that name found."""
    script = Path(__file__).parents[1] / "kill_and_resume.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_run_killed_anywhere_and_resumed_equals_an_unbroken_one(tmp_path: Path) -> None:
    found = kill_and_resume(tmp_path, "--trials", "20")
    print("killed at:", found["hits"])  # noqa: T201
    assert all(len(counts) >= 3 for counts in found["hits"].values()), found["hits"]
    assert found["differing"] == {}


def test_a_state_item_that_is_not_restored_is_named(tmp_path: Path) -> None:
    found = kill_and_resume(tmp_path, "--forget", ",".join(STATE_ITEMS))
    for item in STATE_ITEMS:
        assert ("model" if item == "weights" else item) in found[item]


def test_a_signal_saves_at_a_boundary_and_nothing_is_lost(unbroken: Part, tmp_path: Path) -> None:
    part = toys.make_part(tmp_path)
    plan = toys.make_plan()
    objective = toys.MaskedLanguage()
    inner = objective.losses
    calls = iter(range(1000))

    def losses(batch: object, *, step: int, generator: torch.Generator) -> object:
        if next(calls) == 22:  # in the middle of a window
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(batch, step=step, generator=generator)  # type: ignore[arg-type]

    objective.losses = losses  # type: ignore[method-assign, assignment]
    with toys.make_loader(plan) as loader, part.run.notice.installed(), pytest.raises(Preempted):
        train(objective, loader, plan, run=part)
    status = part.status()
    assert status["state"] == "preempted"
    assert status["last_saved"] == status["step"] > 0
    assert unequal(unbroken, run_toy(tmp_path)) == set()


def test_a_finished_run_started_again_does_nothing(unbroken: Part, tmp_path: Path) -> None:
    part = run_toy(tmp_path)
    before = sorted(path.stat().st_mtime_ns for path in part.checkpoints.rglob("*.safetensors"))
    run_toy(tmp_path)
    after = sorted(path.stat().st_mtime_ns for path in part.checkpoints.rglob("*.safetensors"))
    assert before == after
    assert unequal(unbroken, part) == set()


@pytest.mark.parametrize("objective", [toys.MaskedLanguage, toys.Pairs, toys.Classifier])
def test_micro_batches_give_the_gradient_of_one_full_batch(
    objective: type[toys.MaskedLanguage], tmp_path: Path
) -> None:
    gradients = {}
    for micro in (8, 3, 1):
        plan = toys.make_plan(micro=micro, max_steps=7)  # step 7 is the short window of an epoch
        trained = objective(noise=0.0)
        trained.modules["tower"].double()
        trained.modules["tower"].dropout = nn.Identity()  # type: ignore[assignment]
        with toys.make_loader(plan) as loader:
            train(trained, loader, plan, run=toys.make_part(tmp_path / str(micro)))
        gradients[micro] = torch.cat(
            [p.detach().flatten() for p in trained.modules["tower"].parameters()]
        )
    for micro in (3, 1):
        assert (gradients[micro] - gradients[8]).abs().max() <= 1e-6


def test_looking_on_changes_no_weight(unbroken: Part, tmp_path: Path) -> None:
    quiet = run_toy(
        tmp_path / "quiet",
        eval_every=0,
        log_every=1000,
        checkpoint={"save_every": 0},
    )
    plan = toys.make_plan()
    loud_plan = type(plan)(**{**plan.__dict__, "tracker": TrackerConfig(tensorboard=True)})
    loud = toys.make_part(tmp_path / "loud")
    with toys.make_loader(loud_plan) as loader:
        train(toys.MaskedLanguage(), loader, loud_plan, run=loud)
    for other in (quiet, loud):
        assert not unequal(unbroken, other) & {"model", "optimizer", "rng", "data"}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_save(
    tmp_path: Path,
) -> None:
    plan = toys.make_plan()
    part = toys.make_part(tmp_path)
    objective = toys.MaskedLanguage()
    inner = objective.losses

    def losses(batch: object, *, step: int, generator: torch.Generator) -> object:
        terms = inner(batch, step=step, generator=generator)  # type: ignore[arg-type]
        if step == 12:
            terms["nll"] = terms["nll"]._replace(sum=terms["nll"].sum * float("nan"))
        return terms

    objective.losses = losses  # type: ignore[method-assign, assignment]
    with toys.make_loader(plan) as loader, pytest.raises(FloatingPointError) as error:
        train(objective, loader, plan, run=part)
    assert "step 13" in str(error.value)
    assert "items" in str(error.value)
    assert checkpoint.find(part.checkpoints, "last").name == "step_00000010"
    assert part.status()["state"] == "failed"


def test_a_full_disk_stops_the_run_and_keeps_the_last_good_save(
    unbroken: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = checkpoint.save_file

    def full(tensors: object, path: Path) -> None:
        if "step_00000015" in str(path):
            raise OSError(28, "No space left on device")
        saved(tensors, path)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="disk is full"):
        run_toy(tmp_path)
    monkeypatch.undo()
    part = toys.make_part(tmp_path)
    assert checkpoint.find(part.checkpoints, "last").name == "step_00000010"
    assert unequal(unbroken, run_toy(tmp_path)) == set()


def test_a_tiny_set_is_learnt_by_heart_and_a_zero_rate_learns_nothing(tmp_path: Path) -> None:
    class Plain(toys.MaskedLanguage):
        def losses(self, batch, *, step, generator):  # type: ignore[no-untyped-def]
            logits = self.modules["tower"](batch["row"][:, None])[:, 0]
            nll = nn.functional.cross_entropy(logits, batch["targets"], reduction="sum")
            return {"nll": trainer.LossTerm(nll, "tokens", 1.0)}

    def rows(ids: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
        return {
            "row": torch.tensor(ids % toys.VOCAB),
            "targets": torch.tensor(ids * 5 % toys.VOCAB),
        }

    for rate in (0.05, 1e-300):
        plan = toys.make_plan(
            max_steps=300, eval_every=0, optim={"learning_rate": rate, "weight_decay": 0.0},
            checkpoint={"save_every": 0},
        )  # fmt: skip
        objective = Plain()
        objective.modules["tower"].dropout = nn.Identity()  # type: ignore[assignment]
        start = checkpoint.module_tensors(objective.modules)
        before = {name: tensor.detach().clone() for name, tensor in start.items()}
        part = toys.make_part(tmp_path / str(rate))
        with Loader(32, rows, batch_size=8, micro_batch_size=8, seed=1) as loader:
            train(objective, loader, plan, run=part)
        last = toys.metrics(part)[-1]["train/loss"]
        after = checkpoint.module_tensors(objective.modules)
        unchanged = all(torch.equal(before[name], after[name]) for name in before)
        assert (last < 0.01, unchanged) == ((True, False) if rate == 0.05 else (False, True))


def test_a_frozen_component_learns_from_its_step_on_and_not_before(tmp_path: Path) -> None:
    starts = {}
    for steps in (4, 5):
        plan = toys.make_plan(max_steps=steps, freeze={"tower.inner": 4})
        objective = toys.MaskedLanguage()
        before = objective.modules["tower"].inner.weight.detach().clone()  # type: ignore[union-attr]
        with toys.make_loader(plan) as loader:
            train(objective, loader, plan, run=toys.make_part(tmp_path / str(steps)))
        starts[steps] = torch.equal(before, objective.modules["tower"].inner.weight)  # type: ignore[union-attr, arg-type]
    assert starts == {4: True, 5: False}


def test_an_unknown_best_metric_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="best_metric 'validation/lss' is not evaluated"):
        run_toy(tmp_path, checkpoint={"best_metric": "validation/lss"})


def test_another_configuration_does_not_go_on_from_a_checkpoint(
    unbroken: Part, tmp_path: Path
) -> None:
    run_toy(tmp_path, max_steps=5)
    plan = toys.make_plan()
    other = type(plan)(**{**plan.__dict__, "fingerprint": "another"})
    with (
        toys.make_loader(other) as loader,
        pytest.raises(checkpoint.CheckpointError, match="another configuration"),
    ):
        train(toys.MaskedLanguage(), loader, other, run=toys.make_part(tmp_path))


@pytest.mark.parametrize(("grace", "stopped_at"), [(30.0, 5), (1e-6, 4)])
def test_a_window_is_finished_within_the_grace_and_dropped_beyond_it(
    tmp_path: Path, grace: float, stopped_at: int
) -> None:
    """Eight micro-steps a window; the notice comes in the third one of step 5."""

    class Noticed(toys.MaskedLanguage):
        calls = 0

        def losses(self, batch, *, step, generator):  # type: ignore[no-untyped-def]
            self.calls += 1
            if self.calls == 4 * 8 + 3:
                part.run.notice.ask("a test")
            return super().losses(batch, step=step, generator=generator)

    checkpoints = {"save_every": 100, "best_metric": "validation/loss", "grace_seconds": grace}
    plan = toys.make_plan(micro=1, checkpoint=checkpoints)
    part = toys.make_part(tmp_path / "stopped")
    with toys.make_loader(plan) as loader, pytest.raises(Preempted, match=f"at step {stopped_at}"):
        train(Noticed(), loader, plan, run=part)
    assert [step for step, _ in checkpoint.checkpoints(part.checkpoints)] == [stopped_at]
    ended = []
    for folder in ("stopped", "unbroken"):
        again = toys.make_part(tmp_path / folder)
        with toys.make_loader(plan) as loader:
            train(toys.MaskedLanguage(), loader, plan, run=again)
        ended.append(again)
    assert unequal(*ended) == set()
