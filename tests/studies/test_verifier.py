"""The verifier: where its labels stand, what it is trained to, and what it makes of a solution."""

import math

import numpy as np
import pytest
import torch

from lmlab.data.tasks.records import Problem
from lmlab.data.tokenizer import TextTokenizer, train_bpe, wrap_tokenizer
from lmlab.engine.schema import OptimConfig
from lmlab.models.schema import DecoderConfig
from lmlab.studies.scratch.config import VerifierConfig
from lmlab.studies.scratch.model import build_decoder
from lmlab.studies.scratch.solve import Solution, Solved, solution_prompt
from lmlab.studies.scratch.verifier import (
    Judged,
    JudgedRows,
    Verification,
    Verifier,
    judge,
    line_labels,
    verify,
)

PROBLEM = Problem("0", "Mara has 3 apples and finds 4, then eats 2. How many?", "", "5")
TEXT = "She finds 3 + 4 = 7 apples.\nShe is glad.\nShe keeps 7 - 2 = 4 apples.\n#### 4"


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return wrap_tokenizer(train_bpe([TEXT * 3, PROBLEM.question], vocab_size=300), roles={})


def settings(labels: str) -> VerifierConfig:
    return VerifierConfig.model_validate(
        {
            "data": {"kind": "named", "name": "gsm8k"},
            "max_steps": 1,
            "batch_size": 2,
            "optim": OptimConfig(learning_rate=1e-3),
            "labels": labels,
        }
    )


def judged_as(labels: str, tokenizer: TextTokenizer, *, ended: bool = True) -> Judged:
    solved = Solved(PROBLEM, [Solution(TEXT, "4", correct=False, ended=ended)])
    [one] = judge([solved], settings(labels), tokenizer=tokenizer)
    return one


def test_each_line_but_the_last_is_right_wrong_or_claims_nothing():
    assert line_labels(TEXT) == [1, None, 0]
    assert line_labels("3 + 4 = 7 and 2 * 2 = 5\n#### 7") == [0]
    assert line_labels("#### 7") == []
    # The last line is the answer's, or was cut short.
    assert line_labels("3 + 4 = 7\n3 + 4 = 8") == [1]


@pytest.mark.parametrize("ended", [True, False])
def test_an_outcome_is_labelled_after_the_last_token_alone(tokenizer, ended):
    one = judged_as("outcome", tokenizer, ended=ended)
    assert one.labels == {len(one.ids) - 1: 0}
    assert (one.ids[-1] == tokenizer.eos_id) == ended
    prompt = solution_prompt(PROBLEM, tokenizer)
    assert one.ids[: len(prompt)] == prompt
    written = one.ids[len(prompt) : -1] if ended else one.ids[len(prompt) :]
    assert tokenizer.decode(written) == TEXT


def test_steps_are_labelled_where_their_lines_end(tokenizer):
    one, start = judged_as("process", tokenizer), len(solution_prompt(PROBLEM, tokenizer))
    before = {tokenizer.decode(one.ids[start : at + 1]): label for at, label in one.labels.items()}
    lines = TEXT.splitlines(keepends=True)
    assert before == {lines[0]: 1, "".join(lines[:3]): 0, TEXT: 0}


def verifier() -> Verifier:
    config = DecoderConfig(
        num_layers=2, d_model=32, num_heads=4, d_ff=48, context_tokens=256, init_std=0.2
    )
    made = Verifier(build_decoder(config, vocab_size=300, seed=0)).eval()
    torch.nn.init.normal_(made.score.weight, generator=torch.Generator().manual_seed(0))
    return made


def drawn(count: int) -> list[Judged]:
    """Of all lengths, with one label or several, the last token's always among them."""
    generator, found = np.random.default_rng(0), []
    for length in generator.integers(2, 60, count).tolist():
        places = {int(one) for one in generator.integers(0, length, 3)} | {length - 1}
        labels = {one: int(generator.integers(2)) for one in sorted(places)}
        found.append(Judged(generator.integers(0, 300, length).tolist(), labels))
    return found


@torch.no_grad()
def test_a_solution_is_as_likely_right_as_its_outcome_or_as_all_its_steps():
    model, judged = verifier(), drawn(70)
    slow: dict[str, list[float]] = {"outcome": [], "process": []}
    for one in judged:
        states = model.decoder.hidden(torch.tensor([one.ids]))[0]
        odds = (states @ model.score.weight[0] + model.score.bias).tolist()
        log_p = [-math.log1p(math.exp(-value)) for value in odds]
        slow["outcome"].append(log_p[-1])
        slow["process"].append(sum(log_p[at] for at in one.labels))
    for labels, expected in slow.items():
        assert np.abs(verify(model, judged, labels=labels) - expected).max() <= 1e-4
    assert np.abs(np.subtract(slow["outcome"], slow["process"])).max() > 1


def test_the_loss_is_the_cross_entropy_of_every_label_and_its_evaluation_their_mean():
    model, judged = verifier(), drawn(9)
    objective = Verification(model, JudgedRows(judged), batch_size=4)
    batch = JudgedRows(judged).fetch(np.arange(9), 0)
    loss, right = 0.0, 0
    for one in judged:
        with torch.no_grad():
            p = model(torch.tensor([one.ids]))[0].double().sigmoid()
        for at, label in one.labels.items():
            loss -= math.log(p[at] if label else 1 - p[at])
            right += int((p[at] > 0.5) == bool(label))
    count = sum(len(one.labels) for one in judged)
    assert objective.units(batch) == {"labels": count}
    terms = objective.losses(batch, step=0, generator=torch.Generator())
    assert terms["bce"].sum.item() == pytest.approx(loss, rel=1e-4)
    values = objective.evaluate()
    assert values["validation/loss"] == pytest.approx(loss / count, rel=1e-4)
    assert values["validation/accuracy"] == pytest.approx(right / count)


def test_an_untrained_verifier_knows_nothing():
    fresh = Verifier(verifier().decoder)
    assert verify(fresh, drawn(3), labels="outcome").tolist() == pytest.approx([math.log(0.5)] * 3)
