"""The register of public data sets: where each lies, on the hub and on disk, and what it is."""

import difflib
import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

COMPRESSED = ("", ".xz", ".gz")


@dataclass(frozen=True)
class Span:
    """A stretch of a sequence; without `stop` it reaches to the end."""

    start: int = 0
    stop: int | None = None

    def first(self, count: int | None) -> "Span":
        """At most so many of it; all of it where there is no count."""
        if count is None:
            return self
        end = self.start + count
        return Span(self.start, end if self.stop is None else min(end, self.stop))


ALL = Span()


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split: its name on the hub, and patterns of local files, of which the first found counts.

    `characters` cuts a local file that holds several splits; `documents` cuts a list of documents,
    wherever it came from. Both exist for sets that were published without a held-out part.
    """

    hub: str | None = None
    files: tuple[str, ...] = ()
    characters: Span = ALL
    documents: Span = ALL


@dataclass(frozen=True, kw_only=True)
class Source:
    """One public set.

    `separator` is a regular expression that cuts a plain file into documents, and `joiner` is what
    it took away: joined, the documents are the file again, byte for byte. `rows` says what a row of
    the hub's table is; "lines" are the lines of a file whose blank ones (" ") were stored empty.
    """

    name: str
    splits: Mapping[str, Split]
    licence: str
    hub_id: str | None = None
    hub_config: str | None = None
    hub_revision: str | None = None
    fields: tuple[str, ...] = ("text",)
    rows: Literal["documents", "lines"] = "documents"
    separator: str | None = None
    joiner: str = "\n"
    data_kind: Literal["real", "generated"] = "real"


def find_source(name: str) -> Source:
    """The set of that name; an unknown name is an error with the nearest ones."""
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=3, cutoff=0.4) or sorted(SOURCES)
    raise ValueError(f"no data set is named {name!r}; did you mean {', '.join(near)}?")


def find_split(source: Source, split: str) -> Split:
    """The split of that name; a missing one is an error that lists those that exist."""
    if split in source.splits:
        return source.splits[split]
    raise ValueError(f"{source.name} has no split {split!r}; it has {', '.join(source.splits)}")


def data_folder() -> Path | None:
    """The folder that LMLAB_DATA names, which must then exist and hold something."""
    named = os.environ.get("LMLAB_DATA")
    if not named:
        return None
    folder = Path(named)
    if not folder.exists():
        raise ValueError(f"LMLAB_DATA={named} does not exist; create it or unset LMLAB_DATA")
    if not folder.is_dir():
        raise ValueError(f"LMLAB_DATA={named} is a file; name the folder that holds the data")
    if not any(folder.iterdir()):
        raise ValueError(f"LMLAB_DATA={named} is empty; put data there or unset LMLAB_DATA")
    return folder


def find_files(split: Split, folder: Path) -> list[Path]:
    """The split's local files, plain before compressed; none where no pattern finds any."""
    for pattern in split.files:
        for suffix in COMPRESSED:
            # Unlike Path.glob, this also finds a broken link: then reading says what is wrong.
            if found := sorted(glob.glob(pattern + suffix, root_dir=folder)):
                return [folder / name for name in found]
    return []


def _wikitext(name: str, *, hub_config: str, folder: str, suffix: str) -> Source:
    """WikiText: a document is an article, cut before the blank line above its heading.

    A heading has blank lines around it; a line such as " = 2 / <unk> = " inside a table does not.
    """

    def split(hub: str, short: str) -> Split:
        official = f"{folder}/wiki.{short}.{suffix}"
        return Split(hub=hub, files=(f"{folder}/{short}.txt", official))

    return Source(
        name=name,
        hub_id="Salesforce/wikitext",
        hub_config=hub_config,
        splits={
            "train": split("train", "train"),
            "validation": split("validation", "valid"),
            "test": split("test", "test"),
        },
        licence="CC BY-SA 3.0 and GFDL",
        rows="lines",
        separator=r"(?<=\n)(?= \n = (?!= )[^\n]* = \n \n)",
        joiner="",
    )


