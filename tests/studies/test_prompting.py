"""Prompts of the baselines: examples from training alone, questions whole, labels of one token."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretrained_toys
import pytest
import torch
from scipy.special import log_softmax
from transformers import AutoModelForCausalLM

from lmlab.data.pack import NO_TARGET
from lmlab.data.tasks.records import Dialogue, Problem, Review
from lmlab.data.tokenizer import save_tokenizer
from lmlab.models.adapt import adapt
from lmlab.models.complete import Completer
from lmlab.models.pretrained import load_pretrained
from lmlab.models.schema import FullTuning, PretrainedConfig
from lmlab.studies.scratch.adapting import Adapting, task_rows
from lmlab.studies.scratch.baselines_config import PromptConfig
from lmlab.studies.scratch.outcomes import Outcome, controls, score_reviews, score_texts
from lmlab.studies.scratch.prompted import Asking, calibrated_log_probs, prompt_each_way
from lmlab.studies.scratch.prompting import Question, build_prompt, draw_shots, question, render

TRAIN = [Question(f"t{n}", f"film {n}", ("negative", "positive")[n % 2]) for n in range(30)]
ASKED = [Question(f"a{n}", f"a new film {n}", "positive") for n in range(4)]


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def drawn(*, shot_seed: int = 0, order_seed: int = 0, num_shots: int = 6) -> list[str]:
    found = draw_shots(
        TRAIN, num_shots=num_shots, asked=ASKED, shot_seed=shot_seed, order_seed=order_seed
    )
    return [one.id for one in found]


def test_examples_are_those_of_the_seed_and_their_order_that_of_the_other():
    assert drawn() == drawn()
    assert drawn(order_seed=1) != drawn()
    assert sorted(drawn(order_seed=1)) == sorted(drawn())
    assert set(drawn(shot_seed=1)) != set(drawn())
    assert len(set(drawn())) == 6


def test_examples_are_of_the_training_split_and_never_what_is_asked():
    asked = [Question("x", one.text, one.answer) for one in TRAIN[:24]]
    for seed in range(20):
        found = draw_shots(TRAIN, num_shots=6, asked=asked, shot_seed=seed, order_seed=0)
        assert {one.id for one in found} == {one.id for one in TRAIN[24:]}
    with pytest.raises(ValueError, match="7 shots are wanted and the training split has 6"):
        draw_shots(TRAIN, num_shots=7, asked=asked, shot_seed=0, order_seed=0)


def test_examples_that_do_not_fit_are_left_out_from_the_left_and_the_question_never():
    whole = build_prompt("reviews", "a new film", TRAIN[:4], encode=encode, room=1000)
    assert whole.num_shots == 4
    solved = [f"Review: {one.text}\nSentiment: {one.answer}" for one in TRAIN[:4]]
    assert decode(whole.ids) == "\n\n".join([*solved, "Review: a new film\nSentiment:"])
    seen = set()
    for room in range(len("Review: a new film\nSentiment:"), len(whole.ids) + 1):
        cut = build_prompt("reviews", "a new film", TRAIN[:4], encode=encode, room=room)
        assert len(cut.ids) <= room
        kept = solved[4 - cut.num_shots :]
        assert decode(cut.ids) == "\n\n".join([*kept, "Review: a new film\nSentiment:"])
        seen.add(cut.num_shots)
    assert seen == {0, 1, 2, 3, 4}
    with pytest.raises(ValueError, match="longer than 28 tokens by itself"):
        build_prompt("reviews", "a new film", TRAIN[:4], encode=encode, room=28)


def test_each_kind_of_record_is_asked_in_its_words_and_braces_are_text():
    review = question(Review("r", "{a} film", "positive"))
    assert render("reviews", review.text) == "Review: {a} film\nSentiment:"
    dialogue = question(Dialogue("d", "A: Tea?\nB: No.", ("B wants none.", "None.")))
    assert render("dialogues", dialogue.text) == "Dialogue:\nA: Tea?\nB: No.\nSummary:"
    assert dialogue.answer == "B wants none."
    problem = question(Problem("p", "1 + 1?", "2\n#### 2", "2"))
    assert render("problems", problem.text) == "Question: 1 + 1?\nAnswer:"
    assert problem.answer == "2\n#### 2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pretrained_toys.make_folder("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


def asking(folder: str, *, room: int = 250, train: Sequence[Question] = TRAIN) -> Asking:
    reader = Completer(load_pretrained(PretrainedConfig(name=folder)), 3)
    return Asking("reviews", reader, room, ASKED, train, max_new_tokens=4, num_beams=1)


def test_scores_and_their_calibration_are_those_computed_by_hand(folder: str):
    """Zhao et al. 2021: probabilities of the labels over those after inputs that say nothing."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = pretrained_toys.make_tokenizer()
    words = [tokenizer.encode(f" {one}")[0] for one in ("negative", "positive")]

    def labels(text: str) -> np.ndarray:
        shots = "".join(f"Review: {x.text}\nSentiment: {x.answer}\n\n" for x in TRAIN[:2])
        ids = torch.tensor([tokenizer.encode(f"{shots}Review: {text}\nSentiment:")])
        with torch.inference_mode():
            return model(ids).logits[0, -1].log_softmax(-1)[words].double().numpy()

    mine = asking(folder)
    prompts = [
        build_prompt("reviews", one.text, TRAIN[:2], encode=mine.reader.encode, room=250)
        for one in ASKED
    ]
    found = calibrated_log_probs(mine, prompts, TRAIN[:2])
    plain = np.array([labels(one.text) for one in ASKED])
    assert abs(found["none"] - plain).max() <= 1e-5
    free = np.mean([np.exp(log_softmax(labels(one))) for one in ("N/A", "[MASK]", "")], 0)
    expected = np.exp(log_softmax(plain, 1)) / free
    expected /= expected.sum(1, keepdims=True)
    assert abs(np.exp(found["contextual"]) - expected).max() <= 1e-5


