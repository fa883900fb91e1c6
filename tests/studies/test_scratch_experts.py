"""A mixture of experts as it is trained: kept in balance, whatever a window is cut into."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

import lmlab
from lmlab.data.pack import NO_TARGET
from lmlab.models.decoder import Decoder
from lmlab.models.experts import Routing
from lmlab.models.schema import DecoderConfig, ExpertsConfig
from lmlab.studies.scratch.model import LanguageModeling, build_decoder

VOCAB = 40
EXPERTS = "model.experts={num_experts: 4, top_k: 2, balance_weight: 0.1, capacity_factor: 1.0}"


def decoder(choice: dict, **changes) -> Decoder:
    shape = {
        "num_layers": 2,
        "d_model": 32,
        "num_heads": 4,
        "d_ff": 48,
        "context_tokens": 24,
        "init_std": 0.2,
        "experts": ExpertsConfig.model_validate(choice),
    }
    config = DecoderConfig.model_validate(shape | changes)
    return build_decoder(config, vocab_size=VOCAB, seed=3).eval()


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def batch(rows: slice) -> dict[str, torch.Tensor]:
    """Four rows, whose targets are 20, 9, 3 and 0; tokens after a row's last target are pads."""
    text, targets = tokens(4, 20), tokens(4, 20, seed=5)
    for row, count in enumerate((20, 9, 3, 0)):
        targets[row, count:] = NO_TARGET
    targets[1, :4] = NO_TARGET
    found = {"tokens": text, "targets": targets, "documents": torch.zeros_like(text)}
    return {name: one[rows] for name, one in found.items()}


