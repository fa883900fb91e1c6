"""The stages after pretraining, small: what each starts from and leaves, and how it goes on."""

import csv
import json
import math
from collections.abc import Iterator

import pytest
import stages

import lmlab
from lmlab.data.text import load_documents
from lmlab.engine.checkpoint import checkpoints, find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.items import read_items
from lmlab.engine.records import Record
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
    controls = {"untrained", "unigram", "5-gram"}
    assert arms["word_perplexity"] == decoders | controls | {"checkpoint"}
    judged = decoders | {"untrained"}
    assert arms["response_exact_match"] == arms["stop_rate"] == arms["exact_match"] == judged
    assert arms["likelihood_accuracy"] == judged
    assert arms["preference_accuracy"] == {"dpo", "longer answer", "shorter answer"}
    assert arms["best_of_n"] == {"verifier", "majority", "random", "oracle"}


def test_a_record_names_the_weights_of_its_own_stage(made: Opened, run: Run):
    for one in made.records():
        if one.weights and one.arm != "untrained":
            assert one.training_step is not None
            path = find(run.part(one.part).checkpoints, str(one.training_step))
            weights = {name: sha for name, sha in one.weights.items() if " " not in name}
            assert list(weights.values()) == [verify(path)["identity"]["weights"]]
            assert one.arm == "checkpoint" or path.name == last_of(run, one.part)


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


def test_every_gate_of_a_stage_finds_what_it_is_judged_on(run: Run):
    file = load_gates("scratch")
    every = judge_gates(file, [run])
    sinks = {gate.id for gate in file.gates if gate.step == "sinks"}
    assert {one.gate for one in every if not one.applies} == sinks
    judged = [one for one in every if one.applies]
    # Too few items to decide anything, and so a choice among them is not judged either.
    required = {"verifier_beats_random", "verifier_beats_majority"}
    assert {one.gate for one in judged if one.verdict == "not_run"} == required
    for one in judged:
        assert one.n > 0
        assert "are needed" in one.reason


def test_each_stage_is_told_beside_the_one_before_it(run: Run):
    gains = {(one.metric, one.arm, one.at["against"]) for one in run.records() if is_gain(one)}
    chain = (("trained", "untrained"), ("sft", "trained"), ("dpo", "sft"))
    scores = ("word_perplexity", "response_exact_match", "stop_rate", "exact_match")
    expected = {(f"{score}_gain", *pair) for score in scores for pair in chain}
    expected |= {("likelihood_accuracy_gain", *pair) for pair in chain}
    expected |= {
        ("preference_accuracy_gain", "dpo", f"{one} answer") for one in ("longer", "shorter")
    }
    expected |= {("best_of_n_gain", "verifier", one) for one in ("random", "majority")}
    assert gains == expected
    items = read_items(run.results().items_path("test_nll"))
    sums = items.groupby("arm")[["value", "weight"]].sum()
    nats = sums["value"] / sums["weight"]
    for one in run.records():
        if one.metric == "word_perplexity_gain":
            expected_gain = nats[one.at["against"]] - nats[one.arm]
            assert one.value == pytest.approx(expected_gain, rel=1e-9)


def test_checkpoints_and_prompts_stand_side_by_side(run: Run):
    [metrics, samples] = [
        run.results().export(one)
        for one in ("lm_checkpoint_metrics.csv", "lm_generation_samples.json")
    ]
    kept = [path.name for _, path in sorted(checkpoints(run.part("pretrain").checkpoints))]
    assert len(kept) > 1
    names = [f"pretrain/{one}" for one in kept]
    every = [*names, *(f"{one}/{last_of(run, one)}" for one in ("sft", "dpo"))]
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    data = load_preset("scratch/demo", stages.OVERRIDES).config.data
    texts = load_documents(data, "validation").documents
    size = sum(len(one.encode()) for one in texts)
    assert [one["checkpoint"] for one in rows] == names
    told = json.loads(samples.read_text())
    assert [one["checkpoint"] for one in told] == every
    hashes = [one["checkpoint_sha256"] for one in rows]
    assert [one["checkpoint_sha256"] for one in told][: len(rows)] == hashes
    assert len({json.dumps(one["samples"]) for one in told}) > 1
    for one in rows:
        assert math.exp(float(one["val_loss"])) == pytest.approx(float(one["val_perplexity"]))
        nats = float(one["val_loss"]) * int(one["n_tokens"])
        assert float(one["bpb"]) == pytest.approx(nats / size / math.log(2), rel=1e-6)


def test_what_is_wrong_is_kept_to_be_looked_at(run: Run):
    errors = json.loads(run.results().export("problems_errors.json").read_text())
    stages_told = {one["checkpoint"].split("/")[0] for one in errors}
    assert stages_told == {"pretrain", "sft", "dpo"}
    assert {one["step"] for one in errors} == {"evaluate"}
    table = run.results().export("problems_eval_metrics.csv").read_text()
    told = list(csv.DictReader(table.splitlines()))
    wrong = sum(int(one["num_errors"]) for one in told)
    assert len(errors) == wrong > 0


def test_beside_a_task_stands_how_much_of_it_was_trained_on(run: Run):
    found = [one for one in run.records() if one.metric == "overlap_document_share"]
    places = {(one.part, one.at.get("task")) for one in found}
    assert places == {
        ("pretrain", None), ("sft", "instructions"), ("sft", "problems"), ("dpo", "pairs"),
        ("verifier", "problems"),
    }  # fmt: skip
    scored = {one.at["task"]: one for one in run.records() if one.metric == "exact_match"}
    [beside] = [one for one in found if (one.part, one.at.get("task")) == ("sft", "problems")]
    assert (beside.at, beside.data) == (scored["problems"].at, scored["problems"].data)
    assert beside.protocol["against"] == ["pretrain", "sft", "dpo", "verifier"]


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


def last_of(run: Run, part: str) -> str:
    """The name of its last checkpoint."""
    return find(run.part(part).checkpoints, "last").name


def is_gain(record: Record) -> bool:
    """Whether it compares two arms."""
    return record.metric.endswith("_gain")
