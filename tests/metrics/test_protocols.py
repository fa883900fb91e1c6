"""Facts about perplexity protocols: what they count, and which two may be compared."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from lmlab.engine.records import protocol_hash
from lmlab.metrics.protocols import (
    PerplexityProtocol,
    comparable,
    count_words,
    lines100_512,
    split_lines,
)

RAW_JOINED_1024 = PerplexityProtocol(
    dataset="wikitext-2-raw",
    split="test",
    documents="lines",
    num_documents=4358,
    reading="joined",
    joiner="\n\n",
    detokenizer="blank lines emptied",
    tokenizer="gpt2",
    bos="none",
    windows="strided",
    window_tokens=1024,
    stride_tokens=1024,
    word_rule="words",
)
ROLLING = {"bos": "before_text", "windows": "rolling", "window_tokens": 256, "stride_tokens": 256}
NGRAMS = {
    "bos": "before_text", "windows": "whole", "window_tokens": None, "stride_tokens": None,
    "tokenizer": "words of the training split", "unit": "word",
}  # fmt: skip


def changed(**values: object) -> PerplexityProtocol:
    return PerplexityProtocol(
        **RAW_JOINED_1024.model_dump(exclude={"scored"}) | values  # pyright: ignore
    )


def test_40_64_against_29_41_is_refused_with_every_reason():
    with pytest.raises(ValueError, match="per token cannot be compared") as refusal:
        comparable(lines100_512(tokenizer="gpt2"), RAW_JOINED_1024, per="token")
    for reason in (
        "split 'validation' against 'test'",
        "num_documents 100 against 4358",
        "reading 'alone' against 'joined'",
        "windows 'cut' against 'strided'",
        "window_tokens 512 against 1024",
        "stride_tokens None against 1024",
    ):
        assert reason in str(refusal.value)


@pytest.mark.parametrize("per", ["token", "word", "byte"])
def test_a_protocol_compares_with_itself(per):
    comparable(RAW_JOINED_1024, changed(), per=per)


def test_another_tokenizer_is_refused_per_token_and_allowed_per_word_and_byte():
    ours, theirs = changed(**ROLLING), changed(**ROLLING | {"tokenizer": "other"})
    with pytest.raises(ValueError, match="need one tokenizer"):
        comparable(ours, theirs, per="token")
    comparable(ours, theirs, per="word")
    comparable(ours, theirs, per="byte")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"split": "validation"}, "split"),
        ({"dataset": "wikitext-2"}, "dataset"),
        ({"joiner": ""}, "joiner"),
        ({"detokenizer": "wikitext"}, "detokenizer"),
        ({"num_documents": 62}, "num_documents"),
        ({"bos": "none"}, "scored"),
        ({"word_rule": "words_and_line_ends"}, "word_rule"),
        ({"stride_tokens": 128}, "overlap"),
    ],
)
def test_per_word_another_text_or_target_set_is_refused_whatever_the_tokenizer(values, reason):
    other = changed(**ROLLING | {"tokenizer": "other"} | values)
    with pytest.raises(ValueError, match=reason):
        comparable(changed(**ROLLING), other, per="word")


def test_with_one_tokenizer_another_window_is_refused_per_word_too():
    wider = changed(**ROLLING | {"window_tokens": 512, "stride_tokens": 512})
    with pytest.raises(ValueError, match="window_tokens 256 against 512"):
        comparable(changed(**ROLLING), wider, per="word")


def test_a_word_model_compares_per_word_with_a_decoder_that_scores_every_token():
    comparable(changed(**ROLLING), changed(**NGRAMS), per="word")
    with pytest.raises(ValueError, match="all but each window's first token"):
        comparable(RAW_JOINED_1024, changed(**NGRAMS), per="word")


@pytest.mark.parametrize(
    ("values", "scored"),
    [
        ({}, "all but each window's first token"),
        ({"stride_tokens": 512}, "all but each text's first token"),
        ({"stride_tokens": 512, "bos": "before_text"}, "every token"),
        (ROLLING, "every token"),
        (ROLLING | {"bos": "none"}, "all but each text's first token"),
        ({"windows": "cut", "stride_tokens": None}, "all but each text's first token, up to"),
    ],
)
def test_the_first_token_policy_follows_from_bos_and_windows(values, scored):
    assert changed(**values).scored.startswith(scored)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"stride_tokens": 1025}, "would never be scored"),
        ({"reading": "alone"}, "joiner"),
        ({"windows": "whole"}, "takes no window_tokens"),
        ({"windows": "cut"}, "takes no stride_tokens"),
        ({"stride_tokens": None}, "needs stride_tokens"),
        ({"window": 3}, "window"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_an_error(values, error):
    with pytest.raises(ValidationError, match=error):
        changed(**values)


def test_a_record_gives_the_protocol_back():
    values = RAW_JOINED_1024.as_record()
    assert PerplexityProtocol.from_record(values) == RAW_JOINED_1024
    assert values["scored"] == RAW_JOINED_1024.scored
    assert protocol_hash(values) != protocol_hash(changed(stride_tokens=512).as_record())


def test_words_and_line_ends_are_counted_by_name():
    text = " = A title = \n \n Two words\u2028here .\n"
    assert count_words(text, rule="words") == 8
    assert count_words(text, rule="words_and_line_ends") == 11


def test_lines_end_at_newlines_alone():
    assert split_lines("a\n\n b\u2028c\x85d\r\n e") == ["a\n", "\n", " b\u2028c\x85d\r\n", " e"]


def test_what_reads_records_needs_no_torch():
    code = (
        "import sys, lmlab.metrics.protocols, lmlab.metrics.stats, lmlab.metrics.ngrams;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.realdata
def test_the_wikitext2_test_split_has_the_published_counts(real_data):
    text = (real_data / "wikitext-2-raw" / "wiki.test.raw").read_bytes().decode()
    assert len(text.encode()) == 1_290_590
    assert len(split_lines(text)) == 4_358
    assert count_words(text, rule="words") == 241_211
    assert count_words(text, rule="words_and_line_ends") == 245_569