def _demo(name: str, *, file: str, sizes: tuple[int, int], licence: str, separator: str) -> Source:
    """A small local set without splits: its first documents test, the next ones validate."""
    test, validation = sizes
    held_out = test + validation

    def split(documents: Span) -> Split:
        return Split(files=(file,), documents=documents)

    return Source(
        name=name,
        splits={
            "train": split(Span(held_out)),
            "validation": split(Span(test, held_out)),
            "test": split(Span(0, test)),
        },
        licence=licence,
        separator=separator,
    )


def _shakespeare(hub: str, characters: Span) -> Split:
    return Split(hub=hub, files=("tinyshakespeare/input.txt",), characters=characters)


# A single line end ends a story and a blank line a paragraph; but in this file a stretch of at most
# 100 characters is a broken-off paragraph of the story before it.
STORY_END = r"(?<!\n)\n(?!\n)(?=(?:[^\n]|\n{2,}){101})"
LINE_END = r"\n(?!\Z)"

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        # The version with rare words replaced by <unk>.
        _wikitext("wikitext2", hub_config="wikitext-2-v1", folder="wikitext-2", suffix="tokens"),
        _wikitext(
            "wikitext2_raw", hub_config="wikitext-2-raw-v1", folder="wikitext-2-raw", suffix="raw"
        ),
        _wikitext(
            "wikitext103", hub_config="wikitext-103-v1", folder="wikitext-103", suffix="tokens"
        ),
        Source(
            name="tinystories",
            hub_id="roneneldan/TinyStories",
            splits={
                "train": Split(hub="train", files=("tinystories/smallGPT_tiny_stories.txt",)),
                "validation": Split(hub="validation"),
            },
            licence="CDLA-Sharing-1.0",
            separator=STORY_END,
        ),
        _demo(
            "tinystories_demo",
            file="tinystories/smallGPT_tiny_stories.txt",
            sizes=(50, 50),
            licence="CDLA-Sharing-1.0",
            separator=STORY_END,
        ),
        Source(
            name="tinyshakespeare",
            hub_id="karpathy/tiny_shakespeare",
            # The set's own branch holds a loading script, which `datasets` runs no more.
            hub_revision="refs/convert/parquet",
            # 90, 5 and 5 % of the characters, as the hub's set is cut.
            splits={
                "train": _shakespeare("train", Span(0, 1_003_854)),
                "validation": _shakespeare("validation", Span(1_003_854, 1_059_624)),
                "test": _shakespeare("test", Span(1_059_624)),
            },
            licence="public domain",
            joiner="",
        ),
        Source(
            name="openwebtext",
            hub_id="Skylion007/openwebtext",
            splits={
                "train": Split(hub="train", files=("openwebtext/*.jsonl",), documents=Span(5_000)),
                "validation": Split(
                    hub="train", files=("openwebtext/*.jsonl",), documents=Span(0, 5_000)
                ),
            },
            licence="CC0 for the collection; the texts belong to their authors",
        ),
        Source(
            name="pile",
            hub_id="monology/pile-uncopyrighted",
            splits={
                "train": Split(hub="train", files=("pile/train/*.jsonl",)),
                "validation": Split(hub="validation", files=("pile/val.jsonl",)),
                "test": Split(hub="test", files=("pile/test.jsonl",)),
            },
            licence="mixed; the parts with known restrictions were taken out",
        ),
        _demo(
            "c4_demo",
            file="llamafactory-demo/c4_demo.jsonl",
            sizes=(30, 30),
            licence="ODC-BY (C4)",
            separator=LINE_END,
        ),
        _demo(
            "wiki_demo",
            file="llamafactory-demo/wiki_demo.txt",
            sizes=(3, 3),
            licence="CC BY-SA",
            separator=LINE_END,
        ),
    )
}
