"""Two processes that share a model against two that do not: `python bench/scaling.py [--record]`.

What DDP costs: the tokens per second of one training by two processes of one thread, as a share of
what two independent trainings of one process and thread reach side by side.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from rounds import HERE, Bench

STEPS, ROUNDS = 12, 3
PROTOCOL = {
    "model": "d 384, 6 layers, vocabulary 8192",
    "batch": "8 x 256 a process",
    "precision": "bf16, compiled",
    "value": "median over steps of tokens per second, over both processes",
}
SCRIPT = ("process.py", str(STEPS))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def main() -> None:
    """Both ways in turn, and their ratio round by round."""
    independent, together = [], []
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        independent.append(sum(map(read, [start(SCRIPT), start(SCRIPT)])))
        together.append(read(start((*TORCHRUN, *SCRIPT))))
    ratios = [ours / apart for ours, apart in zip(together, independent, strict=True)]
    bench = Bench("scaling", PROTOCOL)
    named = {"two independent": independent, "two with DDP": together}
    rates = [
        bench.record(arm, "tokens_per_second", values, unit="tokens/s", better="higher")
        for arm, values in named.items()
    ]
    ratio = bench.record("DDP / independent", "speed_ratio", ratios, unit="ratio", better="higher")
    bench.write([*rates, ratio])


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    """A process of one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read(process: subprocess.Popen[str]) -> float:
    """The median over steps of what it prints."""
    said, _ = process.communicate()
    assert process.returncode == 0
    return statistics.median(json.loads(said))


if __name__ == "__main__":
    main()
