"""Causal attention by matrix products against SDPA: `python bench/attention.py [--record]`.

The training step of bench/training.py, in bf16 on a CPU at 256 tokens, with either of the two.
"""

import statistics

from rounds import Bench, in_turn
from training import PROTOCOL, ROUNDS, STEPS, TOKENS

ARMS = {"products": "ours", "SDPA": "ours-sdpa"}


def main() -> None:
    """Both in turn, then their ratio round by round."""
    commands = {arm: ["arm.py", name, str(STEPS)] for arm, name in ARMS.items()}
    found = in_turn(commands, rounds=ROUNDS)
    speed = {
        arm: [TOKENS / statistics.median(one["seconds"]) for one in rows]
        for arm, rows in found.items()
    }
    ratios = [ours / sdpa for ours, sdpa in zip(speed["products"], speed["SDPA"], strict=True)]
    bench = Bench("attention", PROTOCOL)
    rates = [
        bench.record(arm, "tokens_per_second", values, unit="tokens/s", better="higher")
        for arm, values in speed.items()
    ]
    ratio = bench.record("products / SDPA", "speed_ratio", ratios, unit="ratio", better="higher")
    bench.write([*rates, ratio])


if __name__ == "__main__":
    main()