def window(choice: dict, pieces: Sequence[slice]) -> tuple[float, list[torch.Tensor]]:
    """The balance and gradients of a window given in pieces, divided as the trainer divides."""
    model = decoder({**choice, "balance_weight": 0.5}).double().train()
    objective = LanguageModeling(model, None, batch_size=4, packed_apart=False)
    micro = [batch(rows) for rows in pieces]
    count = sum(objective.units(one)["tokens"] for one in micro)
    balance = 0.0
    for one in micro:
        terms = objective.losses(one, step=0, generator=torch.Generator())
        assert set(terms) == {"nll", "balance"}
        torch.stack([term.sum * term.weight / count for term in terms.values()]).sum().backward()
        balance += terms["balance"].sum.item() / count
    return balance, [one.grad for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("choice", [{}, {"top_k": 1}, {"capacity_factor": 0.5}], ids=str)
def test_micro_batches_give_the_gradients_of_the_whole_batch(choice):
    whole_balance, whole = window(choice, [slice(0, 4)])
    for pieces in ([slice(0, 1), slice(1, 4)], [slice(n, n + 1) for n in range(4)]):
        balance, split = window(choice, pieces)
        assert balance == pytest.approx(whole_balance, abs=1e-6)
        assert len(whole) == len(split)
        for one, other in zip(whole, split, strict=True):
            assert (one - other).abs().max() <= 1e-6


@torch.no_grad()
def test_the_balance_of_a_batch_is_that_of_its_rows_each_as_often_as_it_has_targets():
    model, given = decoder({}), batch(slice(0, 4))
    objective = LanguageModeling(model, None, batch_size=4, packed_apart=False)
    expected = 0.0
    for row, (count, targets) in enumerate(((20, 20), (9, 5), (3, 3))):
        found: list[Routing] = []
        model.hidden(given["tokens"][row : row + 1, :count], routings=found)
        logits = tuple(one.probabilities[0].log() for one in found)
        expected += targets * float(load_balancing_loss_func(logits, 4, 2))
    balance = objective.losses(given, step=0, generator=torch.Generator())["balance"]
    assert balance.unit == "tokens"
    assert balance.sum.item() == pytest.approx(expected, rel=1e-5)


def test_balance_reaches_the_router_and_pads_do_not_reach_the_balance():
    model = decoder({})
    objective = LanguageModeling(model, None, batch_size=4, packed_apart=False)
    plain, changed = batch(slice(0, 4)), batch(slice(0, 4))
    for row, first in enumerate((20, 9, 3, 0)):
        changed["tokens"][row, first:] = 7
    found = [
        objective.losses(one, step=0, generator=torch.Generator())["balance"].sum
        for one in (plain, changed)
    ]
    assert abs(found[0] - found[1]) <= 1e-5
    found[0].backward()
    router = model.get_parameter("blocks.1.mlp.router.weight")
    assert router.grad is not None
    assert router.grad.any()


class Rows:
    """The four rows as held-out data."""

    def __len__(self) -> int:
        return 4

    def fetch(self, ids, epoch: int) -> dict[str, torch.Tensor]:
        return batch(slice(int(ids[0]), int(ids[-1]) + 1))


@pytest.mark.parametrize("batch_size", [1, 3])
@torch.no_grad()
def test_evaluation_tells_the_fullest_experts_share_and_what_training_drops(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
):
    model = decoder({"capacity_factor": 0.5})
    objective = LanguageModeling(model, None, batch_size=batch_size, packed_apart=False)
    monkeypatch.setattr(objective, "validation", Rows())
    found: list[Routing] = []
    model.hidden(batch(slice(0, 4))["tokens"], routings=found)
    counts = (20, 9, 3, 0)
    shares, dropped = [], 0
    for one in found:
        chosen = torch.cat([one.chosen[row, :count] for row, count in enumerate(counts)])
        shares += (chosen.flatten().bincount(minlength=4) / chosen.numel()).tolist()
        assert one.over is not None
        dropped += sum(int(one.over[row, :count].sum()) for row, count in enumerate(counts))
    values = objective.evaluate()
    assert set(values) == {f"validation/{n}" for n in ("loss", "expert_share", "dropped_share")}
    assert values["validation/expert_share"] == pytest.approx(max(shares))
    assert values["validation/dropped_share"] == pytest.approx(dropped / (2 * 2 * 32))


def test_recomputing_activations_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        model = decoder({}, gradient_checkpointing=recompute, dropout=0.2).train()
        objective = LanguageModeling(model, None, batch_size=4, packed_apart=False)
        torch.manual_seed(0)
        terms = objective.losses(batch(slice(0, 4)), step=0, generator=torch.Generator())
        torch.stack([one.sum for one in terms.values()]).sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


COMPILED = """
import torch
from lmlab.models.schema import DecoderConfig, ExpertsConfig
from lmlab.studies.scratch.model import LanguageModeling, build_decoder

experts = ExpertsConfig(capacity_factor=1.0)
shape = {"num_layers": 2, "d_model": 32, "num_heads": 4, "d_ff": 48, "context_tokens": 16}
config = DecoderConfig(**shape, gradient_checkpointing=True, experts=experts)
model = build_decoder(config, vocab_size=40, seed=0).train()
objective = LanguageModeling(model, None, batch_size=2, packed_apart=False)
tokens = torch.arange(32).view(2, 16)
compiled = torch.compile(objective._score, backend="aot_eager", fullgraph=True)
gradients = []
for score in (objective._score, compiled):
    model.zero_grad()
    found = score(tokens, tokens, None)
    (found.nll + found.usage.probabilities.square().sum()).backward()
    gradients.append([one.grad for one in model.parameters()])
assert all((a - b).abs().max() <= 1e-5 for a, b in zip(*gradients, strict=True))
"""


def test_the_objective_compiles_as_one_graph():
    # In a process of its own: what checks shapes in tests cannot be compiled.
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


def test_a_training_reports_the_balance_between_its_experts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    monkeypatch.delenv("DEV_MODE", raising=False)
    short = ("pretrain.max_steps=4", "pretrain.log_every=1", "evaluate.prompts=[]")
    made = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, *short, EXPERTS, name="experts")
    lines = made.reference.run.part("pretrain").metrics_path.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [row for row in rows if "train/loss" in row]
    assert len(steps) == 4
    for row in steps:
        # Weighted as it is in the loss; two slots a token make 2 at perfect balance.
        assert 0.1 * 1.9 < row["train/balance"] < 0.1 * 4
        assert row["train/loss"] == pytest.approx(row["train/nll"] + row["train/balance"])
    evaluated = [row for row in rows if "validation/loss" in row]
    assert evaluated
    for row in evaluated:
        assert 1 / 4 <= row["validation/expert_share"] <= 1 / 2
        assert 0 <= row["validation/dropped_share"] < 1 / 2
    assert {one.arm for one in made.records()} >= {"trained", "untrained"}
