"""Tokens a second and the share of the machine's peak, of trained tokens only."""

import re

# Dense bf16 peaks in FLOP/s, from the makers' data sheets; never the sparse figures, which are
# twice as high and turn 50 % into 25 %.
DENSE_PEAK_FLOPS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA GeForce RTX 4090": 165e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "NVIDIA L4": 121e12,
    "NVIDIA A10G": 70e12,
}


def per_second(units: int, seconds: float) -> float:
    """Units (trained tokens, never pads) a second of wall time."""
    if seconds <= 0:
        raise ValueError(f"{seconds} seconds is no duration")
    return units / seconds


def utilization(*, flops_per_token: float, tokens_per_second: float, peak_flops: float) -> float:
    """Model FLOPs utilisation (Chowdhery et al. 2022, app. B), between 0 and 1.

    Raises ValueError above 1: then the peak, the token count or the formula is wrong.
    """
    share = flops_per_token * tokens_per_second / peak_flops
    if share > 1:
        raise ValueError(
            f"{share:.0%} of the peak is impossible: {flops_per_token:.3g} FLOP a token x "
            f"{tokens_per_second:.3g} tokens/s against {peak_flops:.3g} FLOP/s; "
            "the peak is another machine's, or untrained tokens were counted"
        )
    return share


def dense_peak(device_name: str) -> float | None:
    """The dense bf16 peak of a GPU by its name; None for one that is not listed."""
    # Whole words: an L40S is no L4.
    fitting = [name for name in DENSE_PEAK_FLOPS if re.match(rf"{name}\b", device_name)]
    return DENSE_PEAK_FLOPS[max(fitting, key=len)] if fitting else None
