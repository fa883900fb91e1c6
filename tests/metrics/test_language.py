"""Facts about perplexity, with models whose every probability can be written down."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from lmlab.metrics.language import (
    Corpus,
    Encoded,
    Perplexity,
    encoder,
    measure_ngrams,
    measure_perplexity,
    plan_windows,
    word_encoder,
)
from lmlab.metrics.ngrams import fit_ngrams, word_vocabulary
from lmlab.metrics.protocols import PerplexityProtocol, lines100_512, split_lines

LETTERS = "\n abcdefgh"
BOS = len(LETTERS)
VOCAB = BOS + 1
TEXTS = ["a bad\n", " cafe\n", "\n", "head a bed\n", " aaaa babe faded cabbage\n", "ha"]
WHOLE = {"windows": "whole", "window_tokens": None, "stride_tokens": None}


def protocol(**values: object) -> PerplexityProtocol:
    given = {
        "dataset": "toy", "split": "test", "documents": "lines", "num_documents": len(TEXTS),
        "reading": "joined", "joiner": "", "detokenizer": "none", "tokenizer": "letters",
        "bos": "before_text", "windows": "rolling", "window_tokens": 8, "stride_tokens": 8,
        "word_rule": "words",
    }  # fmt: skip
    return PerplexityProtocol(**given | values)  # pyright: ignore


def letters(text: str) -> Encoded:
    ids = np.array([LETTERS.index(letter) for letter in text], dtype=np.int64)
    return Encoded(ids, np.arange(len(text)))


def uniform(tokens, targets):
    return torch.full(targets.shape, math.log(VOCAB), dtype=torch.float32)


def bigram(tokens, targets):
    """A table of one token's memory: no window can matter to it."""
    table = np.random.default_rng(0).dirichlet(np.ones(VOCAB), VOCAB)
    return -torch.from_numpy(np.log(table))[tokens, targets]


def urn(tokens, targets):
    """p(target) = (1 + its count in the window so far) / (VOCAB + tokens so far)."""
    seen = torch.nn.functional.one_hot(tokens, VOCAB).double().cumsum(1)
    count = seen.gather(2, targets[..., None])[..., 0]
    return -torch.log((1 + count) / (VOCAB + torch.arange(1, tokens.shape[1] + 1)))


def urn_slowly(context: list[int], target: int) -> float:
    return -math.log((1 + context.count(target)) / (VOCAB + len(context)))


def measured(model: Callable, texts: list[str] = TEXTS, **values) -> Perplexity:
    batch_size = values.pop("batch_size", 3)
    return measure_perplexity(
        Corpus(texts, texts),
        protocol=protocol(num_documents=len(texts), **values),
        encode=letters,
        bos_id=BOS,
        target_nll=model,
        batch_size=batch_size,
    )


def test_one_nll_gives_the_values_per_token_word_and_byte():
    result = measured(uniform, ["ab cd\n", "e f g\n"])
    tokens, words, num_bytes = 12, 5, 12
    assert result.total_nll == pytest.approx(tokens * math.log(VOCAB), rel=1e-6)
    assert result.per_token == pytest.approx(VOCAB, rel=1e-6)
    assert result.per_word == pytest.approx(VOCAB ** (tokens / words), rel=1e-6)
    assert result.per_word == pytest.approx(result.per_token ** (tokens / words), rel=1e-12)
    assert result.bits_per_byte == pytest.approx(math.log2(VOCAB) * tokens / num_bytes, rel=1e-6)


def test_words_and_bytes_are_those_of_the_original():
    corpus = Corpus(["abc", "d"], ["a é c\n", "d\n"])
    result = measure_perplexity(
        corpus, protocol=protocol(num_documents=2, joiner=" ", word_rule="words_and_line_ends"),
        encode=letters, bos_id=BOS, target_nll=uniform, batch_size=1,
    )  # fmt: skip
    assert result.num_words.tolist() == [4, 2]
    assert result.num_bytes.tolist() == [7, 2]
    assert result.num_tokens.tolist() == [4, 1]


@pytest.mark.parametrize("bos", ["none", "before_text"])
@pytest.mark.parametrize("windows", ["strided", "rolling"])
def test_a_window_as_long_as_the_text_is_one_pass(windows, bos):
    ids = [BOS] * (bos == "before_text") + letters("".join(TEXTS)).ids.tolist()
    oracle = sum(urn_slowly(ids[:at], ids[at]) for at in range(1, len(ids)))
    assert measured(urn, bos=bos, **WHOLE).total_nll == pytest.approx(oracle, rel=1e-12)
    for window in (len(ids), len(ids) + 7, 1024):
        size = {"window_tokens": window, "stride_tokens": window}
        result = measured(urn, bos=bos, windows=windows, **size)
        assert result.total_nll == pytest.approx(oracle, rel=1e-12)


