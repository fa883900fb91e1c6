"""Documents of plain text from every kind of source, with their hash, licence and joiner."""

import hashlib
import runpy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Literal

import numpy as np

from lmlab.data.files import cut, read_text
from lmlab.data.named import source_documents
from lmlab.data.pydocs import LICENCE as PYTHON_LICENCE
from lmlab.data.pydocs import pydocs
from lmlab.data.schema import Custom, Files, Mixture, Named, PyDocs, Stories, TextConfig
from lmlab.data.sources import find_source
from lmlab.data.stories import Split, Story, stories

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
BLANK_LINES_BEFORE = r"(?<=\n\n)(?!\n)(?!\Z)"
THEIR_OWN = "the user's own"


@dataclass(frozen=True, kw_only=True)
class TextSplit:
    """One split of a source. `joiner.join(documents)` is its text, byte for byte as published."""

    name: str
    split: str
    documents: list[str]
    data_kind: Literal["real", "generated"]
    licence: str
    joiner: str
    # The user's own code that made it: part of the hash, since an edited file makes other data.
    code: str = ""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if not any(self.documents):
            raise ValueError(f"the {self.split} split of {self.name} holds no text")
        try:
            content = (self.code + self.text).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{self.name} ({self.split}) holds half a character: {error}"
            ) from error
        object.__setattr__(self, "sha256", hashlib.sha256(content).hexdigest())

    @property
    def text(self) -> str:
        """The whole text, whose words and bytes a perplexity is counted over."""
        return self.joiner.join(self.documents)


@dataclass(frozen=True)
class Draw:
    """A document of a mixture: which source, and which of its documents."""

    source: int
    index: int


def load_documents(config: TextConfig, split: str) -> TextSplit:
    """The documents of a split, in an order that depends on the configuration alone."""
    if split not in SPLITS:
        raise ValueError(f"no split is named {split!r}; there are {', '.join(SPLITS)}")
    match config:
        case Stories():
            return _stories(config, split)
        case PyDocs():
            return _pydocs(split)
        case Named():
            return _named(config, split)
        case Files():
            return _files(config, split)
        case Custom():
            return _custom(config, split)
        case Mixture():
            return _mixture(config, split)


def draw_mixture(sizes: Sequence[int], weights: Sequence[float], *, seed: int) -> list[Draw]:
    """Which document comes when, until the first source is used up; the others start over.

    The k-th draw depends on the seed and k alone, so a position in the list can be resumed.
    """
    shares = np.cumsum(weights) / np.sum(weights)
    generator = np.random.default_rng(seed)
    chosen = np.empty(0, dtype=np.int64)
    while np.count_nonzero(chosen == 0) < sizes[0]:
        more = np.searchsorted(shares, generator.random(sizes[0] + 1), side="right")
        chosen = np.concatenate([chosen, more])
    chosen = chosen[: np.flatnonzero(chosen == 0)[sizes[0] - 1] + 1]
    draws, drawn = [], [0] * len(sizes)
    for source in chosen.tolist():
        draws.append(Draw(source, drawn[source] % sizes[source]))
        drawn[source] += 1
    return draws


def told_stories(config: Stories, split: Split) -> Iterator[Story]:
    """The stories of a split, each with the truth behind its text."""
    counts = {
        "train": config.documents,
        "validation": config.validation_documents,
        "test": config.test_documents,
    }
    return stories(split, counts[split], seed=config.seed)


def _stories(config: Stories, split: Split) -> TextSplit:
    return TextSplit(
        name="stories",
        split=split,
        documents=[story.text for story in told_stories(config, split)],
        data_kind="generated",
        licence="Apache-2.0",
        joiner="\n\n",
    )


def _pydocs(split: str) -> TextSplit:
    return TextSplit(
        name="pydocs",
        split=split,
        documents=pydocs(split),
        data_kind="real",
        licence=PYTHON_LICENCE,
        joiner="\n\n\n",
    )


def _named(config: Named, split: str) -> TextSplit:
    source = find_source(config.name)
    return TextSplit(
        name=source.name,
        split=split,
        documents=source_documents(source, split, limit=config.max_documents),
        data_kind=source.data_kind,
        licence=source.licence,
        joiner=source.joiner,
    )


def _files(config: Files, split: str) -> TextSplit:
    patterns = {"train": config.train, "validation": config.validation, "test": config.test}[split]
    if not patterns:
        raise ValueError(f"no {split} files are given; list some under `{split}`")
    separator = BLANK_LINES_BEFORE if config.document == "blank_lines" else None
    # A name that leads nowhere is left to read_text, which says why.
    paths = [path for one in patterns for path in sorted(glob(one, recursive=True)) or [one]]
    return TextSplit(
        name="files",
        split=split,
        documents=[part for path in paths for part in cut(read_text(Path(path)), separator)],
        data_kind=config.data_kind,
        licence=THEIR_OWN,
        joiner="",
    )


def _custom(config: Custom, split: str) -> TextSplit:
    path, _, function = config.path.rpartition(":")
    if not path.endswith(".py"):
        raise ValueError(f"{config.path!r} is not of the form path/to/file.py:function")
    code = read_text(Path(path))
    defined = runpy.run_path(path)
    if function not in defined:
        raise ValueError(f"{path} defines no {function!r}; name a function that takes the split")
    documents = list(defined[function](split))
    if not all(isinstance(document, str) for document in documents):
        raise ValueError(f"{config.path} gave something else than strings; yield one a document")
    return TextSplit(
        name=config.path,
        split=split,
        documents=documents,
        data_kind=config.data_kind,
        licence=THEIR_OWN,
        joiner="\n\n",
        code=code,
    )


def _mixture(config: Mixture, split: str) -> TextSplit:
    if split != "train":
        return load_documents(config.parts[0].source, split)
    parts = [load_documents(part.source, split) for part in config.parts]
    sizes = [len(part.documents) for part in parts]
    draws = draw_mixture(sizes, [part.weight for part in config.parts], seed=config.seed)
    return TextSplit(
        name=f"mixture({', '.join(part.name for part in parts)})",
        split=split,
        documents=[parts[draw.source].documents[draw.index] for draw in draws],
        data_kind="real" if all(part.data_kind == "real" for part in parts) else "generated",
        licence="; ".join(sorted({part.licence for part in parts})),
        joiner="\n\n",
    )
