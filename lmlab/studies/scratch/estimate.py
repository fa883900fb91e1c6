"""What a pretraining will take, by formula: parameters, tokens, FLOPs, time. No torch."""

import json

from lmlab.data.schema import TokenizerConfig, TrainedTokenizer
from lmlab.data.tokenizer import load_tokenizer
from lmlab.engine.cost import advice, usd_per_tflop
from lmlab.engine.monitor import read_gpus
from lmlab.engine.run import cache_folder
from lmlab.engine.schema import CostConfig, TrainConfig
from lmlab.models.schema import DecoderConfig

# Of the best product measured here; what the loop reached in `bench/` on a CPU.
SHARE_OF_PEAK = 0.4


def estimate_training(
    model: DecoderConfig, train: TrainConfig, tokenizer: TokenizerConfig, cost: CostConfig
) -> dict[str, str]:
    """Figures with their units, as `lmlab show` prints them."""
    vocab_size = vocabulary_size(tokenizer)
    parameters = model.num_parameters(vocab_size)
    flops = model.flops_per_token(vocab_size)
    found = {
        "parameters": f"{parameters:,}",
        "FLOPs a token": f"{flops:,} = 6 N + 12 L d T, N without the embedding look-up",
    }
    if train.max_steps is None:
        return found | {"tokens": f"{train.num_epochs} epochs of the data; its length is not known"}
    tokens = train.max_steps * train.batch_size * model.context_tokens
    found |= {"tokens": f"{tokens:,}", "FLOPs": f"{flops * tokens:.3g}"}
    peak = _measured_peak()
    if peak is None:
        return found | {"time": "unknown: `lmlab doctor` measures this machine"}
    hours = flops * tokens / (SHARE_OF_PEAK * peak) / 3600
    found["time"] = f"{hours * 60:.1f} min at {SHARE_OF_PEAK:.0%} of {peak / 1e9:.0f} GFLOP/s"
    if cost.hourly_rate_usd is not None:
        found["cost"] = f"{hours * cost.hourly_rate_usd:.2f} USD"
        found |= _prices(cost.hourly_rate_usd, cost.budget_usd, hours=hours)
    return found


def _prices(hourly_rate_usd: float, budget_usd: float | None, *, hours: float) -> dict[str, str]:
    """What the budget advises, and what this machine's first GPU costs for what it can do."""
    found = {}
    if budget_usd is not None:
        advised = advice(cost_usd=hours * hourly_rate_usd, budget_usd=budget_usd, hours=hours)
        most = advised.affordable_usd_per_hour
        found["advice"] = f"{advised.action}: the budget affords {most:.2f} USD an hour"
    for gpu in read_gpus()[:1]:
        price = usd_per_tflop(hourly_rate_usd, gpu.name or "", precision="bfloat16")
        known = (
            "unknown" if price is None else f"{price:.4f} USD an hour and dense bfloat16 TFLOP/s"
        )
        found["price"] = f"{known} ({gpu.name})"
    return found


def vocabulary_size(tokenizer: TokenizerConfig) -> int:
    """Of the tokenizer that there is, or that will be trained."""
    if isinstance(tokenizer, TrainedTokenizer):
        return tokenizer.vocab_size
    return load_tokenizer(tokenizer.path).vocab_size


def _measured_peak() -> float | None:
    """The best product that was measured on this machine, if any was."""
    path = cache_folder() / "gemm.json"
    if not path.exists():
        return None
    measured = json.loads(path.read_text(encoding="utf-8")).values()
    return max((max(speeds.values()) for speeds in measured), default=None)