def test_a_label_of_two_tokens_is_refused(folder: str, tmp_path: Path):
    short = pretrained_toys.make_tokenizer(vocab_size=270)
    assert len(short.encode(" positive")) > 1
    pretrained_toys.make_model("gpt2").save_pretrained(tmp_path)
    save_tokenizer(short, tmp_path)
    with pytest.raises(ValueError, match=r"label word ' negative' is \d+ tokens"):
        list(prompt_each_way(asking(str(tmp_path)), PROMPT, score=lambda _: Outcome({})))


PROMPT = PromptConfig(
    model=PretrainedConfig(name="x"), num_shots=3, shot_seeds=(0, 1), max_tokens=250
)


def test_every_draw_is_shown_in_every_order_and_both_decisions_are_scored(folder: str):
    seen: list[tuple[str | None, ...]] = []

    def score(answers: Sequence[str | None]) -> Outcome:
        seen.append(tuple(answers))
        return Outcome({"accuracy": np.array([one == "positive" for one in answers], float)})

    found = list(prompt_each_way(asking(folder), PROMPT, score=score))
    single = [dict(one.at) for one in found if "prompts" not in one.at]
    assert single == [
        {"num_shots": 3, "calibration": kind, "shot_seed": draw, "order_seed": order}
        for draw in (0, 1)
        for order in range(5)
        for kind in ("none", "contextual")
    ]
    assert all(one.outcome.whole["shots_shown"] == 3 for one in found if "prompts" not in one.at)
    means = [one for one in found if "prompts" in one.at]
    assert [one.at for one in means] == [
        {"num_shots": 3, "calibration": kind, "prompts": 10} for kind in ("none", "contextual")
    ]
    plain = np.array([[one == "positive" for one in answers] for answers in seen[::2]], float)
    assert np.allclose(means[0].outcome.values["accuracy"], plain.mean(0))
    assert means[0].outcome.whole["accuracy_sd"] == pytest.approx(plain.mean(1).std(ddof=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_shots": 4, "order_seeds": (0, 1)}, "2 order_seeds; .* give 5 or more"),
        ({"num_shots": 4, "shot_seeds": (1, 1)}, "shot_seeds holds a seed twice"),
    ],
)
def test_a_score_of_few_orders_is_refused(changes: dict[str, object], said: str):
    with pytest.raises(ValueError, match=said):
        PromptConfig.model_validate({"model": {"name": "x"}, "max_tokens": 99, **changes})


