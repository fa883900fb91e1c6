"""The scratch study end to end, small: complete records, nothing done twice, the same elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from tiny import word_perplexity
from transformers import AutoTokenizer, LlamaForCausalLM

import lmlab
from lmlab.data.text import load_documents
from lmlab.data.tokenizer import save_tokenizer, train_bpe, wrap_tokenizer
from lmlab.engine.checkpoint import find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.items import read_items
from lmlab.engine.records import Record
from lmlab.engine.weights import weights_hash
from lmlab.evidence.gates.grammar import load_gates
from lmlab.evidence.gates.judge import judge_gates
from lmlab.launch.local import Options, choose_run, start
from lmlab.launch.notebook import Opened
from lmlab.metrics.protocols import PerplexityProtocol
from lmlab.studies.scratch.setting import Setting

ARMS = {"trained", "untrained", "unigram", "5-gram"}
METRICS = {"word_perplexity", "token_perplexity", "bits_per_byte"}
# What no other evaluation may touch.
RESULTS = ("config.yaml", "data/", "tokenizer/", "pretrain/", "results.jsonl", "items/", "exports/")


def test_every_arm_has_every_figure_with_its_interval_protocol_and_weights(made: Opened):
    records = [one for one in made.records() if one.metric in METRICS and one.arm in ARMS]
    assert {(one.arm, one.metric) for one in records} == {(a, m) for a in ARMS for m in METRICS}
    every = {*PerplexityProtocol.model_fields, "scored"}
    for one in records:
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]
        shared = every if one.metric == "token_perplexity" else every - {"tokenizer", "unit"}
        assert set(one.protocol) == shared
        assert (one.n, one.n_error, one.data_kind, one.at) == (
            10,
            0,
            "generated",
            {"split": "test"},
        )
        assert set(one.data) == {"train", "validation", "test", "tokenizer"}
        assert one.weightless == (not one.weights) == (one.arm in ("unigram", "5-gram"))


def test_beside_each_figure_stands_what_of_its_text_was_trained_on(made: Opened):
    found = {one.metric: one for one in made.records() if is_overlap(one)}
    assert set(found) == {"overlap_fact_share", "overlap_document_share"}
    scored = word_perplexity(made, "trained")
    for one in found.values():
        assert one.at == scored.at
        assert one.data == {name: scored.data[name] for name in ("train", "validation", "test")}
        assert (one.arm, one.weightless, one.n) == ("training text", True, 10)
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]
    assert found["overlap_document_share"].value == 0
    items = read_items(made.reference.run.results().items_path("test_overlap"))
    assert found["overlap_fact_share"].value == items["value"].sum() / items["weight"].sum()
    nll = read_items(made.reference.run.results().items_path("test_nll"))
    assert items["item_id"].tolist() == nll[nll["arm"] == "trained"]["item_id"].tolist()


def test_gates_of_stages_do_not_apply_to_a_run_without_them(made: Opened):
    judged = judge_gates(load_gates("scratch"), [made.reference.run])
    asked = {"beats_untrained", "beats_unigram", "keeps_up_with_5gram", "beats_5gram"}
    assert {one.gate for one in judged if one.applies} == asked
    for one in judged:
        assert (one.verdict == "not_run") == (not one.applies)


def test_the_weights_of_a_record_are_those_of_the_checkpoint_and_of_the_start(made: Opened):
    checkpoint = find(made.reference.run.part("pretrain").checkpoints, "last")
    hashed = weights_hash(load_file(checkpoint / "model.safetensors"))
    assert hashed == verify(checkpoint)["identity"]["weights"]
    assert word_perplexity(made, "trained").weights == {"decoder": hashed}
    assert word_perplexity(made, "trained").training_step == 12
    untrained = word_perplexity(made, "untrained")
    assert untrained.training_step == 0
    assert untrained.weights != {"decoder": hashed}


def test_a_finished_run_started_again_changes_nothing(made: Opened):
    folder = made.reference.run.folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}, tiny.contents(folder)
    assert lmlab.run(tiny.PRESET, *tiny.OVERRIDES).reference == made.reference
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}, tiny.contents(folder)
    assert after == before


def test_another_evaluation_adds_a_result_set_and_touches_nothing_else(made: Opened):
    run = made.reference.run
    before, records = tiny.contents(run.folder, *RESULTS), made.records()
    again = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, "evaluate.window_tokens=16")
    assert again.reference == made.reference
    assert tiny.contents(run.folder, *RESULTS) == before
    own, other = run.all_results()
    assert own.records() == records
    assert other.folder.parent == run.folder / "evaluations"
    [shorter] = [
        one for one in other.records() if one.arm == "trained" and one.metric == "word_perplexity"
    ]
    assert shorter.protocol["window_tokens"] == 16
    assert shorter.value != word_perplexity(made, "trained").value
    assert shorter.weights == word_perplexity(made, "trained").weights
    shutil.rmtree(other.folder)


def test_another_training_under_the_same_name_is_refused_with_the_field(made: Opened):
    with pytest.raises(
        ValueError, match=r"pretrain: pretrain\.max_steps \(12 -> 13\)\. Take anoth"
    ):
        lmlab.run(tiny.PRESET, *tiny.OVERRIDES, "pretrain.max_steps=13", name="tiny")


def test_a_training_of_no_steps_is_another_run_that_scores_as_its_control(made: Opened):
    no_steps = ("pretrain.max_steps=0", "pretrain.optim.schedule.warmup=0")
    none = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, *no_steps)
    assert none.reference.run.name != made.reference.run.name
    assert word_perplexity(none, "trained").value == word_perplexity(none, "untrained").value
    assert word_perplexity(none, "trained").weights == word_perplexity(made, "untrained").weights


def test_a_step_is_done_again_with_the_same_numbers(made: Opened):
    run, records = made.reference.run, made.records()
    run.results().replace("evaluate", [])
    resolved, options = load_preset(tiny.PRESET, tiny.OVERRIDES), Options(redo="evaluate")
    start(resolved, choose_run(resolved, options), options)
    assert run.status()["steps"]["evaluate"]["attempt"] == 2
    assert run.status()["steps"]["pretrain"]["attempt"] == 1
    assert [(one.id, one.value, one.interval) for one in made.records()] == [
        (one.id, one.value, one.interval) for one in records
    ]


def test_an_exported_run_has_the_same_logits_in_transformers(made: Opened, tmp_path: Path):
    ours = made.model()
    theirs = LlamaForCausalLM.from_pretrained(ours.export(tmp_path / "model")).eval()
    tokens = torch.randint(3, 300, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (theirs(tokens).logits - ours.model(tokens)).abs().max() <= 1e-5


def test_an_exported_run_writes_the_same_greedy_text_in_transformers(made: Opened, tmp_path: Path):
    """With other weights: after twelve steps every prompt ends in the same letter."""
    ours = made.model()
    for name, parameter in ours.model.named_parameters():
        generator = torch.Generator().manual_seed(len(name))
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    theirs = LlamaForCausalLM.from_pretrained(ours.export(tmp_path / "model")).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    for prompt in ("Once upon a time", "In the market"):
        ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        tokens = torch.tensor([ids])
        generated = theirs.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=20, do_sample=False
        )[0]
        assert len(set(generated.tolist()[len(ids) :])) > 10
        greedy = {"temperature": 0, "max_new_tokens": 20}
        said = ours.continue_prompt(prompt, settings=greedy, seed=0)
        assert said == tokenizer.decode(generated, skip_special_tokens=True)


def test_the_samples_are_what_the_seed_gives(made: Opened):
    run, model = made.reference.run, made.model()
    rows = json.loads(run.results().export("lm_generation_samples.json").read_text())
    row = rows[-1]
    assert row["checkpoint_sha256"] == model.trained.weights
    prompt = next(iter(row["samples"]))
    again = model.continue_prompt(prompt, settings=row["settings"], seed=row["seed"])
    assert again == prompt + row["samples"][prompt]
    other = model.continue_prompt(prompt, settings=row["settings"], seed=row["seed"] + 1)
    assert other != again


@pytest.mark.parametrize("vocab_size", [300, 280])
def test_a_tokenizer_put_in_the_place_of_the_runs_own_is_refused(
    made: Opened, setting: Setting, tmp_path: Path, vocab_size: int
):
    """Of another size, or of the same: its ids would mean other words."""
    place = made.reference.run.folder / "tokenizer"
    kept = place.rename(tmp_path / "kept")
    text = load_documents(setting.config.data, "train")
    other = train_bpe([one.upper() for one in text.documents], vocab_size=vocab_size)
    save_tokenizer(wrap_tokenizer(other, roles={}), place)
    try:
        with pytest.raises(ValueError, match=rf"another tokenizer \({vocab_size} .*\(300 tokens"):
            made.model()
    finally:
        shutil.rmtree(place)
        kept.rename(place)


def test_a_sample_longer_than_the_context_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="max_new_tokens=64 leaves no room for a prompt"):
        load_preset(tiny.PRESET, [*tiny.OVERRIDES, "evaluate.sampling.max_new_tokens=64"])


def is_overlap(record: Record) -> bool:
    """Whether it is of the data rather than of a model."""
    return record.metric.startswith("overlap_")
