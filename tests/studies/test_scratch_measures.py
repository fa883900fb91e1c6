"""What the scratch study measures: losses, perplexities, n-grams and overlaps, by other means."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import word_perplexity

from lmlab.data.pack import NO_TARGET
from lmlab.data.schema import Files
from lmlab.data.text import TextSplit, load_documents
from lmlab.launch.notebook import Opened
from lmlab.metrics.ngrams import NgramModel, fit_ngrams, word_vocabulary
from lmlab.models.decoder import Decoder
from lmlab.studies.scratch.model import LanguageModeling
from lmlab.studies.scratch.overlap import contamination_records, measure_contamination
from lmlab.studies.scratch.perplexity import measure_arms
from lmlab.studies.scratch.prepare import load_training_text
from lmlab.studies.scratch.setting import Setting


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

    monkeypatch.setattr("lmlab.studies.scratch.setting.fit_ngrams", counting)
    again = replace(setting)
    for split in ("validation", "test"):
        measure_arms(again, load_documents(setting.config.data, split))
    assert fitted == [1, 5]


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
        assert word_perplexity(made, name).value == pytest.approx(math.exp(nll / words), rel=1e-9)


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
