"""Frequencies against transformers, and the two laws of a rotation."""

import itertools
import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lmlab.models.positions import (
    Frequencies,
    frequencies,
    llama3,
    longrope,
    proportional,
    rope,
    rope_dynamic,
    rope_linear,
    rotate,
    tables,
    yarn,
)
from lmlab.models.schema import (
    Llama3,
    Position,
    Proportional,
    Rope,
    RopeLinear,
    RopeNtk,
    Yarn,
)

TRAINED = 2048
GRID = list(itertools.product((32, 64, 80, 128), (1e4, 5e5), (1.0, 2.0, 8.0, 32.0), (0.5, 1.0)))
EVERY_KIND: list[Position] = [
    Rope(theta=1e4),
    RopeLinear(theta=1e4, factor=4),
    RopeNtk(theta=1e4, factor=4),
    Yarn(theta=1e4, factor=4, trained_tokens=TRAINED),
    Llama3(theta=5e5, factor=8, trained_tokens=TRAINED),
    Proportional(theta=1e4, fraction=0.5),
]


def reference(kind: str, *, head: int, theta: float, length: int | None = None, **parameters):
    config = LlamaConfig(
        hidden_size=4 * head,
        num_attention_heads=4,
        max_position_embeddings=TRAINED,
        rope_parameters={"rope_type": kind, "rope_theta": theta, **parameters},
    )
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)


def relative_difference(ours: Frequencies, theirs: tuple[torch.Tensor, float]) -> float:
    assert ours.attention_factor == theirs[1]
    still = theirs[0] == 0
    assert torch.equal(ours.radians == 0, still)
    difference = (ours.radians - theirs[0]).abs()[~still].double() / theirs[0][~still].double()
    return difference.max().item()


@pytest.mark.parametrize(("head", "theta", "factor", "partial"), GRID)
def test_yarn_equals_the_reference_to_the_bit(head, theta, factor, partial):
    theirs = reference(
        "yarn",
        head=head,
        theta=theta,
        factor=factor,
        partial_rotary_factor=partial,
        original_max_position_embeddings=TRAINED,
    )
    ours = yarn(int(head * partial), Yarn(theta=theta, factor=factor, trained_tokens=TRAINED))
    assert relative_difference(ours, theirs) == 0.0


@pytest.mark.parametrize(("head", "theta", "factor", "partial"), GRID)
def test_linear_dynamic_and_llama3_equal_the_reference(head, theta, factor, partial):
    width = int(head * partial)
    shared = {"head": head, "theta": theta, "factor": factor, "partial_rotary_factor": partial}
    linear = rope_linear(width, theta=theta, factor=factor)
    assert relative_difference(linear, reference("linear", **shared)) <= 1e-7
    for length in (TRAINED // 2, 3 * TRAINED):
        dynamic = rope_dynamic(
            width, theta=theta, factor=factor, trained_tokens=TRAINED, length=length
        )
        theirs = reference("dynamic", length=length, **shared)
        assert relative_difference(dynamic, theirs) <= 1e-7
    theirs = reference(
        "llama3",
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=TRAINED,
        **shared,
    )
    ours = llama3(width, Llama3(theta=theta, factor=factor, trained_tokens=TRAINED))
    assert relative_difference(ours, theirs) <= 1e-7


@pytest.mark.parametrize(("head", "theta", "factor", "partial"), GRID)
def test_longrope_and_proportional_equal_the_reference(head, theta, factor, partial):
    width = int(head * partial)
    short, long = torch.linspace(1, 2, width // 2), torch.linspace(1, 9, width // 2)
    for length, chosen in ((TRAINED, short), (TRAINED + 1, long)):
        theirs = reference(
            "longrope",
            head=head,
            theta=theta,
            length=length,
            factor=factor,
            partial_rotary_factor=partial,
            short_factor=short.tolist(),
            long_factor=long.tolist(),
            original_max_position_embeddings=TRAINED,
        )
        ours = longrope(
            width, theta=theta, pair_factors=chosen, factor=factor, trained_tokens=TRAINED
        )
        assert relative_difference(ours, theirs) <= 1e-7
    theirs = reference(
        "proportional", head=head, theta=theta, factor=factor, partial_rotary_factor=partial
    )
    ours = proportional(head, theta=theta, factor=factor, fraction=partial)
    assert relative_difference(ours, theirs) <= 1e-7


def test_ntk_keeps_the_fastest_pair_and_divides_the_slowest_by_the_factor():
    plain = rope(64, theta=1e4).radians
    scaled = frequencies(RopeNtk(theta=1e4, factor=4), width=64).radians
    assert scaled[0] == plain[0]
    assert scaled[-1].item() == pytest.approx(plain[-1].item() / 4, rel=1e-6)


@pytest.mark.parametrize("position", EVERY_KIND, ids=lambda kind: kind.kind)
def test_a_score_depends_on_the_offset_alone_and_norms_are_kept(position):
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 64, dtype=torch.float64, generator=generator)
    found = frequencies(position, width=64)
    turns = tables(found, torch.arange(100_000))
    scale = found.attention_factor
    for offset in (0, 1, 5, 113, 4096):
        queries = torch.tensor([offset, 5000, 31_415, 99_999])
        turned_q = rotate(q.expand(4, 64), turns.cos[queries], turns.sin[queries])
        keys = queries - offset
        turned_k = rotate(k.expand(4, 64), turns.cos[keys], turns.sin[keys])
        scores = (turned_q * turned_k).sum(-1)
        assert scores.max() - scores.min() <= 1e-9
        assert (turned_q.norm(dim=-1) - scale * q.norm()).abs().max() <= 1e-9


def test_angles_stay_exact_far_out():
    radians = rope(8, theta=1e4).radians
    turns = tables(Frequencies(radians), torch.tensor([1_000_003]))
    exact = [math.cos(math.fmod(1_000_003 * value, 2 * math.pi)) for value in radians.tolist()]
    assert turns.cos[0, :4].tolist() == pytest.approx(exact, abs=1e-9)
