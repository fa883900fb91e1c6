"""Generation with a cache against transformers: `python bench/generation.py [--record]`."""

from rounds import Bench, in_turn

ROUNDS = 3
PROTOCOL = {
    "model": "d 384, 6 layers, 6 heads, vocabulary 8192, float32",
    "prompt_tokens": 32,
    "new_tokens": 128,
    "value": "best of 3 repeats after one that is not counted",
}


def main() -> None:
    """Batch 1 and 16, in turn; both must write the same tokens."""
    bench, records = Bench("generation", PROTOCOL), []
    for batch in (1, 16):
        arms = {name: ["writer.py", name, str(batch)] for name in ("ours", "transformers")}
        found = in_turn(arms, rounds=ROUNDS)
        same = [a["tokens"] == b["tokens"] for a, b in zip(*found.values(), strict=True)]
        if not all(same):
            raise SystemExit(f"batch {batch}: the two wrote different tokens")
        speed = {arm: [one["tokens_per_second"] for one in rows] for arm, rows in found.items()}
        for arm, values in speed.items():
            name = f"{arm}, batch {batch}"
            records.append(
                bench.record(name, "tokens_per_second", values, unit="tokens/s", better="higher")
            )
        ratios = [a / b for a, b in zip(*speed.values(), strict=True)]
        name = f"ours / transformers, batch {batch}"
        records.append(bench.record(name, "speed_ratio", ratios, unit="ratio", better="higher"))
    bench.write(records)


if __name__ == "__main__":
    main()
