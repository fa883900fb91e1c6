"""One process of the scaling bench: `python bench/process.py STEPS`, alone or under torchrun.

A training by the engine, one thread and 8 rows of 256 tokens a process, compiled, bf16. Prints the
tokens per second of each step after the warm-up, over all processes.
"""

import json
import sys
import tempfile
from pathlib import Path

from arm import SHAPE, random_rows
from peers import VOCAB

from lmlab.data.loader import Loader
from lmlab.engine.contract import Plan
from lmlab.engine.device import Decided
from lmlab.engine.distributed import from_main, join
from lmlab.engine.preempt import Notice
from lmlab.engine.run import Run
from lmlab.engine.schema import CostConfig, MonitorConfig, TrackerConfig, TrainConfig
from lmlab.engine.trainer import train
from lmlab.models.decoder import Decoder, init_weights
from lmlab.studies.scratch.model import LanguageModeling

ROWS, WARMUP = 8, 3


def main() -> None:
    """Train, then read what the engine logged."""
    steps = WARMUP + int(sys.argv[1])
    world = join()
    batch = ROWS * world.size
    config = TrainConfig.model_validate(
        {
            "max_steps": steps,
            "batch_size": batch,
            "optim": {"learning_rate": 1e-3},
            "checkpoint": {"save_every": "-1"},
            "log_every": 1,
        }
    )
    decided = Decided("cpu", "bfloat16", True, 1, False, True, ROWS, world.size, "none")
    tracker, monitor = TrackerConfig(tensorboard=False), MonitorConfig()
    plan = Plan(config, decided, 0, "bench", "tokens", tracker, monitor, CostConfig(), world)
    model = Decoder(SHAPE, vocab_size=VOCAB)
    init_weights(model, seed=0)
    objective = LanguageModeling(model, validation=None, batch_size=ROWS, packed_apart=False)
    folder = Path(from_main(tempfile.mkdtemp, world=world))
    part = Run(folder, "bench", "scaling", Notice()).part("train")
    with Loader(
        10_000,
        random_rows,
        batch_size=batch,
        micro_batch_size=ROWS,
        seed=0,
        rank=world.rank,
        world_size=world.size,
    ) as loader:
        train(objective, loader, plan, run=part)
    if world.is_main:
        logged = [json.loads(line) for line in part.metrics_path.read_text().splitlines()]
        print(json.dumps([row["tokens_per_second"] for row in logged][WARMUP:]))


if __name__ == "__main__":
    main()
