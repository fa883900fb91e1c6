"""A record to test with."""

from typing import Any

from lmlab.engine.records import Record


def make_record(**changes: Any) -> Record:
    """A valid record; the changes replace its fields."""
    values: dict[str, Any] = {
        "study": "toy",
        "run": "run",
        "part": "train",
        "step": "evaluate",
        "training_step": 10,
        "arm": "trained",
        "at": {"length": 128, "task": "copy"},
        "metric": "eval/perplexity",
        "unit": "1",
        "better": "lower",
        "value": 12.345678901234567,
        "n": 400,
        "n_error": 1,
        "interval": (11.0, 13.5),
        "interval_method": "bootstrap",
        "protocol": {"window": 128, "words": "lines"},
        "data": {"test": "ab" * 32},
        "data_kind": "real",
        "weights": {"model": "cd" * 32},
        "seed": 1,
        "dev": False,
        "command": "lmlab run toy/run",
        "commit": "0" * 40,
    }
    return Record(**(values | changes))
