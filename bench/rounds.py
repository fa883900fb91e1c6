"""Arms measured in turn, each in a process of its own with an equal environment; records of it."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lmlab.engine.device import processor_name
from lmlab.engine.provenance import code_state
from lmlab.engine.records import Record, read_records, write_records

HERE = Path(__file__).parent
RECORDS = HERE.parent / "docs" / "records"


@dataclass(frozen=True)
class Bench:
    """What every measurement of one bench shares."""

    name: str
    protocol: Mapping[str, Any]
    # What an arm's values are: one a round, or one a step of a single round.
    over: str = "rounds"

    def record(
        self, arm: str, metric: str, values: Sequence[float], *, unit: str, better: str
    ) -> Record:
        """The median of `values` and their range."""
        machine = {"processor": processor_name(), "system": platform.system(), "threads": 2}
        return Record(
            study="bench",
            run=self.name,
            part="",
            step="bench",
            training_step=None,
            arm=arm,
            at={},
            metric=metric,
            unit=unit,
            better=better,  # type: ignore[arg-type]
            value=statistics.median(values),
            n=len(values),
            n_error=0,
            interval=(min(values), max(values)),
            interval_method=f"range over {self.over}",
            protocol={**self.protocol, **machine, "torch": torch.__version__},
            data={},
            data_kind="generated",
            weights={},
            weightless=True,
            seed=0,
            dev=False,
            command=shlex.join(["python", f"bench/{self.name}.py", *sys.argv[1:]]),
            commit=code_state()["commit"],
        )

    def write(self, records: Sequence[Record]) -> None:
        """Print a table; with `--record` also keep the records for the documents."""
        for record in records:
            low, high = record.interval or (record.value, record.value)
            print(
                f"{record.arm:<28} {record.metric:<28} {record.value:12.4g} {record.unit:<10} "
                f"({low:.4g} to {high:.4g}, {record.n} {self.over})"
            )
        if "--record" in sys.argv:
            write_records(RECORDS / f"bench_{self.name}.jsonl", records)
            assert len(read_records(RECORDS / f"bench_{self.name}.jsonl")) == len(records)


def in_turn(
    commands: Mapping[str, Sequence[str]], *, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """arm -> one JSON object a round; A B C, A B C, ..., so that a slow hour slows all of them."""
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in commands}
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
    for number in range(rounds):
        for arm, command in commands.items():
            print(f"round {number + 1} of {rounds}: {arm}", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, *command],
                cwd=HERE,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            found[arm].append(json.loads(done.stdout))
    return found
