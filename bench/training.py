"""The training step against two peers, each at its best: `python bench/training.py [--record]`.

13-14 M parameters (d 384, 6 layers, 6 heads, vocabulary 8,192), batch 16 x 256, 2 threads, fused
AdamW, SDPA. Ours keeps float32 master weights (`precision.py`: what bf16 does to its losses).
"""

import statistics

from arm import SHAPE
from peers import VOCAB
from rounds import Bench, in_turn

from lmlab.engine.throughput import utilization

STEPS, ROUNDS, TOKENS = 8, 3, 16 * 256
OURS = "ours"
PEERS = [
    f"{kind}-{mode}-{precision}"
    for kind in ("gpt", "llama")
    for mode in ("eager", "compile")
    for precision in ("autocast", "bf16")
]
PROTOCOL = {
    "model": "d 384, 6 layers, 6 heads, vocabulary 8192, context 256",
    "batch": 16,
    "steps": STEPS,
    "value": "median over steps of tokens per second of a whole optimizer step",
}


def main() -> None:
    """All arms in turn, then ratios round by round."""
    arms = [OURS, *PEERS, "ours-float32"]
    found = in_turn({arm: ["arm.py", arm, str(STEPS)] for arm in arms}, rounds=ROUNDS)
    speed = {
        arm: [TOKENS / statistics.median(one["seconds"]) for one in rows]
        for arm, rows in found.items()
    }
    best = max(PEERS, key=lambda arm: statistics.median(speed[arm]))
    bench = Bench("training", PROTOCOL)
    records = [
        bench.record(arm, "tokens_per_second", values, unit="tokens/s", better="higher")
        for arm, values in speed.items()
    ]
    ratios = [ours / peer for ours, peer in zip(speed[OURS], speed[best], strict=True)]
    records.append(
        bench.record(f"ours / {best}", "speed_ratio", ratios, unit="ratio", better="higher")
    )
    flops = SHAPE.flops_per_token(VOCAB)
    shares = [
        utilization(flops_per_token=flops, tokens_per_second=tokens, peak_flops=one["peak_flops"])
        for tokens, one in zip(speed[OURS], found[OURS], strict=True)
    ]
    records.append(bench.record(OURS, "share_of_gemm_peak", shares, unit="share", better="higher"))
    bench.write(records)


if __name__ == "__main__":
    main()
