"""The stages after pretraining, small: what each starts from and leaves, and how it goes on."""

import json
import math
from collections.abc import Iterator

import pytest
import stages

import lmlab
from lmlab.engine.checkpoint import find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.run import Run
from lmlab.engine.steps import config_steps, run_steps
from lmlab.evidence.gates.grammar import load_gates
from lmlab.evidence.gates.judge import judge_gates
from lmlab.launch.notebook import Opened
from lmlab.studies.scratch.solve import read_solutions, solutions_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A finished run of all stages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("DEV_MODE", raising=False)
        yield lmlab.run("scratch/demo", *stages.OVERRIDES, name="stages")


@pytest.fixture
def run(made: Opened) -> Run:
    return made.reference.run


def test_a_stage_that_is_null_is_no_step():
    names = [step.name for step in config_steps(load_preset("scratch/demo").config)]
    assert names == ["prepare", "pretrain", "sft", "dpo", "solve", "verifier", "evaluate"]
    left = config_steps(load_preset("scratch/demo", ["dpo=null", "verifier=null"]).config)
    assert [step.name for step in left] == ["prepare", "pretrain", "sft", "evaluate"]
    assert left[-1].needs == ("pretrain", "sft")


def test_every_stage_has_its_scores_beside_their_controls(made: Opened):
    arms: dict[str, set[str]] = {}
    for one in made.records():
        arms.setdefault(one.metric, set()).add(one.arm)
    decoders = {"trained", "sft", "dpo"}
    assert arms["word_perplexity"] == decoders | {"untrained", "unigram", "5-gram"}
    assert arms["response_exact_match"] == arms["stop_rate"] == arms["exact_match"] == decoders
    assert arms["likelihood_accuracy"] == decoders
    assert arms["preference_accuracy"] == {"dpo", "longer answer"}
    assert arms["best_of_n"] == {"verifier", "majority", "random", "oracle"}


def test_a_record_names_the_weights_of_its_own_stage(made: Opened, run: Run):
    for one in made.records():
        if one.weights and one.arm != "untrained":
            path = find(run.part(one.part).checkpoints, "last")
            assert list(one.weights.values()) == [verify(path)["identity"]["weights"]]


def test_the_reference_is_the_stage_before_and_is_not_moved(run: Run):
    sft, dpo = (verify(find(run.part(one).checkpoints, "last")) for one in ("sft", "dpo"))
    weights = sft["identity"]["weights"]
    assert dpo["identity"]["frozen"]["reference"].endswith(weights)
    assert dpo["identity"]["weights"] != weights


def test_preferences_start_undecided_and_at_ln_2(run: Run):
    rows = [json.loads(line) for line in run.part("dpo").metrics_path.read_text().splitlines()]
    first = next(row for row in rows if row["step"] == 1 and "train/loss" in row)
    assert first["train/loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_between_a_random_choice_and_a_perfect_one_lies_the_verifiers(made: Opened):
    values = {
        (one.arm, one.at["n"]): one.value for one in made.records() if one.metric == "best_of_n"
    }
    assert {n for _, n in values} == {1, 2, 4}
    for n in (1, 2, 4):
        assert values["verifier", n] <= values["oracle", n]
    assert values["verifier", 1] == values["random", 1] == values["oracle", 1]


def test_the_scores_of_stages_keep_no_gate_from_being_judged(run: Run):
    judged = judge_gates(load_gates("scratch"), [run])
    assert len(judged) == 4
    assert [one.reason for one in judged if one.verdict == "not_run"] == []


def test_a_cut_file_of_solutions_is_gone_on_with_to_the_same_bytes(run: Run):
    path = solutions_path(run, "train")
    before = path.read_text()
    path.write_text(before[: len(before) * 2 // 3])
    config = load_preset("scratch/demo", stages.OVERRIDES).config
    [solve] = [step for step in config_steps(config) if step.name == "solve"]
    run.set_status("solve", state="failed")
    run_steps([solve], config, run)
    assert path.read_text() == before
    assert len(read_solutions(run, "train")) == 6
