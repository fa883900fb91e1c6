"""Records of the public sets: what a row of each form says, and which rows make no record."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, TypeVar

from lmlab.data.named import source_rows
from lmlab.data.schema import NamedTasks
from lmlab.data.sources import SOURCES, Form, Source
from lmlab.data.tasks.records import (
    Dialogue,
    Instruction,
    Pair,
    Problem,
    Review,
    TaskRecord,
    TaskSplit,
)

Row = Mapping[str, Any]
T = TypeVar("T")
FORMS: Mapping[type, tuple[Form, ...]] = {
    Instruction: ("alpaca",),
    Pair: ("conversations", "transcripts"),
    Problem: ("gsm8k",),
    Review: ("sst2",),
    Dialogue: ("summaries",),
}
HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant:"
GOLD = "#### "
# Cobbe et al. 2021: an integer, its thousands parted by commas.
GOLD_NUMBER = re.compile(r"-?[0-9][0-9.,]*")
SUMMARIES = ("summary1", "summary2", "summary3")


def named_tasks(config: NamedTasks, split: str, record: type[TaskRecord]) -> TaskSplit[TaskRecord]:
    """A split of a public set; one of another kind of record is an error that names those of it."""
    source = _find(config.name, record)
    dropped: Counter[str] = Counter()
    found = list(_records(source, split, dropped))[: config.max_records]
    return TaskSplit(
        name=source.name,
        split=split,
        records=found,
        data_kind=source.data_kind,
        licence=source.licence,
        dropped=dict(dropped),
    )


def split_transcripts(chosen: str, rejected: str) -> tuple[str, str, str] | None:
    """Prompt and both responses; None where the two differ before their last response.

    The prompt is what precedes the last "Assistant:", without the blank lines around it.
    """
    prompt, marker, response = chosen.rpartition(ASSISTANT)
    other, _, worse = rejected.rpartition(ASSISTANT)
    if not marker or prompt != other:
        return None
    return prompt.strip(), response.strip(), worse.strip()


def gold_answer(solution: str) -> str | None:
    """The number after "#### " without its commas; None where there is none."""
    number = solution.rpartition(GOLD)[2].strip()
    if GOLD not in solution or GOLD_NUMBER.fullmatch(number) is None:
        return None
    return number.replace(",", "")


def _find(name: str, record: type) -> Source:
    forms = FORMS[record]
    fitting = [one for one, source in SOURCES.items() if source.form in forms]
    if name in fitting:
        return SOURCES[name]
    near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.6) or fitting
    kind = record.__name__.lower()
    if name in SOURCES:
        raise ValueError(f"{name} holds no {kind} records; sets that do: {', '.join(fitting)}")
    raise ValueError(f"no set of {kind} records is named {name!r}; did you mean {', '.join(near)}?")


def _records(source: Source, split: str, dropped: Counter[str]) -> Iterable[Any]:
    rows = source_rows(source, split)
    match source.form:
        case "alpaca":
            return _each(rows, source, split, _instruction)
        case "conversations":
            return _each(rows, source, split, _conversation)
        case "transcripts":
            made = _each(rows, source, split, _transcript)
            return _kept(made, dropped, reason="the two transcripts differ before the last turn")
        case "gsm8k":
            return _each(rows, source, split, _problem)
        case "sst2":
            return _each(rows, source, split, _review)
        case "summaries":
            return _dialogues(rows, source, split)
        case "text":
            raise AssertionError(f"{source.name} is text")


def _each(
    rows: Iterable[Row], source: Source, split: str, make: Callable[[str, Row], T]
) -> Iterable[T]:
    """A record a row; an error names the row and shows none of its text."""
    for number, row in enumerate(rows):
        record_id = f"{source.name}/{split}/{number}"
        try:
            yield make(record_id, row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{record_id} is no {source.form} row ({type(error).__name__}); "
                "fetch the file again or drop the row"
            ) from None


def _kept(made: Iterable[T | None], dropped: Counter[str], *, reason: str) -> Iterable[T]:
    for record in made:
        if record is None:
            dropped[reason] += 1
        else:
            yield record


def _text(row: Row, field: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise TypeError(field)
    return value


def _instruction(record_id: str, row: Row) -> Instruction:
    instruction, given = _text(row, "instruction"), _text(row, "input")
    return Instruction(record_id, instruction, given, _text(row, "output"))


def _conversation(record_id: str, row: Row) -> Pair:
    """Turns become a transcript as that of HH-RLHF; a single question stays as it is."""
    turns = row["conversations"]
    spoken = [(turn["from"], _text(turn, "value")) for turn in turns]
    if sum(speaker == "human" for speaker, _ in spoken) > 1:
        heads = {"human": HUMAN, "gpt": f"{ASSISTANT} ", "system": "\n\n"}
        prompt = "".join(heads[speaker] + text for speaker, text in spoken).strip()
    else:
        prompt = "\n\n".join(text for _, text in spoken)
    return Pair(record_id, prompt, _text(row["chosen"], "value"), _text(row["rejected"], "value"))


def _transcript(record_id: str, row: Row) -> Pair | None:
    parts = split_transcripts(_text(row, "chosen"), _text(row, "rejected"))
    return None if parts is None else Pair(record_id, *parts)


def _problem(record_id: str, row: Row) -> Problem:
    solution = _text(row, "answer")
    answer = gold_answer(solution)
    if answer is None:
        raise ValueError("no gold answer")
    return Problem(record_id, _text(row, "question"), solution, answer)


def _review(record_id: str, row: Row) -> Review:
    text = _text(row, "text" if "text" in row else "sentence")
    label = {"0": "negative", "1": "positive"}[str(row["label"])]
    return Review(record_id, text.strip(), "positive" if label == "positive" else "negative")


def _dialogues(rows: Iterable[Row], source: Source, split: str) -> Iterable[Dialogue]:
    """Several references lie in one row, or in rows of the same dialogue one after another."""

    def reference(_: str, row: Row) -> tuple[str, tuple[str, ...]]:
        fields = ("summary",) if "summary" in row else SUMMARIES
        return _text(row, "dialogue"), tuple(_text(row, field) for field in fields)

    found = _each(rows, source, split, reference)
    for number, (dialogue, group) in enumerate(groupby(found, key=lambda one: one[0])):
        summaries = tuple(summary for _, several in group for summary in several)
        yield Dialogue(f"{source.name}/{split}/{number}", dialogue, summaries)
