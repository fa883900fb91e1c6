"""The scratch study end to end, small: complete records, right numbers, nothing done twice."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

import lmlab
from lmlab.data.pack import NO_TARGET
from lmlab.data.schema import Files
from lmlab.data.text import TextSplit, load_documents
from lmlab.data.tokenizer import save_tokenizer, train_bpe, wrap_tokenizer
from lmlab.engine.checkpoint import find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.items import read_items
from lmlab.engine.records import Record
from lmlab.engine.weights import weights_hash
from lmlab.launch.local import Options, choose_run, start
from lmlab.launch.notebook import Opened
from lmlab.metrics.ngrams import NgramModel, fit_ngrams, word_vocabulary
from lmlab.metrics.protocols import PerplexityProtocol
from lmlab.models.decoder import Decoder
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.evaluate import Setting, measure_arms
from lmlab.studies.scratch.model import LanguageModeling
from lmlab.studies.scratch.overlap import contamination_records, measure_contamination
from lmlab.studies.scratch.prepare import load_prepared, load_training_text

ARMS = {"trained", "untrained", "unigram", "5-gram"}
METRICS = {"word_perplexity", "token_perplexity", "bits_per_byte"}
# What no other evaluation may touch.
RESULTS = ("config.yaml", "data/", "tokenizer/", "pretrain/", "results.jsonl", "items/", "exports/")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("DEV_MODE", raising=False)
        yield lmlab.run(tiny.PRESET, *tiny.OVERRIDES, name="tiny")


@pytest.fixture(scope="module")
def setting(made: Opened) -> Setting:
    """What its evaluation measured with."""
    run, config = made.reference.run, made.config
    assert isinstance(config, Config)
    prepared = load_prepared(run)
    return Setting(config, run, prepared, prepared.tokenizer, made.model().trained)


def test_every_arm_has_every_figure_with_its_interval_protocol_and_weights(made: Opened):
    records = [one for one in made.records() if not is_overlap(one)]
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
    scored = value(made, "trained")
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


def test_a_test_text_among_the_trained_ones_is_told_and_without_it_nothing_is(setting: Setting):
    config = setting.config
    files = Files(kind="files", train=("a.txt",), test=("b.txt",))
    test = load_documents(config.data, "test")
    train = load_documents(config.data, "train")
    clean = measure_contamination(files, "test", test, train)
    planted = replace(train, documents=[*train.documents[1:], test.documents[3]])
    found = measure_contamination(files, "test", test, planted)
    assert np.flatnonzero(found.documents).tolist() == [3]
    assert not clean.documents.any()
    more = found.pieces.overlap.shared - clean.pieces.overlap.shared
    assert found.pieces.overlap.shared[3] == found.pieces.overlap.pieces[3]
    assert more[3] > 0
    records = contamination_records(found, config, setting.run, data={"test": "0"})
    assert [(one.metric, one.value) for one in records] == [
        ("overlap_13gram_share", found.pieces.overlap.share),
        ("overlap_document_share", 0.1),
    ]


def test_texts_too_short_for_an_ngram_are_told_by_their_documents_alone(setting: Setting):
    text = replace(load_documents(setting.config.data, "test"), documents=["one", "two words"])
    files = Files(kind="files", train=("a.txt",), test=("b.txt",))
    found = measure_contamination(files, "test", text, replace(text, documents=["Two words."]))
    [record] = contamination_records(found, setting.config, setting.run, data={"test": "0"})
    assert (record.metric, record.value) == ("overlap_document_share", 0.5)


def test_a_training_text_that_is_another_by_now_is_refused(setting: Setting):
    assert load_training_text(setting.config, setting.prepared).split == "train"
    other = replace(setting.prepared, sha256={**setting.prepared.sha256, "train": "0" * 64})
    with pytest.raises(ValueError, match="training text of stories is another"):
        load_training_text(setting.config, other)


def test_ngram_models_are_fitted_once_however_many_texts_they_score(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
):
    fitted: list[int] = []

    def counting(ids: np.ndarray, *, order: int, vocab_size: int) -> NgramModel:
        fitted.append(order)
        return fit_ngrams(ids, order=order, vocab_size=vocab_size)

    monkeypatch.setattr("lmlab.studies.scratch.evaluate.fit_ngrams", counting)
    again = replace(setting)
    for split in ("validation", "test"):
        measure_arms(again, load_documents(setting.config.data, split))
    assert fitted == [1, 5]


def test_the_weights_of_a_record_are_those_of_the_checkpoint_and_of_the_start(made: Opened):
    checkpoint = find(made.reference.run.part("pretrain").checkpoints, "last")
    hashed = weights_hash(load_file(checkpoint / "model.safetensors"))
    assert hashed == verify(checkpoint)["identity"]["weights"]
    assert value(made, "trained").weights == {"decoder": hashed}
    assert value(made, "trained").training_step == 12
    untrained = value(made, "untrained")
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
    [shorter] = [one for one in other.records() if one.arm == "trained" and is_word(one)]
    assert shorter.protocol["window_tokens"] == 16
    assert shorter.value != value(made, "trained").value
    assert shorter.weights == value(made, "trained").weights
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
    assert value(none, "trained").value == value(none, "untrained").value
    assert value(none, "trained").weights == value(made, "untrained").weights


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


def test_a_perplexity_equals_a_slow_loop_over_targets_in_float64(made: Opened, setting: Setting):
    """Windows of 64: the first scores 64 targets, each later one 32, with 64 tokens read."""
    text = load_documents(setting.config.data, "test")
    model = setting.trained.model.double()
    totals = [slow_nll(model, ids, window=64, stride=32) for ids in opening_with_bos(setting, text)]
    setting.trained.model.float()
    words = sum(len(document.split()) for document in text.documents)
    size = sum(len(document.encode()) for document in text.documents)
    targets = sum(len(ids) - 1 for ids in opening_with_bos(setting, text))
    found = {one.metric: one.value for one in made.records() if one.arm == "trained"}
    assert math.log(found["word_perplexity"]) == pytest.approx(sum(totals) / words, rel=1e-6)
    assert math.log(found["token_perplexity"]) == pytest.approx(sum(totals) / targets, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(sum(totals) / size / math.log(2), rel=1e-6)


def test_a_document_shorter_than_the_context_is_read_whole_after_bos(setting: Setting):
    whole = load_documents(setting.config.data, "test")
    text = replace(whole, documents=[one[: 20 + at] for at, one in enumerate(whole.documents)])
    trained, *_ = measure_arms(setting, text)
    model = setting.trained.model.double()
    expected = [
        slow_nll(model, ids, window=64, stride=64) for ids in opening_with_bos(setting, text)
    ]
    setting.trained.model.float()
    np.testing.assert_allclose(trained.perplexity.nll, expected, rtol=1e-5)
    assert trained.perplexity.num_tokens.sum() == sum(
        len(ids) - 1 for ids in opening_with_bos(setting, text)
    )


def test_word_ngrams_are_those_of_the_training_text(setting: Setting):
    train = load_documents(setting.config.data, "train")
    text = replace(train, documents=train.documents[:3], split="test")
    words = setting.config.evaluate.model_copy(update={"ngram_unit": "word"})
    config = setting.config.model_copy(update={"evaluate": words})
    arms = measure_arms(replace(setting, config=config), text)
    vocabulary = word_vocabulary(train.text)
    for arm, order in zip(arms[2:], (1, 5), strict=True):
        model = fit_ngrams(
            vocabulary.encode(train.text), order=order, vocab_size=len(vocabulary.ids)
        )
        direct = [model.nll(vocabulary.encode(one)).sum() for one in text.documents]
        np.testing.assert_allclose(arm.perplexity.nll, direct, rtol=1e-12)
        assert arm.protocol.unit == "word"
        assert arm.protocol.tokenizer == vocabulary.hash


def test_token_ngrams_are_those_of_the_training_shard(made: Opened, setting: Setting):
    text = load_documents(setting.config.data, "test")
    train = load_documents(setting.config.data, "train")
    tokenizer = setting.tokenizer
    assert tokenizer.bos_id is not None
    ids = [
        one
        for document in train.documents
        for one in [tokenizer.bos_id, *tokenizer.encode(document), tokenizer.eos_id]
    ]
    for name, order in (("unigram", 1), ("5-gram", 5)):
        model = fit_ngrams(np.array(ids), order=order, vocab_size=tokenizer.vocab_size)
        nll = sum(
            model.nll(np.array(tokenizer.encode(one), np.int64)).sum() for one in text.documents
        )
        words = sum(len(one.split()) for one in text.documents)
        assert value(made, name).value == pytest.approx(math.exp(nll / words), rel=1e-9)


def test_the_validation_loss_is_a_mean_over_targets_and_not_over_batches(setting: Setting):
    rows = setting.prepared.rows("validation", context_tokens=64, across_documents=False)
    model = setting.trained.model
    objective = LanguageModeling(model, rows, batch_size=48, packed_apart=True)
    total, count = 0.0, 0
    with torch.inference_mode():
        for index in range(len(rows)):
            row = rows.fetch(np.array([index]), 0)
            logits = model(row["tokens"], documents=row["documents"]).double().log_softmax(-1)
            for place, target in enumerate(row["targets"][0].tolist()):
                if target != NO_TARGET:
                    total, count = total - logits[0, place, target].item(), count + 1
        found = objective.evaluate()
    assert len(rows) % 48
    assert found["validation/loss"] == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("apart", [True, False])
def test_only_packed_apart_keeps_documents_from_seeing_each_other(setting: Setting, apart: bool):
    rows = setting.prepared.rows("train", context_tokens=64, across_documents=False)
    batch = next(
        row
        for row in (rows.fetch(np.array([index]), 0) for index in range(len(rows)))
        if 20 < int((row["documents"] == 0).sum()) < 44
    )
    first = batch["documents"] == 0
    batch["targets"] = batch["targets"].masked_fill(first, NO_TARGET)
    changed = batch | {"tokens": torch.where(first, batch["tokens"] + 1, batch["tokens"]) % 300}
    objective = LanguageModeling(setting.trained.model, None, batch_size=1, packed_apart=apart)
    generator = torch.Generator()
    sums = [
        objective.losses(one, step=0, generator=generator)["nll"].sum.item()
        for one in (batch, changed)
    ]
    assert (sums[0] == sums[1]) == apart


def test_a_document_packed_apart_costs_what_it_costs_alone(setting: Setting):
    rows = setting.prepared.rows("train", context_tokens=64, across_documents=False)
    ids = [i for i in range(len(rows)) if rows.fetch(np.array([i]), 0)["documents"].max() == 1][:5]
    model = setting.trained.model
    objective = LanguageModeling(model, None, batch_size=1, packed_apart=True)
    for row in (rows.fetch(np.array([index]), 0) for index in ids):
        packed = objective.losses(row, step=0, generator=torch.Generator())["nll"].sum.item()
        alone = 0.0
        for document in (0, 1):
            of_it = row["documents"][0] == document
            logits = model(row["tokens"][:, of_it])[0]
            alone += torch.nn.functional.cross_entropy(
                logits, row["targets"][0, of_it], ignore_index=NO_TARGET, reduction="sum"
            ).item()
        assert packed == pytest.approx(alone, rel=1e-5)


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
    [row] = json.loads(run.results().export("lm_generation_samples.json").read_text())
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


def value(made: Opened, arm: str) -> Record:
    """The word perplexity of an arm under the run's own settings."""
    own = made.reference.run.results().records()
    [found] = [one for one in own if one.arm == arm and is_word(one)]
    return found


def is_overlap(record: Record) -> bool:
    """Whether it is of the data rather than of a model."""
    return record.metric.startswith("overlap_")


def is_word(record: Record) -> bool:
    """Whether it is the figure that compares everything."""
    return record.metric == "word_perplexity"


def opening_with_bos(setting: Setting, text: TextSplit) -> list[list[int]]:
    """Ids of each document after BOS."""
    tokenizer = setting.tokenizer
    assert tokenizer.bos_id is not None
    return [[tokenizer.bos_id, *tokenizer.encode(one)] for one in text.documents]


@torch.inference_mode()
def slow_nll(model: Decoder, ids: list[int], *, window: int, stride: int) -> float:
    """NLL of every id but the first, a window at a time, in the model's own precision."""
    total, first = 0.0, 1
    while first < len(ids):
        last = min(first + (window if first == 1 else stride), len(ids))
        begin = max(0, last - 1 - window)
        log_p = model(torch.tensor([ids[begin : last - 1]]))[0].log_softmax(-1)
        for place in range(first, last):
            total -= log_p[place - 1 - begin, ids[place]].item()
        first = last
    return total
