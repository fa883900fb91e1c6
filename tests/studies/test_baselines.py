"""Baselines end to end on models made here: trained, resumed, prompted, recorded, exported."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pretrained_toys
import pytest
import tiny
import torch
from peft import AutoPeftModelForSeq2SeqLM, AutoPeftModelForSequenceClassification
from safetensors.torch import load_file

import lmlab
from lmlab.data.tasks.load import load_dialogues, load_problems, load_reviews
from lmlab.engine.checkpoint import find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.items import read_items
from lmlab.engine.preempt import Preempted
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.launch.local import Options, choose_run, start
from lmlab.metrics.rouge import rouge
from lmlab.models.pretrained import load_pretrained
from lmlab.models.schema import PretrainedConfig
from lmlab.studies.scratch.baselines import train_adapter
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.prompting import answer_of

STORIES = "{kind: stories, records: 40, validation_records: 8, test_records: 12, seed: 0}"
TRAIN = ("max_steps=6", "batch_size=4", "micro_batch_size=2", "eval_every=3", "max_tokens=250")
QUICK = ("optim.schedule.warmup=2", "checkpoint.save_every=3", "log_every=1")


def overrides(model: str, *, adapt: tuple[str, ...], prompting: tuple[str, ...]) -> list[str]:
    settings = [f"baselines.adapt.{name}.{one}" for name in adapt for one in (*TRAIN, *QUICK)]
    entries = [f"adapt.{name}" for name in adapt] + [f"prompting.{name}" for name in prompting]
    settings += [f"baselines.{one}.model.name={model}" for one in entries]
    settings += [f"baselines.prompting.{name}.max_tokens=250" for name in prompting]
    return [*tiny.OVERRIDES, f"baselines.data={STORIES}", "baselines.split=test", *settings]


def run_baselines(preset: str, given: list[str]) -> Run:
    resolved, options = load_preset(preset, given), Options(steps=("baselines",))
    chosen = choose_run(resolved, options)
    start(resolved, chosen, options)
    return chosen.run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("DEV_MODE", raising=False)
        yield tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def reviews(runs: Path) -> Run:
    model = pretrained_toys.make_folder("gpt2", runs / "gpt2")
    names = {"adapt": ("lora", "full", "probe"), "prompting": ("zero_shot", "four_shot")}
    return run_baselines(
        "scratch/lora_sst2",
        [
            *overrides(model, **names),
            "baselines.prompting.four_shot.num_shots=1",
            "baselines.prompting.four_shot.shot_seeds=[0,1,2]",
            # Enough in six steps to change answers.
            "baselines.adapt.lora.optim.learning_rate=0.05",
        ],
    )


def records(run: Run, arm: str, metric: str) -> list[Record]:
    return [one for one in run.records() if (one.arm, one.metric) == (arm, metric)]


def test_only_the_baselines_were_run(reviews: Run):
    assert set(reviews.status()["steps"]) == {"baselines"}
    assert [part.name for part in reviews.parts()] == [
        f"baselines/{name}" for name in ("full", "lora", "probe")
    ]


def test_every_arm_has_its_score_its_weights_and_the_same_protocol(reviews: Run):
    arms = {"majority", "chance", "lora", "lora untrained", "full", "probe"}
    arms |= {f"{one}{end}" for one in ("zero_shot", "four_shot") for end in ("", " untrained")}
    found = reviews.records()
    assert {one.arm for one in found} == arms
    assert len({one.protocol_hash for one in found}) == 1
    for one in found:
        assert (one.step, one.at["task"], one.at["split"]) == ("baselines", "reviews", "test")
        assert one.weightless == (one.arm in ("majority", "chance")) == (not one.weights)
        assert one.data_kind == "generated"
        assert one.n == found[0].protocol["items"]
    for metric in ("accuracy", "macro_f1"):
        for one in [one for one in found if one.metric == metric and one.arm != "chance"]:
            assert one.interval is not None
            assert one.interval[0] <= one.value <= one.interval[1]


def test_the_weights_of_a_score_are_the_checkpoints_and_the_bases(reviews: Run):
    [score] = records(reviews, "lora", "accuracy")
    path = find(reviews.part("baselines/lora").checkpoints, "last")
    identity = verify(path)["identity"]
    facts = json.loads((reviews.folder / "baselines/lora/adapted.json").read_text())
    assert (score.training_step, score.part) == (6, "baselines/lora")
    assert score.weights == facts["weights"]
    assert score.weights["adapter"] == identity["weights"]
    assert identity["frozen"] == {"base": f"{facts['model']} {score.weights['base']}"}
    assert records(reviews, "full", "accuracy")[0].weights["base"] == score.weights["base"]
    assert records(reviews, "lora untrained", "accuracy")[0].weights != score.weights


def test_what_was_adapted_is_recorded_and_checkpoints_hold_that_alone(reviews: Run):
    facts = json.loads((reviews.folder / "baselines/lora/adapted.json").read_text())
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_proj")
    assert facts["lora_layers"] == [f"transformer.h.{n}.{one}" for n in (0, 1) for one in layers]
    assert facts["drawn_at_random"] == ["score.weight"]
    path = find(reviews.part("baselines/lora").checkpoints, "last")
    stored = load_file(path / "model.safetensors")
    assert sum(one.numel() for one in stored.values()) == facts["trained_parameters"]
    assert facts["trained_parameters"] < facts["parameters"] / 2
    assert len(stored) == 2 * len(facts["lora_layers"]) + 1


def test_the_exported_adapter_gives_the_scored_answers_in_peft(reviews: Run):
    folder = reviews.folder / "baselines/lora/adapter"
    model = AutoPeftModelForSequenceClassification.from_pretrained(
        str(folder), num_labels=2, pad_token_id=2
    ).eval()
    config = load_preset("scratch/lora_sst2", [f"baselines.data={STORIES}"]).config
    assert isinstance(config, Config)
    assert config.baselines is not None
    texts = {one.id: one for one in load_reviews(config.baselines.data, "test").records}
    items = read_items(reviews.results().items_path("baselines"))
    mine = items[(items["arm"] == "lora") & (items["metric"] == "accuracy")]
    assert len(mine) > 5
    tokenizer = pretrained_toys.make_tokenizer()
    facts = json.loads((reviews.folder / "baselines/lora/adapted.json").read_text())
    base = load_pretrained(
        PretrainedConfig(name=facts["model"]), labels=("negative", "positive"), seed=config.seed
    )
    changed = 0
    for row in mine.itertuples():
        with torch.inference_mode():
            tokens = torch.tensor([tokenizer.encode(texts[row.item_id].text)])
            given, before = (int(one(tokens).logits.argmax()) for one in (model, base.model))
        assert row.value == (base.model.config.id2label[given] == texts[row.item_id].label)
        changed += given != before
    assert changed > 0


def test_prompts_vary_and_have_their_mean_and_spread(reviews: Run):
    every = records(reviews, "four_shot", "accuracy")
    for calibration in ("none", "contextual"):
        mine = [one for one in every if one.at["calibration"] == calibration]
        single = [one.value for one in mine if "shot_seed" in one.at]
        [mean] = [one for one in mine if "prompts" in one.at]
        assert (len(single), mean.at["prompts"]) == (3, 3)
        assert mean.value == pytest.approx(np.mean(single), abs=1e-12)
        [spread] = [
            one
            for one in records(reviews, "four_shot", "accuracy_sd")
            if one.at["calibration"] == calibration
        ]
        assert spread.value == pytest.approx(np.std(single, ddof=1), abs=1e-12)
    assert {one.value for one in records(reviews, "four_shot", "shots_shown")} <= {0.0, 1.0}


def test_the_promised_files_are_there(reviews: Run):
    exports = reviews.folder / "exports"
    lines = (exports / "reviews_eval_metrics.csv").read_text().splitlines()
    assert lines[0].startswith("checkpoint,accuracy,macro_f1,num_unparsable")
    assert [line.split(",")[0] for line in lines[1:]] == [
        "majority", "chance", "baselines/lora/step_00000006", "lora untrained",
        "baselines/full/step_00000006", "baselines/probe/step_00000006",
    ]  # fmt: skip
    prompted = (exports / "prompting_baseline_results.csv").read_text().splitlines()
    assert prompted[0].startswith("task,model,num_shots,accuracy")
    errors = json.loads((exports / "reviews_misclassified.json").read_text())
    lora = [one for one in errors if one["checkpoint"] == "baselines/lora/step_00000006"]
    [score] = records(reviews, "lora", "accuracy")
    assert len(lora) == round(score.n * (1 - score.value))
    assert all(one["predicted"] != one["label"] for one in lora)


def test_a_training_in_pieces_equals_an_unbroken_one(reviews: Run, runs: Path):
    """To the bit, dropout and all: stopped by a notice at every step."""
    given = overrides(str(runs / "gpt2"), adapt=("lora",), prompting=())
    config = load_preset("scratch/lora_sst2", given).config
    assert isinstance(config, Config)
    whole = Run(runs, "scratch", "whole")
    train_adapter(config, whole, "lora")
    for pieces in range(1, 7):
        broken = Run(runs, "scratch", "broken")
        broken.notice.ask("test")
        with pytest.raises(Preempted, match=f"at step {pieces}"):
            train_adapter(config, broken, "lora")
    broken = Run(runs, "scratch", "broken")
    train_adapter(config, broken, "lora")
    assert broken.part("baselines/lora").status()["attempt"] == 7
    for file in ("model.safetensors", "optimizer.safetensors", "rng.safetensors"):
        one, other = (
            find(run.part("baselines/lora").checkpoints, "last") / file for run in (whole, broken)
        )
        assert one.read_bytes() == other.read_bytes()


def test_another_base_than_the_one_begun_with_is_refused(runs: Path):
    folder = runs / "moved"
    model = pretrained_toys.make_folder("gpt2", folder)
    config = load_preset(
        "scratch/lora_sst2", overrides(model, adapt=("lora",), prompting=())
    ).config
    assert isinstance(config, Config)
    run = Run(runs, "scratch", "moved")
    train_adapter(config, run, "lora")
    pretrained_toys.make_folder("gpt2", folder, seed=1)
    with pytest.raises(RuntimeError, match="was trained beside"):
        train_adapter(config, run, "lora")


def test_summaries_are_trained_written_and_scored(runs: Path):
    model = pretrained_toys.make_folder("t5", runs / "t5")
    given = overrides(model, adapt=("lora", "full"), prompting=("zero_shot", "two_shot"))
    run = run_baselines("scratch/lora_samsum", [*given, "baselines.max_new_tokens=60"])
    arms = {"random", "first 3 turns", "lora", "lora untrained", "full"}
    arms |= {f"{one}{end}" for one in ("zero_shot", "two_shot") for end in ("", " untrained")}
    assert {one.arm for one in run.records()} == arms
    for one in run.records():
        assert one.metric.removesuffix("_sd") in ("rouge1", "rouge2", "rougeL", "rougeLsum") or (
            one.metric == "shots_shown"
        )
    config = load_preset("scratch/lora_samsum", given).config
    assert isinstance(config, Config)
    assert config.baselines is not None
    dialogues = {one.id: one for one in load_dialogues(config.baselines.data, "test").records}
    items = read_items(run.results().items_path("baselines"))
    lead = items[(items["arm"] == "first 3 turns") & (items["metric"] == "rougeL")]
    for row in lead.itertuples():
        turns = " ".join(dialogues[row.item_id].dialogue.splitlines()[:3])
        expected = rouge([turns], [dialogues[row.item_id].summaries], several="mean")["rougeL"][0]
        assert row.value == pytest.approx(expected)
    AutoPeftModelForSeq2SeqLM.from_pretrained(str(run.folder / "baselines/lora/adapter"))
    assert (run.folder / "exports/dialogues_eval_metrics.csv").is_file()


def test_problems_are_trained_written_and_scored(runs: Path):
    model = pretrained_toys.make_folder("llama", runs / "llama")
    names = ("lora_gpt2", "lora_tinyllama")
    given = overrides(model, adapt=names, prompting=("eight_shot",))
    targets = "baselines.adapt.lora_gpt2.method.target_modules=[q_proj,v_proj]"
    run = run_baselines("scratch/lora_gsm8k", [*given, targets, "baselines.max_new_tokens=80"])
    scores = {one.arm: one for one in run.records() if one.metric == "exact_match"}
    assert {"random", "majority", *names, "eight_shot", "eight_shot untrained"} <= set(scores)
    assert scores["majority"].value > 0
    config = load_preset("scratch/lora_gsm8k", [f"baselines.data={STORIES}"]).config
    assert isinstance(config, Config)
    assert config.baselines is not None
    problems = load_problems(config.baselines.data, "test").records
    errors = json.loads((run.folder / "exports/problems_errors.json").read_text())
    truth = {one.id: one.answer for one in problems}
    assert errors
    for one in errors:
        assert one["true_number"] == truth[one["item_id"]]


def test_an_adapter_is_trained_upon_the_decoder_of_a_run(runs: Path):
    """Exported on the fly, with its own tokenizer."""
    stages = ("sft=null", "dpo=null", "verifier=null", "model.context_tokens=256")
    lmlab.run(tiny.PRESET, *tiny.OVERRIDES, *stages, name="other")
    given = overrides("scratch/other:pretrain", adapt=("lora",), prompting=())
    targets = "baselines.adapt.lora.method.target_modules=[q_proj,v_proj]"
    config = load_preset("scratch/lora_sst2", [*given, targets]).config
    assert isinstance(config, Config)
    train_adapter(config, Run(runs, "scratch", "upon"), "lora")
    facts = json.loads((runs / "scratch/upon/baselines/lora/adapted.json").read_text())
    assert facts["model"] == "scratch/other:pretrain"
    assert facts["lora_layers"] == [f"model.layers.0.self_attn.{one}_proj" for one in "qv"]


def test_an_answer_ends_where_another_example_would_begin():
    assert answer_of(" 2 + 3\n#### 5\n\nQuestion: 1?\nAnswer: #### 7") == "2 + 3\n#### 5"
    assert answer_of("\n\n said\n") == "said"


def test_the_runs_own_decoder_answers_the_same_items_under_the_same_protocol(runs: Path):
    """What it was not trained for: greedy text whose first label word counts."""
    model = pretrained_toys.make_folder("gpt2", runs / "own")
    entry = f"{{probe: {{model: {{name: {model}}}, method: {{kind: probe}}, max_steps: 1, "
    entry += "batch_size: 4, max_tokens: 250, optim: {learning_rate: 0.001}}}"
    given = [*tiny.OVERRIDES, "~baselines", "model.context_tokens=256", "evaluate.splits=[test]"]
    given += ["sft=null", "dpo=null", "verifier=null"]
    given += [f"+baselines={{task: reviews, data: {STORIES}, adapt: {entry}}}"]
    made = lmlab.run("scratch/lora_sst2", *given, name="both")
    run = made.reference.run
    own = records(run, "trained", "accuracy")
    assert records(run, "untrained", "accuracy")[0].weights != own[0].weights
    [theirs] = records(run, "probe", "accuracy")
    assert [one.protocol_hash for one in own] == [theirs.protocol_hash]
    assert own[0].at == {
        "split": "test",
        "task": "reviews",
        "num_shots": 0,
        "answer": "greedy text",
    }
    [perplexity] = records(run, "trained", "word_perplexity")
    assert own[0].weights == perplexity.weights
    stages = read_items(run.results().items_path("stages"))
    others = read_items(run.results().items_path("baselines"))
    of_trained = stages[(stages["metric"] == "accuracy") & (stages["arm"] == "trained")]
    mine = of_trained["item_id"].tolist()
    assert mine == others[others["arm"] == "probe"]["item_id"].tolist()
    table = run.results().export("prompting_baseline_results.csv").read_text()
    rows = {one["model"]: one for one in csv.DictReader(table.splitlines())}
    assert set(rows) == {"untrained", "trained"}
    assert float(rows["trained"]["accuracy"]) == own[0].value
    assert rows["trained"]["macro_f1"] != "" != rows["trained"]["num_unparsable"]
    others_table = run.results().export("reviews_eval_metrics.csv").read_text()
    assert "baselines/probe/step_00000001" in others_table
    errors = json.loads(run.results().export("reviews_misclassified.json").read_text())
    told = {one["checkpoint"]: one["step"] for one in errors}
    assert told.keys() & {"pretrain/step_00000012", "pretrain/step_00000000"}
    for name, step in told.items():
        assert (step == "evaluate") == name.startswith("pretrain/")
