"""Trainings killed at random and resumed: `python bench/kills.py [TRIALS] [--record]`.

A decoder of 0.1 M parameters learns for 60 steps of 4 micro-batches, with dropout, masked tokens
and draws from every generator, mirrored to a folder. Each trial interrupts it twice, at a random
event of a phase, with SIGKILL or SIGTERM, and lets it end; what it leaves is compared with an
unbroken training: weights, optimizer, random numbers, place in the data, counters, metrics. After a
kill in an upload it goes on from the mirror, as on a new machine. Children are forked from this
process, which has imported torch. Prints how often each phase was hit and state was restored.
"""

import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import HERE, Bench

sys.path.append(str(HERE.parent / "tests"))
from toys import differences

from lmlab.data.loader import Loader, keyed_generator
from lmlab.engine import storage
from lmlab.engine.contract import LossTerm, Plan
from lmlab.engine.device import Decided
from lmlab.engine.mirror import Mirror
from lmlab.engine.mirroring import mirrored
from lmlab.engine.preempt import EXIT_CODE, Notice, Preempted
from lmlab.engine.run import Part, Run
from lmlab.engine.schema import (
    CostConfig,
    MonitorConfig,
    StorageConfig,
    TrackerConfig,
    TrainConfig,
)
from lmlab.engine.trainer import train
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.schema import DecoderConfig
from lmlab.studies.scratch.model import LanguageModeling

VOCAB, LENGTH, STEPS, BATCH, MICRO, ITEMS = 256, 32, 60, 8, 2, 200
SHAPE = DecoderConfig(
    num_layers=2, d_model=64, num_heads=2, d_ff=128, context_tokens=LENGTH, dropout=0.1
)
STATE = ("weights", "optimizer", "random numbers", "place in the data", "counters", "metrics")
# phase -> how many events of it there are in an unbroken training, counted when it is made.
PHASES = ("micro-step", "mid-accumulation", "save", "evaluation", "upload")
WORKERS = 2


