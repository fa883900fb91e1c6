"""The register of public data sets: where each lies, on the hub and on disk, and what it is."""

import difflib
import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

COMPRESSED = ("", ".xz", ".gz")
# What a row is; `data.tasks.named` makes records of all but text.
Form = Literal["text", "alpaca", "conversations", "transcripts", "gsm8k", "sst2", "summaries"]


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
    hub_folder: str | None = None
    hub_revision: str | None = None
    fields: tuple[str, ...] = ("text",)
    rows: Literal["documents", "lines"] = "documents"
    form: Form = "text"
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
    return Source(
        name=name,
        splits=_cut(None, file, test=sizes[0], validation=sizes[1]),
        licence=licence,
        separator=separator,
    )


def _cut(hub: str | None, *files: str, test: int, validation: int) -> dict[str, Split]:
    """The splits of a set that was published whole: its first rows test, the next ones validate."""

    def split(documents: Span) -> Split:
        return Split(hub=hub, files=files, documents=documents)

    return {
        "train": split(Span(test + validation)),
        "validation": split(Span(test, test + validation)),
        "test": split(Span(0, test)),
    }


def _shakespeare(hub: str, characters: Span) -> Split:
    return Split(hub=hub, files=("tinyshakespeare/input.txt",), characters=characters)


# A single line end ends a story and a blank line a paragraph; but in this file a stretch of at most
# 100 characters is a broken-off paragraph of the story before it.
STORY_END = r"(?<!\n)\n(?!\n)(?=(?:[^\n]|\n{2,}){101})"
LINE_END = r"\n(?!\Z)"
HARMLESS = "hh-rlhf/harmless-base"

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
        Source(
            name="alpaca",
            hub_id="tatsu-lab/alpaca",
            splits=_cut("train", "alpaca/alpaca_data.json", test=1_000, validation=1_000),
            licence="CC BY-NC 4.0",
            fields=("instruction", "input", "output"),
            form="alpaca",
        ),
        Source(
            name="alpaca_demo",
            splits=_cut(None, "llamafactory-demo/alpaca_en_demo.json", test=100, validation=100),
            licence="Apache-2.0",
            fields=("instruction", "input", "output"),
            form="alpaca",
        ),
        Source(
            name="dpo_demo",
            splits=_cut(None, "llamafactory-demo/dpo_en_demo.json", test=50, validation=50),
            licence="Apache-2.0",
            fields=("conversations", "chosen", "rejected"),
            form="conversations",
        ),
        Source(
            name="hh_rlhf",
            hub_id="Anthropic/hh-rlhf",
            hub_folder="harmless-base",
            splits={
                **_cut("train", f"{HARMLESS}.train.jsonl", test=0, validation=1_000),
                "test": Split(hub="test", files=(f"{HARMLESS}.test.jsonl",)),
            },
            licence="MIT",
            fields=("chosen", "rejected"),
            form="transcripts",
        ),
        # Trials where only the test file is at hand: who trains on it must not score on hh_rlhf.
        Source(
            name="hh_rlhf_demo",
            splits=_cut(None, f"{HARMLESS}.test.jsonl", test=500, validation=200),
            licence="MIT",
            fields=("chosen", "rejected"),
            form="transcripts",
        ),
        Source(
            name="gsm8k",
            hub_id="openai/gsm8k",
            hub_config="main",
            splits={
                **_cut("train", "gsm8k/train.jsonl", test=0, validation=473),
                "test": Split(hub="test", files=("gsm8k/test.jsonl",)),
            },
            licence="MIT",
            fields=("question", "answer"),
            form="gsm8k",
        ),
        # Whole sentences (6,920 / 872 / 1,821), each with its label.
        Source(
            name="sst2",
            hub_id="SetFit/sst2",
            splits={
                "train": Split(hub="train", files=("sst2-sentences/stsa.binary.train",)),
                "validation": Split(hub="validation", files=("sst2-sentences/stsa.binary.dev",)),
                "test": Split(hub="test", files=("sst2-sentences/stsa.binary.test",)),
            },
            licence="none seen (Stanford Sentiment Treebank)",
            fields=("text", "label"),
            form="sst2",
            separator=r"\n",
        ),
        # GLUE's: 67,349 phrases to train on; the labels of its test split are not public.
        Source(
            name="sst2_phrases",
            hub_id="nyu-mll/glue",
            hub_config="sst2",
            splits={"train": Split(hub="train"), "validation": Split(hub="validation")},
            licence="none seen (Stanford Sentiment Treebank)",
            fields=("sentence", "label"),
            form="sst2",
        ),
        Source(
            name="samsum",
            hub_id="knkarthick/samsum",
            splits={
                "train": Split(hub="train", files=("samsum/train.json",)),
                "validation": Split(hub="validation", files=("samsum/val.json",)),
                "test": Split(hub="test", files=("samsum/test.json",)),
            },
            licence="CC BY-NC-ND 4.0",
            fields=("dialogue", "summary"),
            form="summaries",
        ),
        Source(
            name="dialogsum",
            hub_id="knkarthick/dialogsum",
            splits={
                "train": Split(hub="train", files=("dialogsum/dialogsum.train.jsonl",)),
                "validation": Split(hub="validation", files=("dialogsum/dialogsum.dev.jsonl",)),
                "test": Split(hub="test", files=("dialogsum/dialogsum.test.jsonl",)),
            },
            licence="CC BY-NC-SA 4.0",
            fields=("dialogue", "summary"),
            form="summaries",
        ),
        # Trials where the training file is not at hand: most of the development set trains.
        Source(
            name="dialogsum_demo",
            splits={
                **_cut(None, "dialogsum/dialogsum.dev.jsonl", test=0, validation=100),
                "test": Split(files=("dialogsum/dialogsum.test.jsonl",)),
            },
            licence="CC BY-NC-SA 4.0",
            fields=("dialogue", "summary"),
            form="summaries",
        ),
    )
}