def test_a_model_that_remembers_one_token_has_one_perplexity_for_all_windows():
    oracle = measured(bigram, **WHOLE)
    for window in range(2, 12):
        for stride in range(1, window + 1):
            size = {"window_tokens": window, "stride_tokens": stride}
            for windows in ("rolling", "strided")[: 1 + (stride < window)]:
                result = measured(bigram, windows=windows, **size)
                np.testing.assert_allclose(result.nll, oracle.nll, rtol=1e-12)
                assert (result.num_tokens == oracle.num_tokens).all()


@pytest.mark.parametrize("stride", [1, 3, 5, 8])
@pytest.mark.parametrize("bos", ["none", "before_text"])
def test_strided_windows_score_only_their_last_targets_with_their_own_context(stride, bos):
    ids = [BOS] * (bos == "before_text") + letters("".join(TEXTS)).ids.tolist()
    window, total, count, scored = 8, 0.0, 0, 0
    for start in range(0, len(ids), stride):
        part = ids[start : start + window]
        for at in range(max(scored - start, 1), len(part)):
            total += urn_slowly(part[:at], part[at])
            count += 1
        scored = start + len(part)
        if scored == len(ids):
            break
    result = measured(urn, bos=bos, windows="strided", window_tokens=8, stride_tokens=stride)
    assert result.num_tokens.sum() == count
    assert result.total_nll == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 33])
