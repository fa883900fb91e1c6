"""What checkpoints cost a run at the default interval: `python bench/saving.py [--record]`.

A real training of the 14 M model: seconds of one save against those of the steps between two.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from arm import BATCH, SHAPE
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

SAVES, STEPS_BETWEEN = 5, 4
PROTOCOL = {"model": "d 384, 6 layers, vocabulary 8192", "batch": "16 x 256", "precision": "bf16"}


def rows(ids: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
    """Random tokens: the cost of a step does not depend on what they say."""
    generator = torch.Generator().manual_seed(int(ids[0]))
    tokens = torch.randint(0, VOCAB, (len(ids), SHAPE.context_tokens + 1), generator=generator)
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}


def main() -> None:
    """Time every save, and the steps."""
    every = CheckpointConfig().save_every.steps
    assert every is not None
    saves: list[float] = []
    inner = Session.save

    def timed(self: Session, *, state: str) -> None:
        written = self.last_saved != self.step  # the end of the run finds its last step saved
        started = time.perf_counter()
        inner(self, state=state)
        if written:
            saves.append(time.perf_counter() - started)

    Session.save = timed  # type: ignore[method-assign]
    steps = SAVES * STEPS_BETWEEN
    config = TrainConfig.model_validate(
        {
            "max_steps": steps,
            "batch_size": BATCH,
            "optim": {"learning_rate": 1e-3},
            "checkpoint": {"save_every": STEPS_BETWEEN},
        }
    )
    decided = Decided("cpu", "bfloat16", False, 2, False, True, BATCH)
    plan = Plan(
        config, decided, 0, "bench", "tokens", TrackerConfig(), MonitorConfig(), CostConfig()
    )
    model = Decoder(SHAPE, vocab_size=VOCAB)
    init_weights(model, seed=0)
    objective = LanguageModeling(model, validation=None, batch_size=BATCH, packed_apart=False)
    with tempfile.TemporaryDirectory() as folder:
        part = Run(Path(folder), "bench", "saving", Notice()).part("train")
        started = time.perf_counter()
        with Loader(10_000, rows, batch_size=BATCH, micro_batch_size=BATCH, seed=0) as loader:
            train(objective, loader, plan, run=part)
        whole = time.perf_counter() - started
    step = (whole - sum(saves)) / steps
    share = statistics.median(saves) / (every.value * step)
    bench = Bench("saving", PROTOCOL)
    bench.write(
        [
            bench.record("one save", "seconds", saves, unit="s", better="lower"),
            bench.record("one step", "seconds", [step], unit="s", better="lower"),
            bench.record(
                f"saving every {every}", "share_of_run", [share], unit="share", better="lower"
            ),
        ]
    )


if __name__ == "__main__":
    main()
