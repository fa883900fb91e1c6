"""All stages of scratch/demo, each a few updates long."""

import tiny


def _few(section: str, records: int) -> list[str]:
    sizes = (("records", records), ("validation_records", 4), ("test_records", 6))
    return [f"{section}.{name}={count}" for name, count in sizes]


def _short(stage: str, steps: int) -> list[str]:
    return [
        f"{stage}.num_epochs=null",
        f"{stage}.max_steps={steps}",
        f"{stage}.batch_size=2",
        f"{stage}.checkpoint.save_every=2",
        f"{stage}.eval_every=50%",
    ]


OVERRIDES = (
    *(one for one in tiny.OVERRIDES if one not in (*tiny.ALONE, "model.context_tokens=64")),
    "model.context_tokens=512",
    *_few("sft.data", 12),
    *_few("sft.problems", 12),
    *_short("sft", 6),
    *_few("dpo.data", 12),
    *_short("dpo", 4),
    "dpo.log_every=1",
    *_few("verifier.data", 6),
    *_short("verifier", 4),
    "verifier.samples=4",
    "verifier.sampling.max_new_tokens=16",
    "evaluate.answer_tokens=16",
)
