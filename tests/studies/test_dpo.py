"""Preference optimisation: its cached reference, and where it starts."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys

from lmlab.data.examples import Example
from lmlab.data.tasks.records import Pair, TaskSplit
from lmlab.engine.run import Part
from lmlab.engine.schema import OptimConfig
from lmlab.models.decoder import Decoder
from lmlab.models.schema import DecoderConfig
from lmlab.studies.scratch import dpo
from lmlab.studies.scratch.config import DpoConfig
from lmlab.studies.scratch.dpo import PairExamples, PairRows, PreferenceOptimization
from lmlab.studies.scratch.model import TrainedDecoder, build_decoder

VOCAB, EOS, NUM_PAIRS = 40, 1, 20
DATA = TaskSplit(
    name="made", split="train", records=[Pair("0", "", "", "")], data_kind="generated",
    licence="none", dropped={},
)  # fmt: skip


def pairs(seed: int = 0) -> PairExamples:
    drawn = np.random.default_rng(seed)

    def text(most: int) -> list[int]:
        return drawn.integers(2, VOCAB, int(drawn.integers(1, most))).tolist()

    prompts = [text(20) for _ in range(NUM_PAIRS)]
    chosen, rejected = ([Example(one, [*text(30), EOS]) for one in prompts] for _ in range(2))
    return PairExamples(DATA, [str(row) for row in range(NUM_PAIRS)], chosen, rejected)


def decoder(*, seed: int = 0, dropout: float = 0.0) -> Decoder:
    config = DecoderConfig(
        num_layers=2, d_model=32, num_heads=4, d_ff=48, context_tokens=64, init_std=0.2,
        dropout=dropout,
    )  # fmt: skip
    return build_decoder(config, vocab_size=VOCAB, seed=seed)


def logps(part: Part, *, seed: int = 0, of: PairExamples | None = None) -> torch.Tensor:
    """Of the reference that is the decoder drawn with `seed`."""
    start = TrainedDecoder(decoder(seed=seed), f"sha256 of {seed}", 0)
    return dpo.reference_logps(start, pairs() if of is None else of, part, name="train")


@pytest.fixture
def part(tmp_path: Path) -> Part:
    made = toys.make_part(tmp_path)
    made.folder.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each time that a model scores pairs."""
    counted: list[int] = []
    inner = dpo.score_pairs

    def counting(model: Decoder, of: PairExamples) -> torch.Tensor:
        counted.append(len(of))
        return inner(model, of)

    monkeypatch.setattr(dpo, "score_pairs", counting)
    return counted


def test_the_reference_is_computed_once_and_then_read(part: Part, passes: list[int]):
    first = logps(part)
    assert torch.equal(logps(part), first)
    assert passes == [NUM_PAIRS]
    with torch.no_grad():
        for column, one in enumerate(pairs().rejected):
            log_p = decoder()(torch.tensor([one.ids]))[0, :-1].log_softmax(-1)
            slow = log_p.gather(1, torch.tensor(one.ids[1:])[:, None])[-len(one.response) :].sum()
            assert first[1, column] == pytest.approx(slow.item(), abs=1e-4)


def test_other_weights_or_other_pairs_are_scored_anew(part: Part, passes: list[int]):
    first = logps(part)
    assert not torch.equal(logps(part, seed=1), first)
    assert not torch.equal(logps(part, seed=1, of=pairs(seed=1)), logps(part, seed=1))
    assert len(passes) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_made_anew(part: Part, passes: list[int], damage: str):
    first, [path] = logps(part), list(part.folder.glob("reference_*"))
    whole = path.read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    path.write_bytes({"cut": whole[:-10], "flipped": flipped, "empty": b""}[damage])
    assert torch.equal(logps(part), first)
    assert len(passes) == 2
    assert path.read_bytes() == whole


def objective(part: Part, model: Decoder) -> PreferenceOptimization:
    settings = DpoConfig.model_validate(
        {
            "data": {"kind": "named", "name": "none"},
            "max_steps": 1,
            "batch_size": 4,
            "optim": OptimConfig(learning_rate=1e-3),
        }
    )
    return PreferenceOptimization(model, settings, PairRows(pairs(), logps(part)), 7, {})


def test_a_policy_starts_at_ln_2_and_both_responses_move_it(part: Part):
    made = objective(part, decoder().train())
    batch = made.validation.fetch(np.arange(NUM_PAIRS), 0)
    loss = made.losses(batch, step=0, generator=torch.Generator())["dpo"]
    assert loss.sum.item() / NUM_PAIRS == pytest.approx(math.log(2), abs=1e-6)
    loss.sum.backward()
    assert made.model.embed.weight.grad is not None
    assert made.model.embed.weight.grad.abs().max() > 0
    rows = [one.response for one in (*pairs().chosen, *pairs().rejected)]
    assert made.units(batch) == {"pairs": NUM_PAIRS, "tokens": sum(map(len, rows))}


def test_with_dropout_it_would_not_start_there(part: Part):
    torch.manual_seed(0)
    made = objective(part, decoder(dropout=0.2).train())
    batch = made.validation.fetch(np.arange(NUM_PAIRS), 0)
    loss = made.losses(batch, step=0, generator=torch.Generator())["dpo"].sum.item() / NUM_PAIRS
    assert abs(loss - math.log(2)) > 1e-3


@torch.no_grad()
def test_evaluation_is_of_all_pairs_whatever_their_batches(part: Part):
    made = objective(part, decoder(seed=5))
    moved = dpo.score_pairs(made.model, pairs()) - made.validation.reference
    margin = moved[0] - moved[1]
    values = made.evaluate()
    assert values["validation/loss"] == pytest.approx(-F.logsigmoid(0.1 * margin).mean().item())
    assert values["validation/margin"] == pytest.approx(0.1 * margin.mean().item(), abs=1e-5)
    assert values["validation/accuracy"] == (margin > 0).double().mean().item()
    start = objective(part, decoder()).evaluate()
    assert start["validation/accuracy"] == 0.5
