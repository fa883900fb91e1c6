"""Tests of tokenizers: round trips, determinism, offsets, loading, and GPT-2's published counts."""

import json
import os
import random
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from lmlab.data.schema import LoadedTokenizer, TrainedTokenizer
from lmlab.data.tokenizer import (
    build_tokenizer,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
    wrap_tokenizer,
)

TEXTS = [
    "Once upon a time a miller sold 12 warm loaves.",
    "The river — brown and quick — carried them off. 🙂 naïve café",
    "def wrap(text, width=70):\n    return text\n",
] * 4
HARD = [
    "",
    " ",
    "   runs  of    spaces   ",
    "tabs\t\tand\r\nline ends\n\n\n",
    "👩‍👩‍👧 family, 🇨🇭 flag, e\u0301 combining",
    "\x00\x01\x1f control \x7f\u200b\u2028\ufeff",
    "<bos><eos><pad> are text here, as is <|endoftext|>",
    "漢字とかな עברית العربية",
]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TrainedTokenizer(kind="train", vocab_size=320), TEXTS)


def test_any_text_comes_back_as_it_was(tokenizer):
    draw = random.Random(0)
    letters = [chr(one) for one in range(0x20000) if not 0xD800 <= one < 0xE000]
    texts = HARD + ["".join(draw.choices(letters, k=50)) for _ in range(50)]
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_a_text_cannot_make_a_special_token(tokenizer):
    special = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id}
    assert len(special) == 3
    assert all(special.isdisjoint(tokenizer.encode(text)) for text in HARD)
    assert tokenizer.decode([tokenizer.bos_id, *tokenizer.encode("a b"), tokenizer.eos_id]) == "a b"


def test_training_is_deterministic_across_processes_and_threads(tokenizer):
    code = (
        "import json, sys; from lmlab.data.tokenizer import train_bpe, wrap_tokenizer;"
        "texts = json.load(sys.stdin);"
        "print(wrap_tokenizer(train_bpe(texts, vocab_size=320), roles={}).sha256)"
    )
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "5"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS), env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == tokenizer.sha256


def test_a_token_starts_at_the_character_that_holds_its_first_byte(tokenizer):
    for text in [*HARD, *TEXTS]:
        found = tokenizer.encode_with_starts(text)
        assert found.ids == tokenizer.encode(text)
        # Independent of the library's offsets: count the bytes that the tokens stand for.
        character_of_byte = [at for at, one in enumerate(text) for _ in one.encode()]
        at_byte, expected = 0, []
        for token in found.ids:
            expected.append(character_of_byte[at_byte])
            at_byte += len(tokenizer.inner.id_to_token(token))
        assert at_byte == len(character_of_byte)
        assert found.starts == expected


def test_a_saved_tokenizer_loads_as_it_was_here_and_in_transformers(tmp_path, tokenizer):
    save_tokenizer(tokenizer, tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    alone = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert loaded.sha256 == alone.sha256 == tokenizer.sha256
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    assert theirs("a miller sold 🙂").input_ids == tokenizer.encode("a miller sold 🙂")
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 1, 2)


def test_a_folder_says_which_tokens_begin_and_end_a_text(tmp_path, tokenizer):
    tokenizer.inner.save(str(tmp_path / "tokenizer.json"))
    roles = {"eos_token": {"content": "<pad>"}, "bos_token": None, "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(roles))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.eos_id == loaded.pad_id == tokenizer.pad_id
    assert loaded.sha256 != tokenizer.sha256
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</end>"}))
    with pytest.raises(ValueError, match="</end>"):
        load_tokenizer(str(tmp_path))


def test_truncation_and_padding_of_a_loaded_file_are_switched_off(tmp_path, tokenizer):
    row = json.loads(tokenizer.inner.to_str())
    row["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(row))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    assert loaded.sha256 == tokenizer.sha256


def test_what_is_no_tokenizer_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    for path in (tmp_path, tmp_path / "a.json", tmp_path / "missing.json"):
        with pytest.raises(ValueError, match=r"is no tokenizer\.json"):
            load_tokenizer(str(path))


def test_a_tokenizer_without_end_of_text_is_an_error():
    inner = train_bpe(TEXTS, vocab_size=300)
    row = json.loads(inner.to_str().replace("<eos>", "<other>"))
    with pytest.raises(ValueError, match=r"eos_token in tokenizer_config\.json"):
        wrap_tokenizer(inner.from_str(json.dumps(row)), roles={})


@pytest.mark.realdata
def test_gpt2_counts_the_published_tokens_of_wikitext2_raw(real_data):
    gpt2 = build_tokenizer(LoadedTokenizer(kind="load", path=str(real_data / "gpt2-bpe")), [])
    assert (gpt2.vocab_size, gpt2.eos_id, gpt2.bos_id) == (50257, 50256, None)
    text = (real_data / "wikitext-2-raw" / "wiki.test.raw").read_bytes().decode()
    assert len(gpt2.encode(text)) == 286_221
    # The Hugging Face perplexity recipe: rows of the hub's table, blank ones empty, joined.
    rows = ["" if line == " \n" else line for line in text.splitlines(keepends=True)]
    assert len(gpt2.encode("\n\n".join(rows))) == 287_644


@pytest.mark.realdata
def test_a_tokenizer_that_adds_and_lowers_is_used_without_what_it_adds(real_data):
    path = real_data / "simplestories-tokenizer" / "simplestories-4096.json"
    loaded = load_tokenizer(str(path))
    assert loaded.eos_id == 1
    assert loaded.eos_id not in loaded.encode("The end")
    assert loaded.encode("The end") == loaded.encode("the END")
