"""What goes wrong around a training: nothing saved is lost, and the message says what to do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

from lmlab.engine import checkpoint
from lmlab.engine.run import Part
from lmlab.engine.trainer import train


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """A training that nothing disturbed."""
    return run_toy(tmp_path_factory.mktemp("unbroken"))


def test_a_folder_that_turns_read_only_loses_nothing_saved(unbroken: Part, tmp_path: Path):
    class Spoiler(toys.MaskedLanguage):
        def units(self, batch):  # type: ignore[no-untyped-def]
            if len(checkpoint.checkpoints(part.checkpoints)) == 2 and not spoilt:
                spoilt.append(turn_read_only(part.checkpoints))
            return super().units(batch)

    part, plan, spoilt = toys.make_part(tmp_path), toys.make_plan(), []
    try:
        with toys.make_loader(plan) as loader, pytest.raises(OSError, match="Read-only") as raised:
            train(Spoiler(), loader, plan, run=part)
    finally:
        subprocess.run(["umount", "--lazy", str(part.checkpoints)], check=bool(spoilt))
    assert "run the same command to go on" in str(raised.value)
    assert [step for step, _ in checkpoint.checkpoints(part.checkpoints)] == [10, 5]
    assert unequal(unbroken, run_toy(tmp_path)) == set()


@pytest.mark.parametrize("jump_seconds", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_changes_no_number(
    unbroken: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_seconds: float
):
    real, calls = time.time, 0

    def jumping() -> float:
        nonlocal calls
        calls += 1
        return real() + (jump_seconds if calls > 30 else 0.0)

    monkeypatch.setattr(time, "time", jumping)
    part = run_toy(tmp_path)
    assert calls > 30
    monkeypatch.undo()
    assert unequal(unbroken, part) == set()
    assert 0 <= part.status()["seconds"] < 600


def test_time_between_saves_is_not_told_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    part = toys.make_part(tmp_path)
    plan = toys.make_plan(checkpoint={"save_every": "0.0001min", "keep_last": 100})
    with toys.make_loader(plan) as loader:
        train(toys.MaskedLanguage(), loader, plan, run=part)
    assert len(checkpoint.checkpoints(part.checkpoints)) > 1


@pytest.mark.parametrize(("saved", "advice"), [(False, "Set micro_batch_size lower"), (True, "10")])
def test_without_memory_it_says_what_to_do_and_keeps_what_is_saved(
    tmp_path: Path, saved: bool, advice: str
):
    script = (
        "import resource, sys, torch, toys\n"
        "from pathlib import Path\n"
        "from lmlab.engine.trainer import train\n"
        "class Greedy(toys.MaskedLanguage):\n"
        "    calls = 0\n"
        "    def losses(self, batch, *, step, generator):\n"
        "        if step == int(sys.argv[2]):\n"
        "            torch.empty(2**36)\n"
        "        return super().losses(batch, step=step, generator=generator)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**35, 2**35))\n"
        "plan = toys.make_plan()\n"
        "part = toys.make_part(Path(sys.argv[1]))\n"
        "with toys.make_loader(plan) as loader:\n"
        "    train(Greedy(), loader, plan, run=part)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), "12" if saved else "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(toys.__file__).parent)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"no memory left on cpu for micro-batches of 3. {'Step 10' if saved else advice}" in (
        ended.stderr
    )
    part = toys.make_part(tmp_path)
    assert part.status()["state"] == "failed"
    steps = [step for step, _ in checkpoint.checkpoints(part.checkpoints)]
    assert steps == ([10, 5] if saved else [])


def turn_read_only(folder: Path) -> bool:
    """As when a server takes its disk back."""
    for options in (("--bind",), ("-o", "remount,bind,ro")):
        done = subprocess.run(["mount", *options, str(folder), str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("only root may mount")
    return True


def run_toy(folder: Path) -> Part:
    """Train to the end from wherever `folder` is."""
    plan, part = toys.make_plan(), toys.make_part(folder)
    with toys.make_loader(plan) as loader:
        train(toys.MaskedLanguage(), loader, plan, run=part)
    return part


def unequal(one: Part, other: Part) -> set[str]:
    """The shape checks of the tests draw from python's generator."""
    return toys.differences(one, other) - {"python rng"}
