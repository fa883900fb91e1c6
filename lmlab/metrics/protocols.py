"""The protocol of a perplexity: what must be equal before two numbers may stand side by side."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, computed_field, model_validator

from lmlab.engine.schema import Values

Unit = Literal["token", "word", "byte"]
WordRule = Literal["words", "words_and_line_ends"]


class PerplexityProtocol(Values):
    """Which targets of which text were scored, with which context, and what is counted.

    - `reading`: `joined` encodes all documents, with `joiner` between them, as one text;
      `alone` encodes and reads each document by itself.
    - `windows`: `whole` reads a text in one pass (an n-gram model: with the context it has).
      `strided` reads `window_tokens` tokens every `stride_tokens` and scores the last
      `stride_tokens` of them (the first window all); a token that opens a window has no context
      there and is never a target. `rolling` reads up to `window_tokens` tokens before each target
      and scores each token once with at least one token of context (lm-eval's rule, there with
      stride = window). `cut` reads the first `window_tokens` tokens of a text and no more.
    - `bos`: `before_text` opens each text with BOS, and only then is its first token a target.
    - Words and bytes are those of the original text, before any detokeniser and without joiners:
      split on white space, with one more per line end under `words_and_line_ends`.
    """

    dataset: str
    split: str
    documents: str
    num_documents: int = Field(ge=1)
    reading: Literal["joined", "alone"]
    joiner: str | None
    detokenizer: str
    unit: Literal["token", "word"] = "token"
    tokenizer: str
    bos: Literal["none", "before_text"]
    windows: Literal["whole", "strided", "rolling", "cut"]
    window_tokens: int | None = Field(default=None, ge=2)
    stride_tokens: int | None = Field(default=None, ge=1)
    word_rule: WordRule
    byte_rule: Literal["utf8"] = "utf8"

    @computed_field
    @property
    def scored(self) -> str:
        """The first-token policy and the cut: which tokens of a text are targets."""
        if self.windows == "strided" and self.stride_tokens == self.window_tokens:
            return "all but each window's first token"
        first = "all but each text's first token" if self.bos == "none" else "every token"
        return f"{first}, up to the cut" if self.windows == "cut" else first

    @property
    def overlap(self) -> float | None:
        """The share of a window that is context alone; None where there are no sliding windows."""
        if self.window_tokens is None or self.stride_tokens is None:
            return None
        return 1 - self.stride_tokens / self.window_tokens

    def as_record(self, *, per: Unit = "token") -> dict[str, Any]:
        """The plain values that a record keeps as its protocol.

        A number per word or byte may stand beside one of another tokenizer; the tokenizer's hash
        then belongs to what the number was made from, not to its protocol.
        """
        left_out = set() if per == "token" else {"tokenizer", "unit"}
        return self.model_dump(mode="json", exclude=left_out)

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> "PerplexityProtocol":
        """The protocol that `as_record` wrote."""
        return cls(**{name: value for name, value in values.items() if name != "scored"})

    @model_validator(mode="after")
    def _fits_together(self) -> "PerplexityProtocol":
        if (self.reading == "joined") != (self.joiner is not None):
            raise ValueError(f"reading is {self.reading} and joiner {self.joiner!r}")
        wants = {"whole": (False, False), "cut": (True, False)}.get(self.windows, (True, True))
        has = (self.window_tokens is not None, self.stride_tokens is not None)
        if has != wants:
            raise ValueError(
                f"windows={self.windows} {_needs(wants[0])} window_tokens and "
                f"{_needs(wants[1])} stride_tokens"
            )
        if (self.overlap or 0) < 0:
            raise ValueError(
                f"stride_tokens {self.stride_tokens} exceeds window_tokens {self.window_tokens}: "
                "the tokens between two windows would never be scored"
            )
        return self


def comparable(a: PerplexityProtocol, b: PerplexityProtocol, *, per: Unit) -> None:
    """Raise a ValueError that names every reason why two perplexities cannot be compared.

    Per token everything must be equal. Per word or byte the tokenizers may differ; then the window
    may too, since its length in tokens belongs to a model and its tokenizer, but not its overlap.
    """
    reasons = _differences(a, b, ignored=_ignored(a, b, per))
    if per != "token" and None not in (a.overlap, b.overlap) and a.overlap != b.overlap:
        reasons.append(f"overlap of windows: {a.overlap} against {b.overlap}")
    if per == "token" and a.tokenizer != b.tokenizer:
        reasons.append("per-token numbers need one tokenizer (compare per word or per byte)")
    if reasons:
        raise ValueError(f"perplexities per {per} cannot be compared: {'; '.join(reasons)}")


def lines100_512(*, tokenizer: str) -> PerplexityProtocol:
    """A starved protocol, kept so that figures made with it can be read as what they are.

    The first 100 non-blank lines of WikiText-2 raw validation, each alone and cut at 512 tokens: a
    line's opening is predicted from almost nothing, which alone raises perplexity by a third.
    """
    return PerplexityProtocol(
        dataset="wikitext-2-raw",
        split="validation",
        documents="first 100 non-blank lines",
        num_documents=100,
        reading="alone",
        joiner=None,
        detokenizer="none",
        tokenizer=tokenizer,
        bos="none",
        windows="cut",
        window_tokens=512,
        word_rule="words",
    )


def split_lines(text: str) -> list[str]:
    """The lines of a file with their line ends; `str.splitlines` would cut at U+2028 and others."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def count_words(text: str, *, rule: WordRule) -> int:
    """WikiText's own word perplexities count an <eos> per line too (Merity et al. 2017)."""
    words = len(text.split())
    return words if rule == "words" else words + text.count("\n")


def _ignored(a: PerplexityProtocol, b: PerplexityProtocol, per: Unit) -> set[str]:
    ignored = set() if per == "word" else {"word_rule"}
    if per == "token" or a.tokenizer == b.tokenizer:
        return ignored
    return ignored | {"tokenizer", "unit", "windows", "window_tokens", "stride_tokens"}


def _differences(a: PerplexityProtocol, b: PerplexityProtocol, *, ignored: set[str]) -> list[str]:
    left, right = a.as_record(), b.as_record()
    names = [name for name in left if left[name] != right[name] and name not in ignored]
    return [f"{name} {left[name]!r} against {right[name]!r}" for name in names]


def _needs(wanted: bool) -> str:
    return "needs" if wanted else "takes no"
