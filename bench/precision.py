"""Does bf16 autocast change what is learned? `python bench/precision.py [--record]`.

The loss curve of the training bench's model under bf16 autocast over float32 weights, against
float32's on the same batches from the same weights, and against another seed's weights: the gap
that precision opens beside the one that luck opens.
"""

import statistics

from rounds import Bench, in_turn

STEPS = 120
ARMS = {"ours": "bf16 autocast", "ours-float32": "float32", "ours-other-seed": "another seed"}
PROTOCOL = {
    "model": "d 384, 6 layers, 6 heads, vocabulary 8192, context 256",
    "batch": 16,
    "steps": STEPS,
    "value": "median over steps of the absolute difference of two losses; range over steps",
}


def main() -> None:
    """Both gaps, step by step."""
    found = in_turn({arm: ["arm.py", arm, str(STEPS)] for arm in ARMS}, rounds=1)
    losses = {arm: rows[0]["losses"] for arm, rows in found.items()}
    bench = Bench("precision", PROTOCOL, over="steps")
    records = [
        bench.record(
            ARMS[arm], "loss_gap", _gaps(losses["ours"], losses[arm]), unit="nats", better="lower"
        )
        for arm in ("ours-float32", "ours-other-seed")
    ]
    for arm, values in losses.items():
        last = statistics.mean(values[-20:])
        records.append(bench.record(ARMS[arm], "final_loss", [last], unit="nats", better="lower"))
    bench.write(records)


def _gaps(one: list[float], other: list[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(one, other, strict=True)]


if __name__ == "__main__":
    main()
