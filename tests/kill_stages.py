"""Kill a run in each of its stages, start it again, and name what differs from an unbroken one.

`python tests/kill_stages.py FOLDER` prints JSON. It is a process of its own, since the shape checks
of the tests draw from python's global generator.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stages
import tiny
import torch
import toys
from children import in_child

from lmlab.engine.config import load_preset
from lmlab.engine.run import Run
from lmlab.launch.local import Options, choose_run, start
from lmlab.studies.scratch import solve
from lmlab.studies.scratch.dpo import PreferenceOptimization
from lmlab.studies.scratch.model import LanguageModeling
from lmlab.studies.scratch.verifier import Verification

PREPARED = ("prepare", "pretrain")
TRAINED = ("sft", "dpo", "verifier")
# Where it is killed, one after another: what is called for the how many-th time.
KILLS: dict[str, list[tuple[Any, str, int]]] = {
    "sft": [(LanguageModeling, "losses", 4), (LanguageModeling, "evaluate", 1), (os, "fsync", 9)],
    "dpo": [
        (PreferenceOptimization, "losses", 1),
        (PreferenceOptimization, "losses", 4),
        (os, "fsync", 9),
    ],
    "solve": [(solve, "generate", 2)],
    "verifier": [(Verification, "losses", 3), (Verification, "evaluate", 2), (os, "fsync", 9)],
}


def run_to(root: Path, last: str) -> Run:
    """Do what is not done of a run of `root`, up to a step."""
    os.environ["LMLAB_RUNS"] = str(root)
    steps = [*PREPARED, *KILLS]
    options = Options(name="stages", steps=tuple(steps[: steps.index(last) + 1]))
    resolved = load_preset(tiny.PRESET, stages.OVERRIDES)
    chosen = choose_run(resolved, options)
    start(resolved, chosen, options)
    return chosen.run


def kill_at(holder: Any, name: str, count: int) -> None:
    """This process, when something is called for the `count`-th time."""
    left, inner = count, getattr(holder, name)

    def called(*given: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*given, **more)

    setattr(holder, name, called)


def dying(root: Path, stage: str, kill: tuple[Any, str, int]) -> Callable[[], None]:
    """A start of the run that ends in a kill, or with the stage."""

    def work() -> None:
        kill_at(*kill)
        run_to(root, stage)

    return work


def differences(one: Run, other: Run) -> list[str]:
    """Parts and files that are not the same to the bit."""
    found = [
        f"{name}: {what}"
        for name in ("pretrain", *TRAINED)
        for what in sorted(toys.differences(one.part(name), other.part(name)))
    ]
    kept = [tiny.contents(run.folder, "solutions/", "dpo/reference_") for run in (one, other)]
    assert len(kept[0]) == 5
    return found + sorted(
        name for name in kept[0] | kept[1] if len({x.get(name) for x in kept}) > 1
    )


def main() -> None:
    """One run unbroken, one killed at every place."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    run_to(folder / "broken", "pretrain")
    ended = {
        stage: [in_child(dying(folder / "broken", stage, kill)) for kill in kills]
        for stage, kills in KILLS.items()
    }
    broken, unbroken = (run_to(folder / name, "verifier") for name in ("broken", "unbroken"))
    print(json.dumps({"ended": ended, "differing": differences(unbroken, broken)}))  # noqa: T201


if __name__ == "__main__":
    main()
