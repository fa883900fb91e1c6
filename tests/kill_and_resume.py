"""Kill a training anywhere, start it again, and name what differs from an unbroken one.

`python tests/kill_and_resume.py FOLDER [--trials 20] [--forget ITEM,ITEM]` prints JSON. It is a
process of its own, since the shape checks of the tests draw from python's global generator.
"""

import argparse
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import toys

from lmlab.data.loader import Loader
from lmlab.engine import optim, session, tracker
from lmlab.engine.run import Part
from lmlab.engine.trainer import train

# phase -> how many times it happens in a training
PHASES = {"micro-step": 50, "save": 40, "evaluation": 6}


def run_toy(folder: Path, *, workers: int = 0) -> Part:
    """Train the masked toy to its end, from wherever `folder` is."""
    plan, part = toys.make_plan(), toys.make_part(folder)
    with toys.make_loader(plan, workers=workers) as loader:
        train(toys.MaskedLanguage(careless=True), loader, plan, run=part)
    return part


def run_and_die(folder: Path, phase: str, count: int, *, workers: int) -> bool:
    """Whether a child that dies at the count-th event of a phase did, or ended before."""

    def child() -> None:
        _kill_at(phase, count)
        run_toy(folder, workers=workers)

    return os.WIFSIGNALED(_in_child(child))


def named_when_forgotten(folder: Path, item: str, *, unbroken: Part) -> list[str]:
    """What differs when a killed training resumes without one item of its state."""
    assert run_and_die(folder, "micro-step", 37, workers=0)

    def child() -> None:
        forget(item)
        found = toys.differences(unbroken, run_toy(folder))
        (folder / "found.json").write_text(json.dumps(sorted(found)))

    _in_child(child)
    return json.loads((folder / "found.json").read_text())


def forget(item: str) -> None:
    """A resume that does not restore one item of the state."""
    nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731
    plain_rng = session.set_rng_state
    restore = session.Session._restore
    match item:
        case "optimizer":
            optim.NamedOptimizer.load_state_tensors = nothing  # type: ignore[method-assign]
        case "data":
            Loader.load_state_dict = nothing  # type: ignore[method-assign]
        case "weights":
            session.checkpoint.assign_weights = nothing
        case "metrics":
            opened = tracker._open_at
            tracker._open_at = lambda path, offset: opened(path, path.stat().st_size)
        case "torch rng" | "numpy rng" | "python rng":
            session.set_rng_state = lambda plain, tensors: plain_rng(
                *_without(item.split()[0], plain, tensors)
            )
        case "generator rng":
            session.Session._restore = _keeping(restore, "generator")  # type: ignore[method-assign]
        case "counters":
            session.Session._restore = _keeping(restore, "units")  # type: ignore[method-assign]


def _in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def _without(
    name: str, plain: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    now, now_tensors = session.rng_state()
    plain = plain | {name: now[name]} if name in now else plain
    return plain, tensors | {name: now_tensors[name]} if name in now_tensors else tensors


def _keeping(restore: Callable[..., int], name: str) -> Callable[..., int]:
    def restored(self: session.Session) -> int:
        if name == "units":
            offset = restore(self)
            self.units = {}
            return offset
        before = self.generator.get_state()
        offset = restore(self)
        self.generator.set_state(before)
        return offset

    return restored


def _kill_at(phase: str, count: int) -> None:
    left = count

    def tick() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    holder, name = {
        "micro-step": (toys.MaskedLanguage, "losses"),
        "evaluation": (toys.MaskedLanguage, "evaluate"),
        "save": (os, "fsync"),
    }[phase]
    inner = getattr(holder, name)
    setattr(holder, name, lambda *given, **more: (tick(), inner(*given, **more))[1])


def trials(folder: Path, count: int, *, unbroken: Part) -> dict[str, Any]:
    """Trials in turn over the phases; each run is killed twice, then resumed to its end."""
    rng = random.Random(1)
    hits: dict[str, list[int]] = {phase: [] for phase in PHASES}
    differing: dict[str, list[str]] = {}
    for trial in range(count):
        phase = list(PHASES)[trial % len(PHASES)]
        run = folder / str(trial)
        for _ in range(2):
            at = rng.randint(1, PHASES[phase])
            if run_and_die(run, phase, at, workers=rng.choice([0, 1, 4])):
                hits[phase].append(at)
        found = toys.differences(unbroken, run_toy(run, workers=rng.choice([0, 1])))
        if found:
            differing[f"{trial}: {phase} {hits[phase][-2:]}"] = sorted(found)
    return {"hits": hits, "differing": differing}


def main() -> None:
    """Trials, or what is named when items are forgotten."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--forget", default="")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    unbroken = run_toy(asked.folder / "unbroken")
    if not asked.forget:
        print(json.dumps(trials(asked.folder, asked.trials, unbroken=unbroken)))  # noqa: T201
        return
    named = {
        item: named_when_forgotten(asked.folder / item, item, unbroken=unbroken)
        for item in asked.forget.split(",")
    }
    print(json.dumps(named))  # noqa: T201


if __name__ == "__main__":
    main()
