"""Rotary positions: how fast each pair of components turns, and the rotation itself.

Pair i is the components (i, i + h/2) of a head: cos and sin are laid out as [f, f], and a rotation
is x cos + (-x2, x1) sin. Interleaved checkpoints are converted by permuting rows, never here.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmlab.models.schema import Llama3, Position, Proportional, Rope, RopeLinear, RopeNtk, Yarn


@dataclass(frozen=True)
class Frequencies:
    """Radians a token for each pair (float32, as in checkpoints), and a factor on cos and sin."""

    radians: Float[Tensor, " pairs"]
    attention_factor: float = 1.0


@dataclass(frozen=True)
class RotaryTables:
    """Cos and sin of a list of positions, laid out as [f, f]."""

    cos: Float[Tensor, "*positions width"]
    sin: Float[Tensor, "*positions width"]


def frequencies(position: Position, *, width: int) -> Frequencies:
    """The frequencies of a configured encoding for heads of `width` components."""
    match position:
        case Rope(theta=theta):
            return rope(width, theta=theta)
        case RopeLinear(theta=theta, factor=factor):
            return rope_linear(width, theta=theta, factor=factor)
        case RopeNtk(theta=theta, factor=factor):
            return rope_ntk(width, theta=theta, factor=factor)
        case Yarn():
            return yarn(width, position)
        case Llama3():
            return llama3(width, position)
        case Proportional(theta=theta, factor=factor, fraction=fraction):
            return proportional(width, theta=theta, factor=factor, fraction=fraction)


def tables(of: Frequencies, positions: Int[Tensor, "*positions"]) -> RotaryTables:
    """Cos and sin in float64; cast them last.

    The angle is reduced modulo one turn in float64: in float32 it is off by 6e-2 at a million.
    """
    turns = positions.double()[..., None] * (of.radians.double() / (2 * math.pi)) % 1.0
    angle = torch.cat((turns, turns), dim=-1) * (2 * math.pi)
    return RotaryTables(angle.cos() * of.attention_factor, angle.sin() * of.attention_factor)


def rotate(
    x: Float[Tensor, "*batch width"],
    cos: Float[Tensor, "*#batch width"],
    sin: Float[Tensor, "*#batch width"],
) -> Float[Tensor, "*batch width"]:
    """Each pair of `x` turned by its angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def rope(width: int, *, theta: float) -> Frequencies:
    """theta^(-2i/h)."""
    return Frequencies(1.0 / _periods(width, theta=theta))


def rope_linear(width: int, *, theta: float, factor: float) -> Frequencies:
    """Every frequency divided by `factor`."""
    return Frequencies(1.0 / _periods(width, theta=theta) / factor)


def rope_ntk(width: int, *, theta: float, factor: float) -> Frequencies:
    """theta' = theta s^(h / (h - 2)): the slowest pair is interpolated, the fastest kept."""
    return rope(width, theta=theta * factor ** (width / (width - 2)))


def rope_dynamic(
    width: int, *, theta: float, factor: float, trained_tokens: int, length: int
) -> Frequencies:
    """NTK scaling pinned at one `length`; within the trained length, plain RoPE."""
    growth = factor * max(length, trained_tokens) / trained_tokens - (factor - 1)
    return rope_ntk(width, theta=theta, factor=growth)


def yarn(width: int, settings: Yarn) -> Frequencies:
    """Pairs that turn often in the trained length are kept, slow ones divided, a ramp between."""
    periods = _periods(width, theta=settings.theta)
    low = max(math.floor(_pair_turning(settings.beta_fast, width=width, settings=settings)), 0)
    high = _pair_turning(settings.beta_slow, width=width, settings=settings)
    high = min(math.ceil(high), width - 1)
    # Equal ends would divide by zero; the size of the step is the reference's.
    span = high - low if high != low else 0.001
    kept = 1 - ((torch.arange(width // 2, dtype=torch.float32) - low) / span).clamp(0, 1)
    radians = 1.0 / (settings.factor * periods) * (1 - kept) + 1.0 / periods * kept
    return Frequencies(radians, attention_factor=0.1 * math.log(settings.factor) + 1.0)


def llama3(width: int, settings: Llama3) -> Frequencies:
    """Waves longer than trained / low are divided by `factor`, shorter than trained / high kept."""
    radians = 1.0 / _periods(width, theta=settings.theta)
    turns = settings.trained_tokens / (2 * math.pi / radians)
    low, high = settings.low_freq_factor, settings.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return Frequencies((1 - kept) * radians / settings.factor + kept * radians)


def longrope(
    width: int,
    *,
    theta: float,
    pair_factors: Float[Tensor, " pairs"],
    factor: float,
    trained_tokens: int,
) -> Frequencies:
    """LongRoPE (Ding et al. 2024) with the factors, short or long, of one pinned length."""
    scale = math.sqrt(1 + math.log(factor) / math.log(trained_tokens)) if factor > 1 else 1.0
    periods = _periods(width, theta=theta)
    return Frequencies(1.0 / (pair_factors * periods), attention_factor=scale)


def proportional(width: int, *, theta: float, factor: float, fraction: float) -> Frequencies:
    """The first `fraction` of the pairs turns as in RoPE, divided by `factor`; the rest has 0."""
    turning = int(fraction * width // 2)
    radians = 1.0 / _periods(width, theta=theta) / factor
    return Frequencies(torch.where(torch.arange(width // 2) < turning, radians, 0.0))


def _periods(width: int, *, theta: float) -> Float[Tensor, " pairs"]:
    """theta^(2i/h), tokens per radian of every pair."""
    return theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def _pair_turning(turns: float, *, width: int, settings: Yarn) -> float:
    """The (fractional) pair that turns so many times in the trained length."""
    trained = settings.trained_tokens
    return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(settings.theta))