def test_rolling_windows_score_every_token_once_with_the_longest_context(length, stride):
    text, window, total = "".join(TEXTS)[:length], 8, 0.0
    ids = letters(text).ids.tolist()
    for at in range(length):
        blocks_before = max(0, -(-(at + 1 - window) // stride))
        block_end = min(window + blocks_before * stride, length)
        read = [BOS, *ids][max(block_end - window, 0) : block_end]
        total += urn_slowly(read[: len(read) - (block_end - at) + 1], ids[at])
    result = measured(urn, [text], stride_tokens=stride)
    assert result.num_tokens.sum() == length
    assert result.total_nll == pytest.approx(total, rel=1e-12)


def test_rolling_windows_are_those_that_lm_eval_publishes_as_gold():
    """Its own test: 34 tokens after a prefix, windows of 10, one token of context."""
    plan = plan_windows(35, protocol=protocol(window_tokens=10, stride_tokens=10))
    assert plan.tolist() == [[0, 11, 1], [10, 21, 11], [20, 31, 21], [24, 35, 31]]


@pytest.mark.parity
def test_rolling_windows_equal_lm_eval():
    utils = pytest.importorskip("lm_eval.utils")
    for length in (1, 5, 8, 9, 40, 41):
        for context in (1, 2, 8):
            windows = utils.get_rolling_token_windows(
                list(range(1, length + 1)), prefix_token=0, max_seq_len=8, context_len=context
            )
            plan = plan_windows(length + 1, protocol=protocol(stride_tokens=9 - context))
            for (read, targets), (start, end, first) in zip(windows, plan, strict=True):
                assert read == list(range(start, end - 1))
                assert targets == list(range(first, end))


def test_the_batch_size_changes_nothing():
    one = measured(urn, reading="alone", joiner=None, batch_size=1)
    for batch_size in (2, 5, 64):
        other = measured(urn, reading="alone", joiner=None, batch_size=batch_size)
        assert (one.nll == other.nll).all()
    # Texts of unequal length: a mean of their means is another number.
    means = one.nll / one.num_tokens
    assert one.per_token == pytest.approx(math.exp(one.nll.sum() / one.num_tokens.sum()))
    assert abs(one.per_token - math.exp(means.mean())) > 0.1


def test_each_document_alone_is_a_text_of_its_own():
    alone = measured(urn, reading="alone", joiner=None)
    for text, nll in zip(TEXTS, alone.nll, strict=True):
        assert measured(urn, [text]).total_nll == pytest.approx(nll, rel=1e-12)


def test_a_token_belongs_to_the_document_in_which_it_starts():
    def in_pairs(text: str) -> Encoded:
        starts = np.arange(0, len(text), 2)
        return Encoded(letters(text).ids[starts], starts)

    # "ab|c+|+d|e+|+f": '+' stands for the joiner, '|' for a border between tokens.
    result = measure_perplexity(
        Corpus(["abc", "de", "f"], ["abc", "de", "f"]),
        protocol=protocol(num_documents=3, joiner="\n\n"),
        encode=in_pairs, bos_id=BOS, target_nll=uniform, batch_size=1,
    )  # fmt: skip
    assert result.num_tokens.tolist() == [3, 2, 0]


def test_without_bos_a_text_of_one_token_has_no_target():
    result = measured(urn, ["a", "bad"], reading="alone", joiner=None, bos="none")
    assert result.num_tokens.tolist() == [0, 2]
    with pytest.raises(ValueError, match="nothing to score"):
        measured(urn, ["a", "", "b"], reading="alone", joiner=None, bos="none")
    with pytest.raises(ValueError, match="nothing to score"):
        measured(urn, [""])


def test_lines_cut_at_512_score_511_targets_and_have_no_word_perplexity():
    texts = ["ab" * 400, *["cab"] * 99]
    result = measure_perplexity(
        Corpus(texts, texts), protocol=lines100_512(tokenizer="letters"), encode=letters,
        bos_id=None, target_nll=uniform, batch_size=8,
    )  # fmt: skip
    assert result.num_tokens.tolist() == [511] + [2] * 99
    assert result.per_token == pytest.approx(VOCAB)
    with pytest.raises(ValueError, match="cut"):
        _ = result.per_word


def test_nan_is_an_error_that_names_the_document():
    def broken(tokens, targets):
        return torch.where(targets == LETTERS.index("h"), math.nan, urn(tokens, targets))

    with pytest.raises(ValueError, match="NLL of document 3 is nan"):
        measured(broken)


def test_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"torch.bfloat16; take log-probabilities in float32"):
        measured(lambda tokens, targets: urn(tokens, targets).bfloat16())


def test_a_missing_bos_and_a_wrong_number_of_documents_are_errors():
    given = {"encode": letters, "target_nll": urn, "batch_size": 1}
    with pytest.raises(ValueError, match="BOS"):
        measure_perplexity(Corpus(TEXTS, TEXTS), protocol=protocol(), bos_id=None, **given)
    with pytest.raises(ValueError, match="6 documents; there are 1 texts and 6 originals"):
        measure_perplexity(Corpus(["a"], TEXTS), protocol=protocol(), bos_id=BOS, **given)


def test_an_ngram_model_is_measured_under_the_same_texts_and_counts():
    training = "bad cafe a\nhead a bed\n\n"
    vocabulary = word_vocabulary(training)
    ids = vocabulary.encode(training)
    model = fit_ngrams(ids, order=2, vocab_size=len(vocabulary.ids))
    texts = ["a bad cafe\n", "\n", "head\n"]
    words = protocol(
        num_documents=3, unit="word", tokenizer=vocabulary.hash, word_rule="words_and_line_ends",
        **WHOLE,
    )  # fmt: skip
    given = {"encode": word_encoder(vocabulary), "model": model}
    result = measure_ngrams(Corpus(texts, texts), protocol=words, **given)
    assert (result.num_tokens == result.num_words).all()
    nll = model.nll(vocabulary.encode("".join(texts)))
    np.testing.assert_allclose(result.nll, [nll[:4].sum(), nll[4], nll[5:].sum()])
    assert result.per_word == pytest.approx(math.exp(nll.mean()))
    with pytest.raises(ValueError, match="reads each text whole"):
        measure_ngrams(Corpus(TEXTS, TEXTS), protocol=protocol(), **given)


@pytest.mark.realdata
def test_wikitext2_has_the_published_gpt2_tokens(real_data):
    encode = encoder(Tokenizer.from_file(str(real_data / "gpt2-bpe" / "tokenizer.json")))
    text = (real_data / "wikitext-2-raw" / "wiki.test.raw").read_bytes().decode()
    lines = split_lines(text)
    # The rows of the hub's data set: a blank line is an empty row, the others keep their end.
    rows = [line if line.strip() else "" for line in lines]
    given = {"documents": "lines", "num_documents": len(lines), "bos": "none"}
    for texts, joiner, tokens in ((rows, "\n\n", 287_644), (lines, "", 286_221)):
        result = measure_perplexity(
            Corpus(texts, lines), protocol=protocol(joiner=joiner, **given | WHOLE),
            encode=encode, bos_id=None, target_nll=uniform, batch_size=1,
        )  # fmt: skip
        assert result.num_tokens.sum() == tokens - 1
        assert result.num_words.sum() == 241_211
        assert result.num_bytes.sum() == 1_290_590
