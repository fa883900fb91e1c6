"""What checkpoints cost a run: `python bench/saving.py [--record]`.

A real training of the 14 M model, saved every 50 steps in the background. What a save costs is by
how much the steps after it are longer than the median step: the copy, and the writing beside it.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from arm import BATCH, SHAPE, random_rows
from peers import VOCAB
from rounds import Bench

from lmlab.data.loader import Loader
from lmlab.engine.contract import Plan
from lmlab.engine.device import Decided
from lmlab.engine.preempt import Notice
from lmlab.engine.run import Run
from lmlab.engine.schema import (
    CheckpointConfig,
    CostConfig,
    MonitorConfig,
    TrackerConfig,
    TrainConfig,
)
from lmlab.engine.session import Session
from lmlab.engine.trainer import train
from lmlab.models.decoder import Decoder, init_weights
from lmlab.studies.scratch.model import LanguageModeling

# A save is long done when this many steps have followed it.
INTERVAL, SAVES, AFTER = 50, 4, 15
PROTOCOL = {
    "model": "d 384, 6 layers, vocabulary 8192",
    "batch": "16 x 256",
    "precision": "bf16",
    "stall": f"excess of the {AFTER} steps after a save begins over as many median steps",
}


def step_seconds(plan: Plan) -> list[float]:
    """Wall seconds from the end of each step to the end of the next, saves included."""
    ends: list[float] = []
    inner = Session.count

    def counted(self: Session, units: Mapping[str, int], *, samples: int, seconds: float) -> None:
        inner(self, units, samples=samples, seconds=seconds)
        ends.append(time.perf_counter())

    Session.count = counted  # type: ignore[method-assign]
    model = Decoder(SHAPE, vocab_size=VOCAB)
    init_weights(model, seed=0)
    objective = LanguageModeling(model, validation=None, batch_size=BATCH, packed_apart=False)
    with tempfile.TemporaryDirectory() as folder:
        part = Run(Path(folder), "bench", "saving", Notice()).part("train")
        with Loader(
            10_000, random_rows, batch_size=BATCH, micro_batch_size=BATCH, seed=0
        ) as loader:
            train(objective, loader, plan, run=part)
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


def main() -> None:
    """Train, and compare the steps after a save with the rest."""
    every = CheckpointConfig().save_every.steps
    assert every is not None
    config = TrainConfig.model_validate(
        {
            "max_steps": INTERVAL * SAVES + AFTER + 1,
            "batch_size": BATCH,
            "optim": {"learning_rate": 1e-3},
            "checkpoint": {"save_every": INTERVAL},
        }
    )
    decided = Decided("cpu", "bfloat16", False, 2, False, True, BATCH, 1, "none")
    plan = Plan(
        config, decided, 0, "bench", "tokens", TrackerConfig(), MonitorConfig(), CostConfig()
    )
    seconds = step_seconds(plan)
    step = statistics.median(seconds)
    # seconds[i] ends with step i + 2: the first after the save of step n is seconds[n - 1].
    stalls = [
        sum(seconds[n - 1 : n - 1 + AFTER]) - AFTER * step
        for n in range(INTERVAL, INTERVAL * SAVES + 1, INTERVAL)
    ]
    stall = statistics.median(stalls)
    bench = Bench("saving", PROTOCOL)
    shares = [
        bench.record(
            f"saving every {steps} steps",
            "share_of_run",
            [stall / (steps * step)],
            unit="share",
            better="lower",
        )
        for steps in (INTERVAL, int(every.value))
    ]
    bench.write(
        [
            bench.record("one save", "stall_seconds", stalls, unit="s", better="lower"),
            bench.record("one step", "seconds", [step], unit="s", better="lower"),
            *shares,
        ]
    )


if __name__ == "__main__":
    main()
