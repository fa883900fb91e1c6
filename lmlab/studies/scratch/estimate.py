"""What each stage will take, by formula: parameters, tokens, FLOPs, time, memory. No torch.

Tokens are all that a stage goes through, pads too. Where texts have lengths of their own, each
counts as the whole context: a bound, marked "<=".
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lmlab.data.schema import (
    FileTasks,
    NamedTasks,
    StoryTasks,
    TaskConfig,
    TokenizerConfig,
    TrainedTokenizer,
)
from lmlab.data.sources import find_source, find_split
from lmlab.data.tokenizer import load_tokenizer
from lmlab.engine.cost import advice, usd_per_tflop
from lmlab.engine.monitor import read_gpus
from lmlab.engine.run import cache_folder
from lmlab.engine.schema import CostConfig, TrainConfig
from lmlab.engine.steps import config_steps
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.memory import Held, Logits, reading_memory, training_memory

# Of the best product measured here: what the loop reached in `bench/` on a CPU, and what sampling
# did, a token at a time.
SHARE_OF_PEAK, SAMPLING_SHARE = 0.4, 0.04
# As in `dpo` and `solve`, which need torch.
PAIRS_AT_ONCE, SOLUTIONS_AT_ONCE = 16, 64
HEADINGS = ("parameters", "tokens", "FLOPs", "time", "memory")
UNKNOWN = "?"
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Work:
    """What a stage takes; `tokens` is None where the data's length is not known."""

    parameters: int
    tokens: int | None
    # As many tokens, or at most as many.
    exact: bool
    flops_per_token: int
    memory: Held
    share_of_peak: float = SHARE_OF_PEAK

    @property
    def flops(self) -> int | None:
        """In all."""
        return None if self.tokens is None else self.tokens * self.flops_per_token

    def hours(self, peak: float | None) -> float | None:
        """At its share of the peak."""
        if peak is None or self.flops is None:
            return None
        return self.flops / (self.share_of_peak * peak) / 3600


def estimate(config: Config) -> dict[str, str]:
    """Figures with their units, as `lmlab show` prints them."""
    vocab_size = vocabulary_size(config.tokenizer)
    works, peak = dict(stage_works(config)), _measured_peak()
    flops = config.model.flops_per_token(vocab_size)
    found = {
        "parameters": f"{config.model.num_parameters(vocab_size):,}",
        "FLOPs a token": f"{flops:,} = 6 N + 12 L d T, N without the embedding look-up",
    }
    if (total := _sum([one.flops for one in works.values()])) is not None:
        found["FLOPs"] = f"{total:.3g}"
    found |= _table(works, peak)
    found["not counted"] = ", ".join(
        step.name for step in config_steps(config) if step.name not in works
    )
    if peak is None:
        return found | {"time": "unknown: `lmlab doctor` measures this machine"}
    found["time"] = (
        f"at {SHARE_OF_PEAK:.0%} of {peak / 1e9:.0f} GFLOP/s, sampling at {SAMPLING_SHARE:.0%}"
    )
    hours = _sum([one.hours(peak) for one in works.values()])
    return found if hours is None else found | _cost(config.cost, hours=hours)


def stage_works(config: Config) -> Iterator[tuple[str, Work]]:
    """Every stage of the run's own decoder. How large public models are, only loading them says."""
    apart = not config.packing.attend_across_documents
    yield "pretrain", _trained(config, config.pretrain, rows=None, apart=apart)
    if config.sft is not None:
        rows = [_num_records(config.sft.data, "train")]
        if config.sft.problems is not None:
            rows.append(_num_records(config.sft.problems, "train"))
        yield "sft", _trained(config, config.sft, rows=_sum(rows), apart=True)
    if config.dpo is not None:
        splits = [_num_records(config.dpo.data, split) for split in ("train", "validation")]
        yield "dpo reference", _read(config, texts=_times(2, _sum(splits)))
        yield "dpo", _trained(config, config.dpo, rows=splits[0], sequences=2, logits="all")
    if config.verifier is not None:
        samples, data = config.verifier.samples, config.verifier.data
        problems = [_num_records(data, split) for split in ("train", "validation", "test")]
        yield "solve", _read(config, texts=_times(samples, _sum(problems)), sampled=True)
        rows = _times(samples, problems[0])
        yield "verifier", _trained(config, config.verifier, rows=rows, logits="none")


def vocabulary_size(tokenizer: TokenizerConfig) -> int:
    """Of the tokenizer that there is, or that will be trained."""
    if isinstance(tokenizer, TrainedTokenizer):
        return tokenizer.vocab_size
    return load_tokenizer(tokenizer.path).vocab_size


