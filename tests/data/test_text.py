"""Tests of text sources: what each gives, byte for byte, and what it says when it cannot."""

import gzip
import hashlib
import lzma
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from pydantic import TypeAdapter

from lmlab.data.schema import TextConfig
from lmlab.data.sources import SOURCES
from lmlab.data.text import Draw, draw_mixture, load_documents

ARTICLES = (
    " \n = Otter = \n \n An otter swims . \n \n = = Food = = \n \n It eats fish . \n = 2 / 3 = \n"
    " \n = Mill ( river ) = \n \n A mill <unk> . \n \n"
)


def _config(**values):
    return TypeAdapter(TextConfig).validate_python(values)


def _named(name, **values):
    return _config(kind="named", name=name, **values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a small WikiText in it."""
    (tmp_path / "wikitext-2").mkdir()
    for short in ("train", "valid", "test"):
        (tmp_path / "wikitext-2" / f"{short}.txt").write_text(ARTICLES)
    monkeypatch.setenv("LMLAB_DATA", str(tmp_path))
    return tmp_path


def test_documents_of_wikitext_are_its_articles_and_joined_the_file(folder):
    found = load_documents(_named("wikitext2"), "train")
    assert [document.split("\n")[1] for document in found.documents] == [
        " = Otter = ",
        " = Mill ( river ) = ",
    ]
    assert found.text == ARTICLES
    assert found.sha256 == hashlib.sha256(ARTICLES.encode()).hexdigest()


@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_compressed_file_is_read_like_the_plain_one(folder, suffix, compress):
    plain = load_documents(_named("wikitext2"), "test")
    (folder / "wikitext-2" / "test.txt").unlink()
    (folder / "wikitext-2" / f"test.txt{suffix}").write_bytes(compress(ARTICLES.encode()))
    assert load_documents(_named("wikitext2"), "test") == plain


def test_a_saved_data_set_gives_the_same_text_as_the_file(folder):
    plain = load_documents(_named("wikitext2"), "train")
    rows = ["" if line == " \n" else line for line in ARTICLES.splitlines(keepends=True)]
    for path in (folder / "wikitext-2").iterdir():
        path.unlink()
    table = datasets.Dataset.from_dict({"text": rows})
    datasets.DatasetDict({"train": table}).save_to_disk(str(folder / "wikitext2"))
    assert load_documents(_named("wikitext2"), "train") == plain
    with pytest.raises(ValueError, match="has no split 'test'"):
        load_documents(_named("wikitext2"), "test")


def test_saved_documents_are_limited_and_cut_into_splits(folder):
    texts = [f"page {number}" for number in range(5_003)]
    table = datasets.Dataset.from_dict({"text": texts})
    datasets.DatasetDict({"train": table}).save_to_disk(str(folder / "openwebtext"))
    config = _named("openwebtext", max_documents=2)
    assert load_documents(config, "train").documents == ["page 5000", "page 5001"]
    assert load_documents(config, "validation").documents == ["page 0", "page 1"]


def test_json_lines_keep_odd_line_separators(folder):
    (folder / "openwebtext").mkdir()
    (folder / "openwebtext" / "a.jsonl").write_text('{"text": "a\u2028b"}\n{"text": "c\\nd"}\n')
    found = load_documents(_named("openwebtext"), "validation")
    assert found.documents == ["a\u2028b", "c\nd"]
    (folder / "openwebtext" / "a.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl:2 is no JSON object with a field 'text'"):
        load_documents(_named("openwebtext"), "validation")


def test_every_row_of_the_register_is_complete():
    for name, source in SOURCES.items():
        assert name == source.name
        assert source.licence
        assert set(source.splits) <= {"train", "validation", "test"}
        assert all(split.files or split.hub for split in source.splits.values())
        assert (source.hub_id is not None) == any(one.hub for one in source.splits.values())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean wikitext2"):
        load_documents(_named("wikitxt2"), "train")


def test_a_split_that_does_not_exist_is_an_error(folder):
    with pytest.raises(ValueError, match="openwebtext has no split 'test'; it has train, valid"):
        load_documents(_named("openwebtext"), "test")
    with pytest.raises(ValueError, match="no split is named 'valid'"):
        load_documents(_named("wikitext2"), "valid")


def test_a_missing_or_empty_data_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("LMLAB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="is empty"):
        load_documents(_named("wikitext2"), "train")
    monkeypatch.setenv("LMLAB_DATA", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="does not exist"):
        load_documents(_named("wikitext2"), "train")
    (tmp_path / "file").write_text("a")
    monkeypatch.setenv("LMLAB_DATA", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="is a file"):
        load_documents(_named("wikitext2"), "train")


def test_an_unreadable_file_is_an_error_that_names_it(folder):
    path = folder / "wikitext-2" / "train.txt"
    path.unlink()
    path.symlink_to(folder / "nowhere")
    with pytest.raises(ValueError, match=r"train\.txt cannot be read .*No such file"):
        load_documents(_named("wikitext2"), "train")
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"train\.txt cannot be read .*directory"):
        load_documents(_named("wikitext2"), "train")


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_a_cut_archive_is_an_error_that_names_it(folder, suffix):
    content = {".xz": lzma.compress, ".gz": gzip.compress}[suffix](ARTICLES.encode())
    (folder / "wikitext-2" / "train.txt").unlink()
    (folder / "wikitext-2" / f"train.txt{suffix}").write_bytes(content[:-9])
    with pytest.raises(ValueError, match="cannot be read"):
        load_documents(_named("wikitext2"), "train")


def test_an_empty_file_is_an_error(folder):
    (folder / "wikitext-2" / "train.txt").write_text("")
    with pytest.raises(ValueError, match=r"train\.txt is empty"):
        load_documents(_named("wikitext2"), "train")


def test_a_file_that_is_not_utf_8_is_an_error_with_the_byte(folder):
    (folder / "wikitext-2" / "train.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(ValueError, match=r"train\.txt is not UTF-8: byte 3 is 0xe9"):
        load_documents(_named("wikitext2"), "train")


def test_a_set_found_nowhere_says_where_it_was_looked_for(folder):
    code = (
        "from lmlab.data.named import source_documents; from lmlab.data.sources import SOURCES;"
        "source_documents(SOURCES['wikitext103'], 'train', limit=None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    message = done.stderr.splitlines()[-1]
    assert f"{folder} holds none of wikitext-103/train.txt" in message
    assert "the hub gave no train split of Salesforce/wikitext (wikitext-103-v1)" in message


def test_a_set_that_is_not_on_the_hub_says_so(folder):
    with pytest.raises(
        ValueError, match=r"c4_demo: .* holds none of .*; this set is not on the hub"
    ):
        load_documents(_named("c4_demo"), "train")


def test_own_files_are_documents_and_blank_lines_can_cut_them(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\n\n\ntwo\n\n")
    (tmp_path / "b.txt").write_bytes(b"three")
    whole = load_documents(_config(kind="files", train=[str(tmp_path / "*.txt")]), "train")
    assert whole.documents == ["one\r\n\n\ntwo\n\n", "three"]
    cut = load_documents(
        _config(kind="files", train=[str(tmp_path / "*.txt")], document="blank_lines"), "train"
    )
    assert cut.documents == ["one\r\n\n\n", "two\n\n", "three"]
    assert cut.text == whole.text


def test_own_files_that_are_missing_are_an_error(tmp_path):
    config = _config(kind="files", train=[str(tmp_path / "none.txt")])
    with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
        load_documents(config, "train")
    with pytest.raises(ValueError, match="no test files are given"):
        load_documents(config, "test")


def test_own_code_gives_documents_and_is_part_of_the_hash(tmp_path):
    path = tmp_path / "mine.py"
    code = "def documents(split):\n    yield f'{split} one'\n    yield 'two'\n"
    path.write_text(code)
    config = _config(kind="python", path=f"{path}:documents")
    first = load_documents(config, "test")
    assert first.documents == ["test one", "two"]
    assert first.data_kind == "generated"
    path.write_text(code + "# edited\n")
    assert load_documents(config, "test").sha256 != first.sha256


@pytest.mark.parametrize(
    ("code", "path", "message"),
    [
        ("", "mine.py", "not of the form"),
        ("a = 1\n", "mine.py:documents", "defines no 'documents'"),
        ("def documents(split):\n    return [1]\n", "mine.py:documents", "else than strings"),
        ("def documents(split):\n    return []\n", "mine.py:documents", "holds no text"),
        ("def documents(split):\n    return ['\\ud800']\n", "mine.py:documents", "half a char"),
        (None, "other.py:documents", "other.py cannot be read"),
    ],
)
def test_own_code_that_cannot_serve_is_an_error(tmp_path, monkeypatch, code, path, message):
    monkeypatch.chdir(tmp_path)
    if code is not None:
        Path("mine.py").write_text(code or "\n")
    with pytest.raises(ValueError, match=message):
        load_documents(_config(kind="python", path=path), "train")


def test_stories_are_generated_and_differ_between_splits_and_seeds():
    def text(split, seed):
        config = _config(
            kind="stories", documents=4, validation_documents=3, test_documents=2, seed=seed
        )
        return load_documents(config, split)

    assert [len(text(one, 0).documents) for one in ("train", "validation", "test")] == [4, 3, 2]
    assert text("train", 0) == text("train", 0)
    assert len({text(*key).sha256 for key in [("train", 0), ("train", 1), ("test", 0)]}) == 3
    assert text("train", 0).data_kind == "generated"


def test_a_mixture_keeps_its_shares_and_uses_up_the_first_source():
    draws = draw_mixture([3_000, 10, 50_000], [0.3, 0.1, 0.6], seed=4)
    counts = np.bincount([draw.source for draw in draws], minlength=3)
    assert counts[0] == 3_000
    assert draws[-1] == Draw(0, 2_999)
    # Three standard deviations of a share among ten thousand draws.
    np.testing.assert_allclose(counts / len(draws), [0.3, 0.1, 0.6], atol=0.015)
    assert [draw.index for draw in draws if draw.source == 0] == list(range(3_000))
    assert [draw.index for draw in draws if draw.source == 1][:12] == [*range(10), 0, 1]


def test_a_mixture_of_a_longer_source_begins_with_the_same_draws():
    short = draw_mixture([20, 9], [1.0, 2.0], seed=0)
    longer = draw_mixture([90, 9], [1.0, 2.0], seed=0)
    assert longer[: len(short)] == short
    assert draw_mixture([20, 9], [1.0, 2.0], seed=1) != short


def test_a_mixture_is_evaluated_on_its_first_source(folder):
    stories = {"kind": "stories", "documents": 5, "validation_documents": 2, "test_documents": 2}
    wikitext = {"kind": "named", "name": "wikitext2"}
    parts = [{"weight": 1, "source": wikitext}, {"weight": 3, "source": stories}]
    config = _config(kind="mixture", parts=parts)
    assert load_documents(config, "test") == load_documents(_named("wikitext2"), "test")
    train = load_documents(config, "train")
    assert train.data_kind == "generated"
    assert set(load_documents(_named("wikitext2"), "train").documents) < set(train.documents)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "split", "documents", "sha256"),
    [
        ("wikitext2", "train", 600, "9e9fa1ad55b1c2c95b08e37dd8e653f6"),
        ("wikitext2", "validation", 60, "f0737ed31fc1329026e95cb8b98e19c2"),
        ("wikitext2", "test", 60, "d790b833ef8cf03a90db7bf1271b7520"),
        ("wikitext2_raw", "test", 60, "173c87a53759e0201f33e0ccf978e510"),
        ("tinystories", "train", 1060, "c56cfd24fb1c542b141a396184b822a4"),
    ],
)
def test_real_files_come_back_byte_for_byte(real_data, monkeypatch, name, split, documents, sha256):
    monkeypatch.setenv("LMLAB_DATA", str(real_data))
    found = load_documents(_named(name), split)
    assert len(found.documents) == documents
    assert found.sha256.startswith(sha256)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("tinyshakespeare", "tinyshakespeare/input.txt"),
        ("wiki_demo", "llamafactory-demo/wiki_demo.txt"),
        ("tinystories_demo", "tinystories/smallGPT_tiny_stories.txt"),
    ],
)
def test_splits_of_one_file_are_the_whole_file(real_data, monkeypatch, name, file):
    monkeypatch.setenv("LMLAB_DATA", str(real_data))
    splits = {one: load_documents(_named(name), one) for one in ("train", "validation", "test")}
    order = ["train", "validation", "test"] if name == "tinyshakespeare" else list(splits)[::-1]
    joiner = splits["train"].joiner
    assert (
        joiner.join(splits[one].text for one in order).encode() == (real_data / file).read_bytes()
    )


@pytest.mark.realdata
def test_c4_demo_has_its_300_texts(real_data, monkeypatch):
    monkeypatch.setenv("LMLAB_DATA", str(real_data))
    sizes = [
        len(load_documents(_named("c4_demo"), one).documents)
        for one in ("train", "validation", "test")
    ]
    assert sizes == [240, 30, 30]
