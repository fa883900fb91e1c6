"""The kinds of record that tasks are made of, and a split of them with its hash."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, Literal, TypeVar


@dataclass(frozen=True)
class Instruction:
    """What is asked, what it is asked of (or ""), and a right response."""

    id: str
    instruction: str
    input: str
    response: str


@dataclass(frozen=True)
class Pair:
    """Two responses, of which the first is preferred, to what is asked of `input` (or of "")."""

    id: str
    # Public pairs hold offensive text: kept out of every message that shows a record.
    prompt: str = field(repr=False)
    chosen: str = field(repr=False)
    rejected: str = field(repr=False)
    input: str = field(default="", repr=False)


@dataclass(frozen=True)
class Problem:
    """An arithmetic problem; the solution's last line is "#### " and the answer, as in GSM8K."""

    id: str
    question: str
    solution: str
    answer: str


@dataclass(frozen=True)
class Review:
    """An opinion, and which way it goes."""

    id: str
    text: str
    label: Literal["negative", "positive"]


@dataclass(frozen=True)
class Dialogue:
    """A conversation, a line a turn, and one or more summaries of it."""

    id: str
    dialogue: str
    summaries: tuple[str, ...]


TaskRecord = TypeVar("TaskRecord", Instruction, Pair, Problem, Review, Dialogue)


@dataclass(frozen=True, kw_only=True)
class TaskSplit(Generic[TaskRecord]):
    """One split of a source of records; `dropped` counts, by reason, the rows that made none."""

    name: str
    split: str
    records: list[TaskRecord] = field(repr=False)
    data_kind: Literal["real", "generated"]
    licence: str
    dropped: dict[str, int]
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError(f"the {self.split} split of {self.name} holds no record")
        ids = Counter(record.id for record in self.records)
        repeated = next((one for one, count in ids.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(
                f"{self.name} ({self.split}) has {ids[repeated]} records of the id {repeated!r}; "
                "give each its own"
            )
        object.__setattr__(self, "sha256", self._hash())

    @property
    def documents(self) -> list[str]:
        """The text of each record, to be compared with training text (`data.contamination`)."""
        return ["\n".join(record_texts(record)) for record in self.records]

    def _hash(self) -> str:
        rows = [asdict(record) for record in self.records]
        try:
            content = json.dumps(rows, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # The error's own message would show the text.
            raise ValueError(f"{self.name} ({self.split}) holds half a character") from None
        return hashlib.sha256(content).hexdigest()


def record_texts(record: Instruction | Pair | Problem | Review | Dialogue) -> Sequence[str]:
    """What a record says, each text once."""
    match record:
        case Instruction():
            return [record.instruction, record.input, record.response]
        case Pair():
            return [record.prompt, record.input, record.chosen, record.rejected]
        case Problem():
            return [record.question, record.solution]
        case Review():
            return [record.text]
        case Dialogue():
            return [record.dialogue, *record.summaries]