def _trained(
    config: Config,
    train: TrainConfig,
    *,
    rows: int | None,
    sequences: int = 1,
    apart: bool = False,
    logits: Logits = "blocks",
) -> Work:
    """A training on so many `rows` of the data, each of some `sequences`."""
    vocab_size = vocabulary_size(config.tokenizer)
    if train.max_steps is not None:
        rows = train.max_steps * train.batch_size
    elif rows is not None and train.num_epochs is not None:
        rows = math.ceil(rows * train.num_epochs)
    head = config.model.d_model + 1 if logits == "none" else 0
    return Work(
        parameters=config.model.num_parameters(vocab_size) + head,
        tokens=_times(sequences * config.model.context_tokens, rows),
        # Packed rows are full, others padded to their longest; only steps say how many rows.
        exact=logits == "blocks" and train.max_steps is not None,
        flops_per_token=config.model.flops_per_token(vocab_size),
        memory=training_memory(
            config.model,
            rows=sequences * (train.micro_batch_size or train.batch_size),
            vocab_size=vocab_size,
            device=config.device,
            apart=apart,
            logits=logits,
        ),
    )


def _read(config: Config, *, texts: int | None, sampled: bool = False) -> Work:
    """Texts that are scored or written without training: the way back is two thirds of a step."""
    vocab_size = vocabulary_size(config.tokenizer)
    return Work(
        parameters=config.model.num_parameters(vocab_size),
        tokens=_times(config.model.context_tokens, texts),
        exact=False,
        flops_per_token=config.model.flops_per_token(vocab_size) // 3,
        memory=reading_memory(
            config.model,
            rows=SOLUTIONS_AT_ONCE if sampled else 2 * PAIRS_AT_ONCE,
            vocab_size=vocab_size,
            device=config.device,
            cached=sampled,
        ),
        share_of_peak=SAMPLING_SHARE if sampled else SHARE_OF_PEAK,
    )


def _num_records(data: TaskConfig, split: str) -> int | None:
    """At most so many; None where only the data knows."""
    match data:
        case StoryTasks(records=train, validation_records=validation, test_records=test):
            return {"train": train, "validation": validation, "test": test}[split]
        case NamedTasks(name=name, max_records=most):
            span = find_split(find_source(name), split).documents.first(most)
            return None if span.stop is None else span.stop - span.start
        case FileTasks():
            return None


def _table(works: Mapping[str, Work], peak: float | None) -> dict[str, str]:
    """A line a stage and one for all, their columns above one another."""
    every = list(works.values())
    total = [
        "",
        _said(_sum([one.tokens for one in every]), ",", exact=all(one.exact for one in every)),
        _said(_sum([one.flops for one in every]), ".3g"),
        _duration(_sum([one.hours(peak) for one in every])),
        _gigabytes(max(one.memory.total for one in every)),
    ]
    lines = {"stage": list(HEADINGS)}
    lines |= {
        name: [
            f"{one.parameters:,}",
            _said(one.tokens, ",", exact=one.exact),
            _said(one.flops, ".3g"),
            _duration(one.hours(peak)),
            _gigabytes(one.memory.total),
        ]
        for name, one in works.items()
    }
    lines["total"] = total
    widths = [max(map(len, column)) for column in zip(*lines.values(), strict=True)]
    return {
        name: "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for name, cells in lines.items()
    }


def _said(number: int | float | None, form: str, *, exact: bool = True) -> str:
    if number is None:
        return UNKNOWN
    return f"{'' if exact else '<= '}{number:{form}}"


def _duration(hours: float | None) -> str:
    if hours is None:
        return UNKNOWN
    return f"{hours * 60:.1f} min" if hours < 2 else f"{hours:.1f} h"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _sum(parts: Sequence[Number | None]) -> Number | None:
    """None where a part is not known."""
    known = [one for one in parts if one is not None]
    return sum(known[1:], known[0]) if len(known) == len(parts) else None


def _times(factor: int, number: int | None) -> int | None:
    return None if number is None else factor * number


def _cost(cost: CostConfig, *, hours: float) -> dict[str, str]:
    """What it costs, what the budget advises, and what this machine's first GPU costs."""
    if cost.hourly_rate_usd is None:
        return {}
    found = {"cost": f"{hours * cost.hourly_rate_usd:.2f} USD"}
    if cost.budget_usd is not None:
        price = hours * cost.hourly_rate_usd
        advised = advice(cost_usd=price, budget_usd=cost.budget_usd, hours=hours)
        most = advised.affordable_usd_per_hour
        found["advice"] = f"{advised.action}: the budget affords {most:.2f} USD an hour"
    for gpu in read_gpus()[:1]:
        price = usd_per_tflop(cost.hourly_rate_usd, gpu.name or "", precision="bfloat16")
        known = (
            "unknown" if price is None else f"{price:.4f} USD an hour and dense bfloat16 TFLOP/s"
        )
        found["price"] = f"{known} ({gpu.name})"
    return found


def _measured_peak() -> float | None:
    """The best product that was measured on this machine, if any was."""
    path = cache_folder() / "gemm.json"
    if not path.exists():
        return None
    measured = json.loads(path.read_text(encoding="utf-8")).values()
    return max((max(speeds.values()) for speeds in measured), default=None)
