"""Tests of token shards and packed rows, against a loop over the documents."""

import json
import random
from itertools import pairwise

import numpy as np
import pytest

from lmlab.data.pack import NO_TARGET, PackedRows, write_tokens
from lmlab.data.tokenizer import train_bpe, wrap_tokenizer

WORDS = ["the", "mill", "stood", "by", "a", "brown", "river", "and", "Anna", "12", "loaves", "🙂"]


@pytest.fixture(scope="module")
def documents():
    draw = random.Random(3)
    return [" ".join(draw.choices(WORDS, k=draw.randrange(0, 30))) for _ in range(60)]


@pytest.fixture(scope="module")
def tokenizer(documents):
    return wrap_tokenizer(train_bpe(documents, vocab_size=300), roles={})


def _stream(documents, *, tokenizer, bos):
    """(token, document, is it the first of its document) of the whole stream, one at a time."""
    stream = []
    for number, document in enumerate(documents):
        ids = [*tokenizer.encode(document), tokenizer.eos_id]
        if bos:
            ids = [tokenizer.bos_id, *ids]
        stream += [(token, number, at == 0) for at, token in enumerate(ids)]
    return stream


def _slow_row(stream, *, row, context_tokens, bos, across_documents):
    """One row by the definition: tokens, targets, documents."""
    tokens, targets, documents = [], [], []
    for at in range(row * context_tokens, (row + 1) * context_tokens):
        (token, document, _), (following, _, begins) = stream[at], stream[at + 1]
        unpredicted = begins and (bos or not across_documents)
        tokens.append(token)
        targets.append(NO_TARGET if unpredicted else following)
        documents.append(0 if across_documents else document - stream[row * context_tokens][1])
    return tokens, targets, documents


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("across_documents", [False, True])
def test_rows_equal_a_loop_over_the_documents(
    tmp_path, documents, tokenizer, bos, across_documents
):
    write_tokens(tmp_path / "train", documents, tokenizer=tokenizer, bos=bos)
    rows = PackedRows(tmp_path / "train", context_tokens=16, across_documents=across_documents)
    stream = _stream(documents, tokenizer=tokenizer, bos=bos)
    order = np.random.default_rng(0).permutation(len(rows))
    batch = rows.fetch(order, 0)
    for place, row in enumerate(order.tolist()):
        expected = _slow_row(
            stream, row=row, context_tokens=16, bos=bos, across_documents=across_documents
        )
        found = tuple(batch[name][place].tolist() for name in ("tokens", "targets", "documents"))
        assert found == expected


@pytest.mark.parametrize("bos", [False, True])
def test_every_predictable_token_is_a_target_once_up_to_the_tail(
    tmp_path, documents, tokenizer, bos
):
    write_tokens(tmp_path / "train", documents, tokenizer=tokenizer, bos=bos)
    rows = PackedRows(tmp_path / "train", context_tokens=16, across_documents=False)
    targets = rows.fetch(np.arange(len(rows)), 0)["targets"].flatten().tolist()
    stream = _stream(documents, tokenizer=tokenizer, bos=bos)
    kept = stream[1 : len(stream) - rows.tail_tokens]
    assert rows.tail_tokens == (len(stream) - 1) % 16
    assert [one for one in targets if one != NO_TARGET] == [
        token for token, _, begins in kept if not begins
    ]


def test_a_shard_decodes_to_its_documents(tmp_path, documents, tokenizer):
    header = write_tokens(tmp_path / "train", documents, tokenizer=tokenizer, bos=False)
    stream = np.fromfile(tmp_path / "train.bin", dtype=header.dtype)
    bounds = [*header.starts, header.num_tokens]
    pieces = [stream[a : b - 1] for a, b in pairwise(bounds)]
    assert [tokenizer.decode(piece.tolist()) for piece in pieces] == documents
    assert all(stream[end - 1] == tokenizer.eos_id for end in bounds[1:])


def test_an_intact_shard_is_reused_and_any_other_is_written_again(tmp_path, documents, tokenizer):
    path = tmp_path / "train"
    first = write_tokens(path, documents, tokenizer=tokenizer, bos=False)
    content, stamp = (tmp_path / "train.bin").read_bytes(), (tmp_path / "train.bin").stat()
    assert write_tokens(path, documents, tokenizer=tokenizer, bos=False) == first
    assert (tmp_path / "train.bin").stat().st_ino == stamp.st_ino

    (tmp_path / "train.bin").write_bytes(b"\x00" + content[1:])
    write_tokens(path, documents, tokenizer=tokenizer, bos=False)
    assert (tmp_path / "train.bin").read_bytes() == content

    (tmp_path / "train.json").write_text((tmp_path / "train.json").read_text()[:40])
    assert write_tokens(path, documents, tokenizer=tokenizer, bos=False) == first

    assert write_tokens(path, documents[1:], tokenizer=tokenizer, bos=False) != first
    assert sorted(one.name for one in tmp_path.iterdir()) == ["train.bin", "train.json"]


def test_the_same_text_cut_elsewhere_is_another_shard(tmp_path, tokenizer):
    one = write_tokens(tmp_path / "a", ["the mill", " stood"], tokenizer=tokenizer, bos=False)
    other = write_tokens(tmp_path / "a", ["the mill stood"], tokenizer=tokenizer, bos=False)
    assert one.text_sha256 != other.text_sha256


def test_another_tokenizer_makes_another_shard(tmp_path, documents, tokenizer):
    other = wrap_tokenizer(train_bpe(documents, vocab_size=280), roles={})
    write_tokens(tmp_path / "a", documents, tokenizer=tokenizer, bos=False)
    header = write_tokens(tmp_path / "a", documents, tokenizer=other, bos=False)
    assert header.tokenizer_sha256 == other.sha256


def test_a_damaged_shard_is_refused(tmp_path, documents, tokenizer):
    write_tokens(tmp_path / "train", documents, tokenizer=tokenizer, bos=False)
    content = (tmp_path / "train.bin").read_bytes()
    for damaged in (content[:-2], b"\x01" + content[1:]):
        (tmp_path / "train.bin").write_bytes(damaged)
        with pytest.raises(ValueError, match="no intact shard"):
            PackedRows(tmp_path / "train", context_tokens=8, across_documents=True)
    header = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.bin").write_bytes(content)
    (tmp_path / "train.json").write_text(json.dumps(header | {"version": 99}))
    with pytest.raises(ValueError, match="no intact shard"):
        PackedRows(tmp_path / "train", context_tokens=8, across_documents=True)


def test_too_little_text_for_a_row_is_an_error(tmp_path, tokenizer):
    write_tokens(tmp_path / "a", ["the mill"], tokenizer=tokenizer, bos=False)
    with pytest.raises(ValueError, match="too few for one row of 64"):
        PackedRows(tmp_path / "a", context_tokens=64, across_documents=True)


def test_bos_needs_a_tokenizer_that_has_one(tmp_path, documents):
    inner = train_bpe(documents, vocab_size=300)
    tokenizer = wrap_tokenizer(inner, roles={"eos_token": "<eos>"})
    without = tokenizer.__class__(
        inner=inner, bos_id=None, eos_id=1, pad_id=None, vocab_size=300, sha256="0"
    )
    with pytest.raises(ValueError, match="no begin-of-text token"):
        write_tokens(tmp_path / "a", documents, tokenizer=without, bos=True)
