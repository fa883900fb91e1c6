"""Tokens a second and the share of the machine's peak, of trained tokens only."""

import re
from dataclasses import dataclass
from typing import Literal

Precision = Literal["bfloat16", "float32"]


@dataclass(frozen=True)
class Peak:
    """FLOP/s of a GPU's dense products by precision, and where its maker says so."""

    bfloat16: float | None
    float32: float
    source: str


# The data sheets of Hopper and L4 print bf16 "with sparsity": those figures are halved here, since
# the sparse ones are twice as high and turn 50 % into 25 %. The architecture papers print both.
# bf16 is with float32 accumulation, float32 without tensor cores.
PEAKS = {
    "NVIDIA A100": Peak(312e12, 19.5e12, "NVIDIA A100 data sheet: 312 | 624 with sparsity"),
    "NVIDIA H100": Peak(989e12, 67e12, "NVIDIA H100 product page, SXM: 1,979 with sparsity"),
    "NVIDIA H100 PCIe": Peak(756e12, 51e12, "NVIDIA H100 data sheet, PCIe: 1,513 with sparsity"),
    "NVIDIA H100 NVL": Peak(835e12, 60e12, "NVIDIA H100 product page, NVL: 1,671 with sparsity"),
    "NVIDIA H200": Peak(989e12, 67e12, "NVIDIA H200 data sheet, SXM: 1,979 with sparsity"),
    "NVIDIA H200 NVL": Peak(835e12, 60e12, "NVIDIA H200 data sheet, NVL: 1,671 with sparsity"),
    "NVIDIA L4": Peak(121e12, 30.3e12, "NVIDIA L4 data sheet: 242 with sparsity"),
    "NVIDIA GeForce RTX 4090": Peak(
        165.2e12, 82.6e12, "NVIDIA Ada architecture, appendix A: 165.2 | 330.4 with sparsity"
    ),
    "NVIDIA GeForce RTX 3090": Peak(
        71e12, 35.6e12, "NVIDIA Ampere GA102 architecture, appendix A: 71 | 142 with sparsity"
    ),
    "Tesla V100-SXM2": Peak(None, 15.7e12, "NVIDIA V100 data sheet"),
    "Tesla V100-PCIE": Peak(None, 14e12, "NVIDIA V100 data sheet"),
    "Tesla T4": Peak(None, 8.1e12, "NVIDIA T4 data sheet"),
}
# Another chip, or a part of one, under a name that begins alike.
_ANOTHER = re.compile(r"\b(Ti|D|SUPER|Laptop|Max-Q|MIG)\b")


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


def dense_peak(device_name: str, precision: Precision = "bfloat16") -> float | None:
    """A GPU's dense peak by its name; None for one that is not listed, never a guess."""
    # Whole words: an L40S is no L4.
    fitting = [name for name in PEAKS if re.match(rf"{re.escape(name)}\b", device_name)]
    if not fitting or _ANOTHER.search(device_name):
        return None
    peak = PEAKS[max(fitting, key=len)]
    return peak.bfloat16 if precision == "bfloat16" else peak.float32
