"""Where text and records come from, and how text becomes tokens, as values."""

from typing import Annotated, Literal

from pydantic import Field

from lmlab.engine.schema import Values


class Stories(Values):
    """The built-in written world (`data.stories`): seeded, with the truth known."""

    kind: Literal["stories"]
    documents: int = Field(ge=1)
    validation_documents: int = Field(ge=1)
    test_documents: int = Field(ge=1)
    seed: int = 0


class PyDocs(Values):
    """The documentation that the installed CPython carries: real prose and code."""

    kind: Literal["pydocs"]


class Named(Values):
    """A public data set by its name in `data.sources`."""

    kind: Literal["named"]
    name: str
    max_documents: int | None = Field(default=None, ge=1)


class Files(Values):
    """Text files of the user's own, one list of paths (or patterns with `*`) a split."""

    kind: Literal["files"]
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    # What one document is: a whole file, or a stretch of it that ends with blank lines.
    document: Literal["file", "blank_lines"] = "file"
    data_kind: Literal["real", "generated"] = "real"


class Custom(Values):
    """The user's own `path/to/file.py:function`, called with the split, giving documents."""

    kind: Literal["python"]
    path: str
    # A claim about language needs real text, and nobody but the user knows what this gives.
    data_kind: Literal["real", "generated"] = "generated"


class Weighted(Values):
    """One part of a mixture: a share of the documents drawn."""

    weight: float = Field(gt=0)
    source: Annotated[Stories | PyDocs | Named | Files | Custom, Field(discriminator="kind")]


class Mixture(Values):
    """Several sources, drawn by weight until the first is used up; evaluated on the first."""

    kind: Literal["mixture"]
    parts: tuple[Weighted, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)


TextConfig = Annotated[
    Stories | PyDocs | Named | Files | Custom | Mixture, Field(discriminator="kind")
]


TaskKind = Literal["answer", "retell", "judge", "people", "write", "introduce", "solve"]


class StoryTasks(Values):
    """Records drawn from the built-in written world: right by construction, the truth known."""

    kind: Literal["stories"]
    records: int = Field(ge=1)
    validation_records: int = Field(ge=1)
    test_records: int = Field(ge=1)
    seed: int = 0
    # Of instructions and pairs, drawn evenly; where none is named, all but solve in usual shares.
    kinds: tuple[TaskKind, ...] = ()
    # How many steps the problems take, drawn evenly: one named twice is drawn twice as often.
    steps: tuple[Literal[1, 2, 3, 4], ...] = Field(default=(2, 3, 4), min_length=1)


class NamedTasks(Values):
    """A public set of records by its name in `data.sources`; the first `max_records` of a split."""

    kind: Literal["named"]
    name: str
    max_records: int | None = Field(default=None, ge=1)


class FileTasks(Values):
    """The user's own records: JSON lines, or a JSON list, with the fields of the record.

    What they are is written in `data.tasks.records`. `id` may be left out.
    """

    kind: Literal["files"]
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    data_kind: Literal["real", "generated"] = "real"


TaskConfig = Annotated[StoryTasks | NamedTasks | FileTasks, Field(discriminator="kind")]


class TrainedTokenizer(Values):
    """A byte-level BPE trained on the training split alone."""

    kind: Literal["train"]
    vocab_size: int = Field(ge=259)


class LoadedTokenizer(Values):
    """A tokenizer.json, a folder that holds one, or a hub id."""

    kind: Literal["load"]
    path: str


TokenizerConfig = Annotated[TrainedTokenizer | LoadedTokenizer, Field(discriminator="kind")]
