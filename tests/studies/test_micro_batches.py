"""Pairs and judged solutions: whatever a window is cut into, its gradient is the same (B3)."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from lmlab.data.examples import Example
from lmlab.data.tasks.records import Pair, TaskSplit
from lmlab.engine.contract import Objective
from lmlab.engine.schema import OptimConfig
from lmlab.models.experts import Routing
from lmlab.models.schema import DecoderConfig, ExpertsConfig
from lmlab.studies.scratch.balance import without_capacity
from lmlab.studies.scratch.config import DpoConfig
from lmlab.studies.scratch.dpo import PairExamples, PairRows, PreferenceOptimization
from lmlab.studies.scratch.model import build_decoder
from lmlab.studies.scratch.verifier import Judged, JudgedRows, Verification, Verifier

VOCAB, EOS = 40, 1
# Prompt, chosen and rejected: with rows of 32 and of 64.
LENGTHS = ((3, 5, 2), (9, 1, 30), (20, 25, 7), (4, 2, 2))
EXPERTS = {"plain": None, "experts": ExpertsConfig(balance_weight=0.5, capacity_factor=0.5)}
NAMED = TaskSplit(
    name="made", split="train", records=[Pair(str(row), "", "", "") for row in range(len(LENGTHS))],
    data_kind="generated", licence="none", dropped={},
)  # fmt: skip
each_kind = pytest.mark.parametrize("experts", EXPERTS.values(), ids=EXPERTS.keys())


def decoder(experts: ExpertsConfig | None):
    config = DecoderConfig(
        num_layers=2, d_model=32, num_heads=4, d_ff=48, context_tokens=64, init_std=0.2,
        experts=experts,
    )  # fmt: skip
    return build_decoder(without_capacity(config), vocab_size=VOCAB, seed=3).double().train()


def pair_rows() -> PairRows:
    drawn = np.random.default_rng(0)

    def text(count: int) -> list[int]:
        return drawn.integers(2, VOCAB, count).tolist()

    prompts = [text(prompt) for prompt, _, _ in LENGTHS]
    chosen, rejected = (
        [
            Example(prompt, [*text(one[side]), EOS])
            for prompt, one in zip(prompts, LENGTHS, strict=True)
        ]
        for side in (1, 2)
    )
    pairs = PairExamples(NAMED, [one.id for one in NAMED.records], chosen, rejected)
    return PairRows(pairs, -torch.rand(2, 4, generator=torch.Generator().manual_seed(1)))


def preferences(experts: ExpertsConfig | None) -> tuple[Objective, PairRows]:
    settings = DpoConfig.model_validate(
        {
            "data": {"kind": "named", "name": "none"},
            "max_steps": 1,
            "batch_size": 4,
            "optim": OptimConfig(learning_rate=1e-3),
        }
    )
    rows = pair_rows()
    return PreferenceOptimization(decoder(experts), settings, rows, 4, {}), rows


def solutions(experts: ExpertsConfig | None) -> tuple[Objective, JudgedRows]:
    """With one label, as of outcomes, and with several, as of lines."""
    drawn = np.random.default_rng(0)
    labels = ({4: 1}, {2: 0, 8: 1, 39: 0}, {5: 1, 11: 1}, {30: 0})
    judged = [Judged(drawn.integers(2, VOCAB, max(one) + 1).tolist(), one) for one in labels]
    verifier = Verifier(decoder(experts)).double()
    torch.nn.init.normal_(verifier.score.weight, generator=torch.Generator().manual_seed(1))
    rows = JudgedRows(judged)
    return Verification(verifier, rows, 4), rows


def gradients(made, pieces: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Of a window given in pieces, divided as the trainer divides: each term by its own unit."""
    objective, rows = made
    micro = [rows.fetch(np.array(ids), 0) for ids in pieces]
    units: dict[str, int] = {}
    for batch in micro:
        for name, count in objective.units(batch).items():
            units[name] = units.get(name, 0) + count
    for batch in micro:
        terms = objective.losses(batch, step=0, generator=torch.Generator())
        parts = [term.sum * term.weight / units[term.unit] for term in terms.values()]
        torch.stack([one.double() for one in parts]).sum().backward()
    [module] = objective.modules.values()
    return [one.grad for one in module.parameters() if one.grad is not None]


@each_kind
@pytest.mark.parametrize("make", [preferences, solutions])
def test_micro_batches_give_the_gradients_of_the_whole_batch(make, experts):
    whole = gradients(make(experts), [[0, 1, 2, 3]])
    assert sum(float(one.abs().sum()) for one in whole) > 1
    for pieces in ([[0], [1, 2, 3]], [[0, 3], [1, 2]], [[0], [1], [2], [3]]):
        split = gradients(make(experts), pieces)
        assert len(split) == len(whole)
        for one, other in zip(whole, split, strict=True):
            assert (one - other).abs().max() <= 1e-6


@pytest.mark.parametrize(("make", "unit"), [(preferences, "tokens"), (solutions, "labels")])
def test_balance_is_that_of_each_row_without_its_pads_as_often_as_it_has_targets(make, unit):
    objective, rows = make(EXPERTS["experts"])
    batch = rows.fetch(np.arange(4), 0)
    terms = objective.losses(batch, step=0, generator=torch.Generator())
    assert (terms["balance"].unit, terms["balance"].weight) == (unit, 0.5)
    [module] = objective.modules.values()
    model = module if make is preferences else module.decoder
    expected = 0.0
    for tokens, targets in zip(batch["tokens"], batch["targets"] != -100, strict=True):
        found: list[Routing] = []
        model.hidden(tokens[None, : int(targets.nonzero()[-1]) + 1], routings=found)
        logits = tuple(one.probabilities[0].log() for one in found)
        expected += int(targets.sum()) * load_balancing_loss_func(logits, 4, 2).item()
    assert terms["balance"].sum.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [preferences, solutions])
def test_balance_reaches_the_router(make):
    objective, rows = make(EXPERTS["experts"])
    terms = objective.losses(rows.fetch(np.arange(4), 0), step=0, generator=torch.Generator())
    terms["balance"].sum.backward()
    [module] = objective.modules.values()
    routers = [one for name, one in module.named_parameters() if "router" in name]
    assert len(routers) == 2
    for router in routers:
        assert router.grad is not None
        assert router.grad.any()


@pytest.mark.parametrize("make", [preferences, solutions])
def test_without_experts_there_is_no_balance(make):
    objective, rows = make(None)
    terms = objective.losses(rows.fetch(np.arange(4), 0), step=0, generator=torch.Generator())
    assert len(terms) == 1
