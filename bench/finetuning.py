"""Fine-tuning steps against TRL and PEFT: `.venv-parity/bin/python bench/finetuning.py [--record]`.

The training bench's decoder (13-14 M parameters) and its export, 8 generated examples or pairs a
step, 2 threads, fused AdamW; each arm in float32 and in bf16, of which its better one counts.
"""

import statistics

from rounds import Bench, in_turn

STEPS, ROUNDS = 6, 2
# Ours, and the peer with the same batches; `packed` is SFT as the study runs it.
AGAINST = {
    "sft-ours": "sft-trl",
    "packed-ours": "sft-trl",
    "dpo-ours": "dpo-trl",
    "lora-ours": "lora-peft",
}
ARMS = dict.fromkeys([*AGAINST, *AGAINST.values()])
PRECISIONS = ("float32", "bf16")
PROTOCOL = {
    "model": "d 384, 6 layers, 6 heads, vocabulary 8192, context 256",
    "batch": "8 examples, or pairs, of the stories world",
    "lora": "r 16 on q_proj and v_proj",
    "steps": STEPS,
    "value": "median over steps of the examples' tokens per second of a whole optimizer step",
}


def main() -> None:
    """All arms in turn, then each of ours against its peer, round by round."""
    names = [f"{arm}-{precision}" for arm in ARMS for precision in PRECISIONS]
    found = in_turn({name: [_script(name), name, str(STEPS)] for name in names}, rounds=ROUNDS)
    speed = {
        name: [
            statistics.median(n / s for n, s in zip(one["tokens"], one["seconds"], strict=True))
            for one in rows
        ]
        for name, rows in found.items()
    }
    bench = Bench("finetuning", PROTOCOL)
    records = [
        bench.record(name, "tokens_per_second", values, unit="tokens/s", better="higher")
        for name, values in speed.items()
    ]
    for ours, peer in AGAINST.items():
        mine, theirs = (_best(arm, speed) for arm in (ours, peer))
        ratios = [a / b for a, b in zip(speed[mine], speed[theirs], strict=True)]
        records.append(
            bench.record(f"{mine} / {theirs}", "speed_ratio", ratios, unit="ratio", better="higher")
        )
    bench.write(records)


def _script(name: str) -> str:
    return "finetuning_trl.py" if "-trl-" in name else "finetuning_arm.py"


def _best(arm: str, speed: dict[str, list[float]]) -> str:
    """The precision in which it is faster."""
    names = [f"{arm}-{precision}" for precision in PRECISIONS]
    return max(names, key=lambda name: statistics.median(speed[name]))


if __name__ == "__main__":
    main()