class Careless(LanguageModeling):
    """Draws from every generator that there is, which a resume has to put back."""

    calls = 0

    def losses(
        self, batch: Mapping[str, torch.Tensor], *, step: int, generator: torch.Generator
    ) -> dict[str, LossTerm]:
        """The NLL, scaled by a random number near one."""
        event("mid-accumulation" if Careless.calls % (BATCH // MICRO) else "micro-step")
        Careless.calls += 1
        (nll,) = super().losses(batch, step=step, generator=generator).values()
        drawn = random.random() + np.random.rand() + float(torch.rand((), generator=generator))
        return {"nll": LossTerm(nll.sum * (1 + 0.01 * drawn), nll.unit, nll.weight)}

    def evaluate(self) -> dict[str, float]:
        """A number that needs no data, from a careless draw."""
        event("evaluation")
        return {"validation/loss": random.random() + float(self.model.embed.weight.square().mean())}


def rows(ids: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
    """Rows of a fixed corpus, with a keyed random share of their tokens as targets."""
    corpus = np.random.default_rng(7).integers(0, VOCAB, (ITEMS, LENGTH + 1))
    masks = [
        keyed_generator(3, purpose="mask", epoch=epoch, item_id=int(item)).random(LENGTH) < 0.5
        for item in ids
    ]
    targets = np.where(np.array(masks), corpus[ids, 1:], -100)
    return {"tokens": torch.tensor(corpus[ids, :-1]), "targets": torch.tensor(targets)}


def train_once(folder: Path) -> Part:
    """From wherever the folder is to the end."""
    Careless.calls = 0
    model = Decoder(SHAPE, vocab_size=VOCAB)
    init_weights(model, seed=0)
    objective = Careless(model, validation=None, batch_size=BATCH, packed_apart=False)
    run = Run(folder, "bench", "kills", Notice())
    run.part("train")
    mirror = StorageConfig(to=str(folder / "mirror"))
    with (
        run.notice.installed(),
        mirrored(run, mirror, grace_seconds=5.0) as watched,
        Loader(ITEMS, rows, batch_size=BATCH, micro_batch_size=MICRO, seed=5, workers=1) as loader,
    ):
        train(objective, loader, plan(), run=watched.part("train"))
    return run.part("train")


def plan() -> Plan:
    """Evaluations and saves at odd places."""
    config = TrainConfig.model_validate(
        {
            "max_steps": STEPS,
            "batch_size": BATCH,
            "optim": {"learning_rate": 0.003, "schedule": {"warmup": 10}},
            "checkpoint": {"save_every": 7, "best_metric": "validation/loss"},
            "eval_every": 11,
            "log_every": 1,
        }
    )
    decided = Decided("cpu", "float32", False, 1, False, True, MICRO, 1, "none")
    tracker = TrackerConfig(tensorboard=False)
    return Plan(config, decided, 11, "kills", "tokens", tracker, MonitorConfig(), CostConfig())


# What happens at an event; a trial puts its own in place, in its child.
event: Callable[[str], None] = lambda phase: None  # noqa: E731


def watch_writes() -> None:
    """Each flush to disk is an event, of a save or of an upload."""
    flush, write = os.fsync, storage.Folder._write

    def flushed(handle: int) -> None:
        event("save")
        flush(handle)

    def written(self: storage.Folder, key: str, file: Any) -> Path:
        event("upload")
        return write(self, key, file)

    os.fsync = flushed
    storage.Folder._write = written  # type: ignore[method-assign]


def interrupt(folder: Path, phase: str, count: int, number: signal.Signals) -> bool:
    """Whether a child that gets a signal at the count-th event of a phase was ended by it."""

    def child() -> None:
        global event
        left = count

        def tick(happened: str) -> None:
            nonlocal left
            left -= happened == phase
            if left == 0:
                os.kill(os.getpid(), number)

        event = tick
        try:
            train_once(folder)
        except Preempted:
            os._exit(EXIT_CODE)

    status = in_child(child)
    return os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == EXIT_CODE


def in_child(work: Callable[[], None]) -> int:
    """Its wait status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def trial(number: int, folder: Path, *, unbroken: Part, events: Counter[str]) -> dict[str, Any]:
    """Two interruptions, then to the end; what was hit and what differs."""
    rng = random.Random(number)
    hits: Counter[str] = Counter()
    for turn in range(2):
        phase = PHASES[(number + turn) % len(PHASES)]
        how = rng.choice([signal.SIGKILL, signal.SIGTERM])
        if interrupt(folder, phase, rng.randint(1, events[phase]), how):
            hits[phase] += 1
            hits[how.name] += 1
            hits["resumed from a save"] += bool(
                list(folder.glob("bench/kills/train/checkpoints/s*"))
            )
            if phase == "upload":
                move_machine(folder, hits)
    assert in_child(lambda: train_once(folder) and None) == 0
    different = differences(unbroken, Run(folder, "bench", "kills").part("train"))
    shutil.rmtree(folder)
    return {"hits": hits, "different": sorted(different)}


def move_machine(folder: Path, hits: Counter[str]) -> None:
    """The machine is gone, if anything of it was mirrored: what was is pulled."""
    there = storage.Folder(folder / "mirror")
    if there.keys("bench/kills/index/"):
        shutil.rmtree(folder / "bench")
        Mirror(there, Run(folder, "bench", "kills")).pull()
        hits["went on from the mirror"] += 1


def count_events(folder: Path) -> Counter[str]:
    """How often each phase happens in an unbroken training."""
    global event
    counted: Counter[str] = Counter()
    event = lambda phase: counted.update([phase])  # noqa: E731
    train_once(folder)
    event = lambda phase: None  # noqa: E731
    return counted


def share_of_trials(given: tuple[int, int, Path, Part, Counter[str]]) -> list[dict[str, Any]]:
    """Every WORKERS-th trial."""
    first, count, folder, unbroken, events = given
    logging.disable(logging.CRITICAL)
    return [
        trial(number, folder / str(number), unbroken=unbroken, events=events)
        for number in range(first, count, WORKERS)
    ]


def main() -> None:
    """All trials, two at a time."""
    count = next((int(one) for one in sys.argv[1:] if one.isdigit()), 300)
    torch.set_num_threads(1)
    watch_writes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logging.disable(logging.CRITICAL)
        # In a child, so that this process has no threads when it forks.
        with multiprocessing.get_context("spawn").Pool(1, watch_writes) as pool:
            events = pool.apply(count_events, (folder / "unbroken",))
        unbroken = Run(folder / "unbroken", "bench", "kills").part("train")
        given = [(first, count, folder, unbroken, events) for first in range(WORKERS)]
        with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
            done = [one for share in pool.map(share_of_trials, given) for one in share]
    hits = sum((one["hits"] for one in done), Counter())
    failed = [one["different"] for one in done if one["different"]]
    restored = dict.fromkeys(STATE, hits["resumed from a save"])
    print(f"events of an unbroken training: {dict(events)}")
    print(f"hits: {dict(hits)}", f"restored: {restored}", f"different: {failed}", sep="\n")
    protocol = {"trials": count, "hits": dict(sorted(hits.items()))}
    bench = Bench("kills", protocol)
    mismatches = [float(bool(one["different"])) for one in done]
    record = bench.record(
        "interrupted twice and resumed", "mismatches", [sum(mismatches)], unit="trials",
        better="lower",
    )  # fmt: skip
    bench.write([record])
    if failed or min(hits[phase] for phase in PHASES) < min(10, count // 10):
        sys.exit(1)


if __name__ == "__main__":
    main()
