"""The gates of the scratch study on planted runs: each can be met, and each can fail."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_study import plant_run

from lmlab.engine.run import Run
from lmlab.evidence.gates.decide import decide, load_rules
from lmlab.evidence.gates.grammar import gate_path, load_gates
from lmlab.evidence.gates.judge import Judgement, judge_gates
from lmlab.evidence.gates.judging import exit_code, judge_runs
from lmlab.evidence.pages.judged import read_judged

STAGES = ("pretrain", "sft", "dpo", "verifier", "sinks", "evaluate")
NATS = {"trained": 4.9, "untrained": 11.8, "unigram": 6.8, "5-gram": 5.4, "sft": 4.91, "dpo": 4.92}
# Arm -> of how many of the items it is right, by metric and task.
GOOD: Mapping[str, Mapping[str, float]] = {
    "response_exact_match": {"untrained": 0.0, "trained": 0.0, "sft": 0.6},
    "exact_match": {"untrained": 0.0, "trained": 0.0, "sft": 0.2},
    "stop_rate": {"untrained": 0.0, "trained": 0.1, "sft": 0.95},
    "preference_accuracy": {"dpo": 0.8, "longer answer": 0.5, "shorter answer": 0.5},
    "best_of_n": {"random": 0.4, "majority": 0.5, "verifier": 0.7, "oracle": 0.85},
}
TASKS = {"response_exact_match": "instructions", "stop_rate": "instructions"}
TASKS |= {"preference_accuracy": "pairs", "best_of_n": "problems", "exact_match": "problems"}
BEYOND = {"window": 1.7, "first_tokens": 1.6, "register+window": 1.7, "logit+window": 1.65}
BEYOND |= {"recompute": 1.6, "full": 3.0}
ITEMS = 200


def plant_text(root: Path, nats: Mapping[str, float]) -> Run:
    """Perplexities of a text, article by article."""
    generator, words = np.random.default_rng(8), np.full(60, 2000.0)
    own = generator.normal(0, 0.3, 60)
    arms = {
        arm: ((mean + own + generator.normal(0, 0.02, 60)) * words).tolist()
        for arm, mean in nats.items()
    }
    recorded = {"metric": "word_perplexity", "better": "lower", "protocol": {"word_rule": "words"}}
    return plant_run(
        root,
        arms=arms,
        metric="nll_per_word",
        weights=words.tolist(),
        at={"split": "test"},
        record=recorded,
    )


def plant_tasks(root: Path, rates: Mapping[str, Mapping[str, float]]) -> None:
    """Right answers of every arm, the first items first."""
    for metric, arms in rates.items():
        values: dict[str, Sequence[float]] = {
            arm: (np.arange(ITEMS) < rate * ITEMS).astype(float).tolist()
            for arm, rate in arms.items()
        }
        at: dict[str, Any] = {"task": TASKS[metric], "split": "test"}
        more = {"n": 4} if metric == "best_of_n" else {}
        plant_run(root, arms=values, metric=metric, at=at | more)


def plant_sinks(root: Path, nats: Mapping[str, float]) -> None:
    """Losses a token far beyond the context, text by text."""
    generator = np.random.default_rng(9)
    own = generator.normal(0, 0.1, 64)
    arms = {
        arm: (mean + own + generator.normal(0, 0.01, 64)).tolist() for arm, mean in nats.items()
    }
    more: dict[str, Any] = {"record": {"better": "lower"}, "at": {"context_multiple": 16}}
    plant_run(root, arms=arms, metric="nll_per_token", **more)


def judged(run: Run, steps: Sequence[str]) -> dict[str, Judgement]:
    run.write_manifest({"fingerprints": dict.fromkeys(steps, "0" * 16)})
    return {one.gate: one for one in judge_gates(load_gates("scratch"), [run])}


def changed(metric: str, **rates: float) -> dict[str, Mapping[str, float]]:
    return {**GOOD, metric: {**GOOD[metric], **{a.replace("_", " "): r for a, r in rates.items()}}}


def test_pretraining_alone_is_judged_by_its_own_gates(tmp_path: Path):
    found = judged(plant_text(tmp_path, NATS), ("pretrain", "evaluate"))
    asked = [one for one in found.values() if one.applies]
    assert len(asked) == 4
    assert {(one.verdict, one.audit) for one in asked} == {("pass", "sound")}
    assert exit_code([*found.values()]) == 0
    assert found["beats_5gram"].estimate == pytest.approx(0.5, abs=0.05)


def test_every_gate_can_be_met(tmp_path: Path):
    run = plant_text(tmp_path, NATS)
    plant_tasks(tmp_path, GOOD)
    plant_sinks(tmp_path, BEYOND)
    found = judged(run, STAGES)
    assert {(one.verdict, one.audit) for one in found.values()} == {("pass", "sound")}
    assert exit_code([*found.values()]) == 0


@pytest.mark.parametrize(
    ("rates", "nats", "failing", "not_run"),
    [
        (changed("response_exact_match", trained=0.8), NATS, {"sft_answers"}, set()),
        (changed("exact_match", trained=0.4), NATS, {"sft_solves"}, set()),
        (changed("stop_rate", sft=0.5), NATS, {"sft_stops"}, set()),
        (GOOD, NATS | {"sft": 5.2, "dpo": 5.2}, {"sft_keeps_perplexity"}, set()),
        (GOOD, NATS | {"dpo": 5.2}, {"dpo_keeps_perplexity"}, set()),
        (changed("preference_accuracy", dpo=0.3), NATS,
         {"dpo_prefers", "dpo_beats_longer_answer", "dpo_beats_shorter_answer"}, set()),
        (changed("preference_accuracy", shorter_answer=0.9), NATS, {"dpo_beats_shorter_answer"},
         set()),
        # Length alone explains the preference.
        (changed("preference_accuracy", longer_answer=0.9), NATS, {"dpo_beats_longer_answer"},
         set()),
        (changed("best_of_n", verifier=0.3), NATS,
         {"verifier_beats_random", "verifier_beats_majority"}, set()),
        (changed("best_of_n", random=0.02), NATS, {"solver_is_not_hopeless"},
         {"verifier_beats_random", "verifier_beats_majority"}),
        (changed("best_of_n", oracle=0.4), NATS, {"choice_has_room"},
         {"verifier_beats_random", "verifier_beats_majority"}),
        # Where nearly all is solved there is no room to be had.
        (changed("best_of_n", random=0.98, oracle=0.98), NATS, {"solver_is_not_perfect"},
         {"choice_has_room", "verifier_beats_random", "verifier_beats_majority"}),
    ],
)  # fmt: skip
def test_every_gate_of_a_stage_can_fail(
    tmp_path: Path,
    rates: Mapping[str, Mapping[str, float]],
    nats: Mapping[str, float],
    failing: set[str],
    not_run: set[str],
):
    run = plant_text(tmp_path, nats)
    plant_tasks(tmp_path, rates)
    plant_sinks(tmp_path, BEYOND)
    found = judged(run, STAGES)
    assert {name for name, one in found.items() if one.verdict == "fail"} == failing
    assert {name for name, one in found.items() if one.verdict == "not_run"} == not_run
    assert {one.verdict for name, one in found.items() if name not in failing | not_run} == {"pass"}


@pytest.mark.parametrize(
    ("nats", "failing"),
    [
        ({"first_tokens": 1.8}, {"first_tokens_beat_window"}),
        ({"register+window": 1.8}, {"registers_keep_up"}),
        ({"logit+window": 1.8}, {"logits_keep_up"}),
        ({"full": 1.7}, {"full_breaks_down"}),
    ],
)
def test_every_gate_of_sinks_can_fail(tmp_path: Path, nats: dict[str, float], failing: set[str]):
    run = plant_text(tmp_path, NATS)
    plant_sinks(tmp_path, BEYOND | nats)
    found = judged(run, ("pretrain", "sinks", "evaluate"))
    asked = {name: one.verdict for name, one in found.items() if one.applies}
    assert {name for name, verdict in asked.items() if verdict != "pass"} == failing
    assert {asked[name] for name in failing} == {"fail"}


def test_what_may_be_said_follows_from_the_stages_that_there_are(tmp_path: Path):
    file, rules = load_gates("scratch"), load_rules("scratch")
    run = plant_text(tmp_path, NATS)
    claims = {}
    for steps in (("pretrain",), STAGES):
        if steps == STAGES:
            plant_tasks(tmp_path, changed("preference_accuracy", longer_answer=0.9))
            plant_sinks(tmp_path, BEYOND)
        run.write_manifest({"fingerprints": dict.fromkeys(steps, "0" * 16)})
        judge_runs([run], gate_path("scratch"), run.folder)
        known = {record.id for record in run.records()}
        made = decide(file, read_judged(run.folder, records=known, said=[]).gates, rules)
        claims[steps] = {one.text for one in made.claims}
        concerns = " ".join(one.text for one in made.concerns)
        assert ("no more than to prefer answers by their length" in concerns) == (steps == STAGES)
        assert "Not run" not in concerns
    more = claims[STAGES] - claims["pretrain",]
    assert claims["pretrain",] < claims[STAGES]
    assert {one.split()[0] for one in more} == {"Instructions", "Keeping", "The", "Worked"}