def test_controls_know_the_training_split_alone():
    reviews = [Review(str(n), "x", "positive" if n < 3 else "negative") for n in range(4)]
    train = [Question("a", "x", "negative")] * 2 + [Question("b", "y", "positive")]
    found = {
        one.name: one.outcome
        for one in controls(reviews, train, generator=np.random.default_rng(0), draws=100)
    }
    assert found["majority"].values["accuracy"].tolist() == [0, 0, 0, 1]
    assert found["chance"].values["accuracy"].tolist() == [0.5] * 4
    problems = [Problem(str(n), "q", f"so\n#### {n}", str(n)) for n in range(3)]
    solved = [Question("a", "q", f"then\n#### {n}") for n in (1, 2, 2)]
    found = {
        one.name: one.outcome
        for one in controls(problems, solved, generator=np.random.default_rng(0), draws=100)
    }
    assert found["majority"].values["exact_match"].tolist() == [0, 0, 1]
    assert set(found["random"].values) == {"exact_match"}


def test_an_answer_without_a_label_or_number_is_wrong_and_counted_apart():
    reviews = [Review("a", "x", "negative"), Review("b", "y", "positive")]
    found = score_reviews([None, "positive"], reviews, draws=100)
    assert found.values["accuracy"].tolist() == [0, 1]
    assert found.whole["num_unparsable"] == 1
    problems = [Problem("a", "q", "#### 4", "4"), Problem("b", "q", "#### 1,000", "1000")]
    found = score_texts(["four", "so\n#### 1000\n\nQuestion: x\n#### 3"], problems)
    assert found.values["exact_match"].tolist() == [0, 1]
    assert found.whole["num_unparsable"] == 1


def test_an_answer_is_learnt_with_its_eos_and_the_prompt_is_no_target(folder: str):
    base = load_pretrained(PretrainedConfig(name=folder))
    problem = Question("p", "2 and 3 apples?", "2 + 3 = 5\n#### 5")
    rows = task_rows([problem], base, task="problems", max_tokens=200, split="train")
    batch = rows.fetch(np.array([0]), 0)
    targets = batch["targets"][0]
    learnt = targets[targets != NO_TARGET].tolist()
    prompt = Completer(base, 1).encode(render("problems", problem.text))
    assert learnt[-1] == base.tokenizer.eos_token_id
    assert base.tokenizer.decode(learnt[:-1]) == f" {problem.answer}"
    # What is read while answering begins as it did while learning.
    assert batch["tokens"][0, : len(prompt)].tolist() == prompt
    assert (targets[: len(prompt) - 1] == NO_TARGET).all()
    assert targets[len(prompt) - 1] == learnt[0]
    with pytest.raises(ValueError, match="no train example fits into max_tokens=8"):
        task_rows([problem], base, task="problems", max_tokens=8, split="train")


@pytest.mark.parametrize(("kind", "labels"), [("t5", ()), ("gpt2", ("negative", "positive"))])
def test_the_loss_is_that_of_transformers(tmp_path: Path, kind: str, labels: tuple[str, ...]):
    """Of a padded batch, by labels of -100: their mean times our targets is our sum."""
    name = pretrained_toys.make_folder(kind, tmp_path / kind)
    base = load_pretrained(PretrainedConfig(name=name), labels=labels)
    task = "reviews" if labels else "dialogues"
    questions = [Question("a", "a fine long film", "positive"), Question("b", "dull", "negative")]
    rows = task_rows(questions, base, task=task, max_tokens=200, split="train")
    batch = rows.fetch(np.array([0, 1]), 0)
    adapted = adapt(base, FullTuning(kind="full"), seed=0)
    adapted.trained.eval()
    objective = Adapting(adapted, rows, 2, {})
    ours = objective.losses(batch, step=0, generator=torch.Generator())["nll"].sum
    given = {"input_ids": batch["tokens"], "attention_mask": batch["mask"]}
    theirs = base.model(**given, labels=batch["targets"].squeeze(1) if labels else batch["targets"])
    count = objective.units(batch)[objective.unit]
    assert ours.item() == pytest.approx(theirs.loss.item() * count, rel=1e-6)
    with torch.no_grad():
        held_out = objective.evaluate()["validation/loss"]
    assert held_out == pytest.approx(theirs.loss.item(), rel=1e-6)
