"""Perplexity: one total NLL over declared targets, told per token, per word and per byte."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from tokenizers import Tokenizer
from torch import Tensor

from lmlab.metrics.ngrams import NgramModel, WordVocabulary, word_starts
from lmlab.metrics.protocols import PerplexityProtocol, count_words

# (tokens, targets) -> NLL in nats of each target, given the tokens up to and at its column.
TargetNll = Callable[
    [Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]], Float[Tensor, "batch tokens"]
]


@dataclass(frozen=True)
class Encoded:
    """Token ids of a text, and the character at which each token starts."""

    ids: Int64[np.ndarray, "tokens"]
    starts: Int64[np.ndarray, "tokens"]


Encode = Callable[[str], Encoded]


@dataclass(frozen=True)
class Corpus:
    """Documents as the model reads them (detokenised), and the originals that are counted."""

    texts: list[str]
    originals: list[str]


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """NLL (nats) and counts of each document under one protocol; every figure follows from them."""

    protocol: PerplexityProtocol
    nll: Float64[np.ndarray, "documents"]
    num_tokens: Int64[np.ndarray, "documents"]
    num_words: Int64[np.ndarray, "documents"]
    num_bytes: Int64[np.ndarray, "documents"]

    def __post_init__(self) -> None:
        wrong = np.flatnonzero(~np.isfinite(self.nll))
        if wrong.size:
            raise ValueError(f"the NLL of document {wrong[0]} is {self.nll[wrong[0]]}")
        if not self.num_tokens.sum():
            raise ValueError("nothing to score: the texts hold no token that is a target")

    @property
    def total_nll(self) -> float:
        """In nats: what stays the same, whatever it is divided by."""
        return float(self.nll.sum())

    @property
    def per_token(self) -> float:
        """exp(NLL / targets)."""
        return math.exp(self.total_nll / int(self.num_tokens.sum()))

    @property
    def per_word(self) -> float:
        """exp(NLL / words of the original text)."""
        return math.exp(self.total_nll / self._original(self.num_words, "words"))

    @property
    def bits_per_byte(self) -> float:
        """NLL / (ln 2 · bytes of the original text)."""
        return self.total_nll / (math.log(2) * self._original(self.num_bytes, "bytes"))

    def _original(self, counts: Int64[np.ndarray, "documents"], unit: str) -> int:
        if self.protocol.windows == "cut":
            raise ValueError(f"texts were cut, so this NLL is not that of all their {unit}")
        if not counts.sum():
            raise ValueError(f"the original texts have no {unit}")
        return int(counts.sum())


def measure_perplexity(
    corpus: Corpus,
    *,
    protocol: PerplexityProtocol,
    encode: Encode,
    bos_id: int | None,
    target_nll: TargetNll,
    batch_size: int,
) -> Perplexity:
    """Score a corpus with a language model, in batches of windows of equal length."""
    opening = _opening(protocol, bos_id)
    tokens, document, windows, length = [], [], [], 0
    for text in _read(corpus, protocol, encode):
        tokens += [opening, text.ids]
        # BOS is never a target, so the document it is counted to does not matter.
        document += [np.zeros_like(opening), text.document]
        num_tokens = opening.size + text.ids.size
        windows.append(plan_windows(num_tokens, protocol=protocol) + length)
        length += num_tokens
    plan = np.concatenate(windows)
    nll = score_windows(np.concatenate(tokens), plan, target_nll=target_nll, batch_size=batch_size)
    scored = _targets(plan, length)
    return _summarise(nll[scored], np.concatenate(document)[scored], corpus, protocol)


def measure_ngrams(
    corpus: Corpus, *, protocol: PerplexityProtocol, encode: Encode, model: NgramModel
) -> Perplexity:
    """Score a corpus with an n-gram model, which opens each text with a BOS of its own."""
    if protocol.windows != "whole" or protocol.bos != "before_text":
        raise ValueError(
            "an n-gram model reads each text whole and scores its first token; "
            f"the protocol says windows={protocol.windows}, bos={protocol.bos}"
        )
    texts = _read(corpus, protocol, encode)
    nll = np.concatenate([model.nll(text.ids) for text in texts])
    return _summarise(nll, np.concatenate([text.document for text in texts]), corpus, protocol)


def plan_windows(
    num_tokens: int, *, protocol: PerplexityProtocol
) -> Int64[np.ndarray, "windows 3"]:
    """Rows (start, end, first): read tokens[start:end], score the targets tokens[first:end].

    `num_tokens` counts the BOS, if there is one. No token is the target of two windows.
    """
    window, stride = protocol.window_tokens, protocol.stride_tokens
    match protocol.windows:
        case "whole":
            plan = np.array([(0, num_tokens, 1)])
        case "cut":
            assert window is not None
            plan = np.array([(0, min(num_tokens, window), 1)])
        case "strided":
            assert window is not None
            assert stride is not None
            plan = _strided(num_tokens, window, stride)
        case "rolling":
            assert window is not None
            assert stride is not None
            plan = _rolling(num_tokens, window, stride)
    return plan[plan[:, 2] < plan[:, 1]].astype(np.int64)


def score_windows(
    tokens: Int64[np.ndarray, "tokens"],
    windows: Int64[np.ndarray, "windows 3"],
    *,
    target_nll: TargetNll,
    batch_size: int,
) -> Float64[np.ndarray, "tokens"]:
    """The NLL of each token that is a target, NaN for the others."""
    nll = np.full(tokens.size, np.nan)
    lengths = windows[:, 1] - windows[:, 0]
    for length in np.unique(lengths):
        equal = windows[lengths == length]
        for at in range(0, len(equal), batch_size):
            start, _, first = equal[at : at + batch_size].T
            index = start[:, None] + np.arange(length)
            wanted = index[:, 1:] >= first[:, None]
            nll[index[:, 1:][wanted]] = _score_batch(tokens[index], target_nll)[wanted]
    return nll


def encoder(tokenizer: Tokenizer) -> Encode:
    """Plain encoding by a `tokenizers` tokenizer: no special tokens are added to the text."""

    def encode(text: str) -> Encoded:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        starts = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
        return Encoded(np.array(encoding.ids, dtype=np.int64), starts)

    return encode


def word_encoder(vocabulary: WordVocabulary) -> Encode:
    """Encoding by whole words and line ends, for word-level n-grams."""

    def encode(text: str) -> Encoded:
        return Encoded(vocabulary.encode(text), np.array(word_starts(text), dtype=np.int64))

    return encode


@dataclass(frozen=True)
class _Text:
    """One text that is read in one go, and the document that each of its tokens belongs to."""

    ids: Int64[np.ndarray, "tokens"]
    document: Int64[np.ndarray, "tokens"]


def _read(corpus: Corpus, protocol: PerplexityProtocol, encode: Encode) -> list[_Text]:
    if not len(corpus.texts) == len(corpus.originals) == protocol.num_documents:
        raise ValueError(
            f"the protocol names {protocol.num_documents} documents; there are "
            f"{len(corpus.texts)} texts and {len(corpus.originals)} originals"
        )
    if protocol.joiner is not None:
        return [_read_joined(corpus.texts, protocol.joiner, encode)]
    encoded = [encode(text) for text in corpus.texts]
    return [_Text(one.ids, np.full_like(one.ids, at)) for at, one in enumerate(encoded)]


def _read_joined(texts: list[str], joiner: str, encode: Encode) -> _Text:
    # Encoded as one text, for a token may span a joiner; it belongs to where it starts.
    encoded = encode(joiner.join(texts))
    lengths = np.array([len(text) + len(joiner) for text in texts])
    opens = np.cumsum(lengths) - lengths
    return _Text(encoded.ids, np.searchsorted(opens, encoded.starts, side="right") - 1)


def _opening(protocol: PerplexityProtocol, bos_id: int | None) -> Int64[np.ndarray, "bos"]:
    if protocol.bos == "none":
        return np.zeros(0, dtype=np.int64)
    if bos_id is None:
        raise ValueError("the protocol opens each text with BOS, but the tokenizer has none")
    return np.array([bos_id], dtype=np.int64)


def _strided(num_tokens: int, window: int, stride: int) -> Int64[np.ndarray, "windows 3"]:
    count = 1 + math.ceil(max(num_tokens - window, 0) / stride)
    starts = np.arange(count) * stride
    ends = np.minimum(starts + window, num_tokens)
    # A window that begins where the last one ended has no context for its first token.
    firsts = np.maximum(np.append(0, ends[:-1]), starts + 1)
    return np.stack([starts, ends, firsts], axis=1)


def _rolling(num_tokens: int, window: int, stride: int) -> Int64[np.ndarray, "windows 3"]:
    later = math.ceil(max(num_tokens - 1 - window, 0) / stride)
    firsts = np.append(1, window + 1 + stride * np.arange(later))
    ends = np.append(firsts[1:], num_tokens)
    # The last window, short of targets, reaches further back: always `window` tokens are read.
    return np.stack([np.maximum(ends - 1 - window, 0), ends, firsts], axis=1)


def _targets(
    windows: Int64[np.ndarray, "windows 3"], num_tokens: int
) -> Bool[np.ndarray, "tokens"]:
    bound = np.zeros(num_tokens + 1, dtype=np.int64)
    np.add.at(bound, windows[:, 2], 1)
    np.add.at(bound, windows[:, 1], -1)
    times = bound.cumsum()[:-1]
    assert times.max(initial=0) <= 1, "a token is the target of two windows"
    return times == 1


@torch.no_grad()
def _score_batch(
    block: Int64[np.ndarray, "batch window"], target_nll: TargetNll
) -> Float64[np.ndarray, "batch targets"]:
    tokens = torch.from_numpy(block)
    nll = target_nll(tokens[:, :-1], tokens[:, 1:])
    if nll.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"NLL came as {nll.dtype}; take log-probabilities in float32")
    return nll.cpu().double().numpy()


def _summarise(
    nll: Float64[np.ndarray, "targets"],
    document: Int64[np.ndarray, "targets"],
    corpus: Corpus,
    protocol: PerplexityProtocol,
) -> Perplexity:
    num = protocol.num_documents
    words = [count_words(text, rule=protocol.word_rule) for text in corpus.originals]
    return Perplexity(
        protocol=protocol,
        nll=np.bincount(document, weights=nll, minlength=num).astype(np.float64),
        num_tokens=np.bincount(document, minlength=num).astype(np.int64),
        num_words=np.array(words, dtype=np.int64),
        num_bytes=np.array([len(text.encode()) for text in corpus.originals], dtype=np.int64),
    )
