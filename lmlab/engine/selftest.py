"""`lmlab doctor --selftest`: train, kill, resume, compare and generate on this machine's device."""

import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmlab.engine import checkpoint
from lmlab.engine.config import load_preset
from lmlab.engine.doctor import Measured, machine_record, new_folder
from lmlab.engine.records import Record, write_records
from lmlab.engine.run import Part, Run, read_json
from lmlab.models.generate import generate
from lmlab.models.schema import GenerationSettings

PRESET = "scratch/selftest"
# Later than a save and before the next, so that something has to be done again.
KILL_AFTER_STEP = 60
DEADLINE_SECONDS = 300.0
# Compilation, allocation and the first touch of the data are no steady state.
WARM_UP_STEPS = 20
PROMPT, NEW_TOKENS = "That Sunday in April,", 64


@dataclass(frozen=True)
class Outcome:
    """What was measured, and what is wrong."""

    records: tuple[Record, ...]
    text: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Trainings:
    """Two trainings of one configuration: one unbroken, one killed and resumed."""

    unbroken: Part
    broken: Part
    resume_seconds: float


@dataclass(frozen=True)
class Generated:
    """A text, its new tokens and the seconds that they took."""

    text: str
    num_tokens: int
    seconds: float


def report(overrides: Sequence[str]) -> tuple[list[str], bool]:
    """Lines for people, and whether all is well."""
    folder = new_folder()
    outcome = run_selftest(folder, overrides)
    lines = [f"{one.metric:<28} {one.value:>12,.4g} {one.unit}" for one in outcome.records]
    lines += [f"text: {outcome.text}", f"records: {folder / 'results.jsonl'}"]
    lines += [f"wrong: {problem}" for problem in outcome.problems]
    return lines, not outcome.problems


def run_selftest(folder: Path, overrides: Sequence[str]) -> Outcome:
    """Everything under `folder`; the records go to its results.jsonl."""
    # Not a dev run, whatever the environment says: its records are to count.
    resolved = load_preset(PRESET, overrides, dev=False)
    trainings = _train(folder, overrides)
    generated = _generate(trainings.broken)
    facts = read_json(trainings.broken.run.folder / "data" / "facts.json")
    weights = {"decoder": _weights(trainings.broken)}
    records = [
        machine_record(resolved, one, data=facts["sha256"], weights=weights)
        for one in [*_compare(trainings), *_speeds(trainings, generated)]
    ]
    write_records(folder / "results.jsonl", records)
    problems = find_problems(trainings, generated)
    return Outcome(tuple(records), generated.text, tuple(problems))


def find_problems(trainings: Trainings, generated: Generated) -> list[str]:
    """What is wrong, in sentences; none where all is well."""
    rows = _rows(trainings.unbroken)
    difference = _largest_difference(trainings)
    problems = []
    # A GPU adds up in no fixed order: there the difference is a figure, no fault.
    if _device(trainings.broken) == "cpu" and difference > 0:
        problems.append(f"the resumed training differs by up to {difference:.3g}")
    if rows[-1]["train/loss"] >= rows[0]["train/loss"]:
        problems.append("training did not lower the loss")
    if generated.num_tokens == 0:
        problems.append("nothing was generated")
    return problems


def _compare(trainings: Trainings) -> list[Measured]:
    equal = _weights(trainings.unbroken) == _weights(trainings.broken)
    difference = _largest_difference(trainings)
    return [
        Measured("resumed_equal", "1 is to the bit", "higher", float(equal)),
        Measured("largest_difference", "of a weight", "lower", difference),
        Measured("resume_seconds", "s", "lower", trainings.resume_seconds),
    ]


def _speeds(trainings: Trainings, generated: Generated) -> list[Measured]:
    trained = [row["tokens_per_second"] for row in _rows(trainings.unbroken)[WARM_UP_STEPS:]]
    made = generated.num_tokens / generated.seconds
    return [
        Measured(
            "tokens_per_second", "tokens/s", "higher", statistics.median(trained), len(trained)
        ),
        Measured("generated_tokens_per_second", "tokens/s", "higher", made, generated.num_tokens),
    ]


def _train(folder: Path, overrides: Sequence[str]) -> Trainings:
    _finish(_start(folder, "unbroken", overrides), "unbroken", folder)
    broken = Part(Run(folder, "scratch", "broken"), "pretrain")
    _kill_in_training(_start(folder, "broken", overrides), broken)
    started = time.time()
    _finish(_start(folder, "broken", overrides), "broken", folder)
    first = next(row["time"] for row in _rows(broken) if row["time"] >= started)
    unbroken = Part(Run(folder, "scratch", "unbroken"), "pretrain")
    return Trainings(unbroken, broken, first - started)


def _start(folder: Path, name: str, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lmlab.cli", "run", PRESET, "--name", name]
    environment = {key: value for key, value in os.environ.items() if key != "DEV_MODE"}
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--steps", "prepare,pretrain", *overrides],
            env=environment | {"LMLAB_RUNS": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
            # Of its own group, so that its workers are killed with it.
            start_new_session=True,
        )


def _finish(process: subprocess.Popen[bytes], name: str, folder: Path) -> None:
    if process.wait() != 0:
        raise RuntimeError(f"the {name} training failed; {folder / name}.log says why")


def _kill_in_training(process: subprocess.Popen[bytes], part: Part) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (rows := _rows(part)) or rows[-1]["step"] < KILL_AFTER_STEP:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the training in {part.folder} could not be killed half-way")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if part.status()["state"] == "done":
        raise RuntimeError(f"the training in {part.folder} was done before it was killed")


def _rows(part: Part) -> list[dict[str, Any]]:
    """Whole rows of steps; a line that is still being written is none."""
    if not part.metrics_path.exists():
        return []
    lines = part.metrics_path.read_text(encoding="utf-8").split("\n")[:-1]
    return [row for row in map(json.loads, lines) if "train/loss" in row]


def _weights(part: Part) -> str:
    path = checkpoint.find(part.checkpoints, "last")
    return str(checkpoint.verify(path)["identity"]["weights"])


def _largest_difference(trainings: Trainings) -> float:
    """0 only where every weight is equal to the bit."""
    one, other = (
        checkpoint.load(checkpoint.find(part.checkpoints, "last")).tensors["model"]
        for part in (trainings.unbroken, trainings.broken)
    )
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _device(part: Part) -> str:
    return str(read_json(part.folder / "decided.json")["device"])


def _generate(part: Part) -> Generated:
    module = importlib.import_module(f"lmlab.studies.{part.run.study}.inference")
    opened = module.open_model(part, at="last")
    model, prompt = opened.model.to(_device(part)), opened.tokenizer.encode(PROMPT)

    def tokens(number: int) -> list[int]:
        settings = GenerationSettings(max_new_tokens=number, temperature=0)
        return generate(model, [prompt], settings=settings)[0].tokens

    tokens(4)  # the first allocates
    started = time.perf_counter()
    new = tokens(NEW_TOKENS)
    seconds = time.perf_counter() - started
    return Generated(PROMPT + opened.tokenizer.decode(new), len(new), seconds)
