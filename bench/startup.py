"""How soon the command line answers: `python bench/startup.py [--record]`."""

import subprocess
import sys
import time
from pathlib import Path

from rounds import Bench

ROUNDS = 15
PROTOCOL = {"value": "seconds of a whole process beyond an empty one of the same python"}


def seconds(command: list[str]) -> float:
    """Wall time of a process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Bare python and both commands in turn, after one round that is not counted."""
    lmlab = str(Path(sys.executable).with_name("lmlab"))
    commands = {"lmlab list": [lmlab, "list"], "lmlab --help": [lmlab, "--help"]}
    beyond: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            bare = seconds([sys.executable, "-c", "pass"])
            if number:
                beyond[name].append(seconds(command) - bare)
    bench = Bench("startup", PROTOCOL)
    bench.write(
        [
            bench.record(name, "seconds_beyond_python", values, unit="s", better="lower")
            for name, values in beyond.items()
        ]
    )


if __name__ == "__main__":
    main()
