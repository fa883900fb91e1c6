"""Records of every kind of task from every kind of source."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lmlab.data.files import read_rows
from lmlab.data.schema import FileTasks, NamedTasks, StoryTasks, TaskConfig
from lmlab.data.stories import Split
from lmlab.data.tasks.dialogues import draw_dialogue
from lmlab.data.tasks.instructions import draw_instruction
from lmlab.data.tasks.named import named_tasks
from lmlab.data.tasks.pairs import draw_pair
from lmlab.data.tasks.problems import draw_problem
from lmlab.data.tasks.records import (
    Dialogue,
    Instruction,
    Pair,
    Problem,
    Review,
    TaskRecord,
    TaskSplit,
)
from lmlab.data.tasks.reviews import draw_review
from lmlab.data.text import SPLITS, THEIR_OWN


def load_instructions(config: TaskConfig, split: str) -> TaskSplit[Instruction]:
    """Instructions with a right response each."""
    return _load(config, split, Instruction, partial(draw_instruction, **_choice(config)))


def load_pairs(config: TaskConfig, split: str) -> TaskSplit[Pair]:
    """Prompts with a preferred and a rejected response each."""
    return _load(config, split, Pair, partial(draw_pair, **_choice(config)))


def load_problems(config: TaskConfig, split: str) -> TaskSplit[Problem]:
    """Arithmetic problems with worked solutions."""
    steps = config.steps if isinstance(config, StoryTasks) else ()
    return _load(config, split, Problem, partial(draw_problem, steps=steps))


def load_reviews(config: TaskConfig, split: str) -> TaskSplit[Review]:
    """Opinions with their label."""
    return _load(config, split, Review, draw_review)


def load_dialogues(config: TaskConfig, split: str) -> TaskSplit[Dialogue]:
    """Dialogues with their summaries."""
    return _load(config, split, Dialogue, draw_dialogue)


def _choice(config: TaskConfig) -> Mapping[str, Sequence[Any]]:
    """Which kinds of task are drawn, and of how many steps; the usual ones where none is named."""
    if not isinstance(config, StoryTasks):
        return {}
    return {"steps": config.steps} | ({"kinds": config.kinds} if config.kinds else {})


def _load(
    config: TaskConfig, split: str, record: type[TaskRecord], draw: Callable[..., TaskRecord]
) -> TaskSplit[TaskRecord]:
    if split not in SPLITS:
        raise ValueError(f"no split is named {split!r}; there are {', '.join(SPLITS)}")
    match config:
        case StoryTasks():
            return _from_stories(config, split, draw)
        case NamedTasks():
            return named_tasks(config, split, record)
        case FileTasks():
            return _from_files(config, split, record)


def _from_stories(
    config: StoryTasks, split: Split, draw: Callable[..., TaskRecord]
) -> TaskSplit[TaskRecord]:
    counts: Mapping[Split, int] = {
        "train": config.records,
        "validation": config.validation_records,
        "test": config.test_records,
    }
    return TaskSplit(
        name="stories",
        split=split,
        records=[draw(split, index, seed=config.seed) for index in range(counts[split])],
        data_kind="generated",
        licence="Apache-2.0",
        dropped={},
    )


def _from_files(config: FileTasks, split: Split, record: type[TaskRecord]) -> TaskSplit[TaskRecord]:
    patterns = {"train": config.train, "validation": config.validation, "test": config.test}[split]
    if not patterns:
        raise ValueError(f"no {split} files are given; list some under `{split}`")
    # A name that leads nowhere is left to the reader, which says why.
    paths = [path for one in patterns for path in sorted(glob(one, recursive=True)) or [one]]
    return TaskSplit(
        name="files",
        split=split,
        records=[
            _file_record(row, record, place=f"{path}: row {number}", default_id=f"{split}/{count}")
            for count, (path, number, row) in enumerate(_rows(paths))
        ],
        data_kind=config.data_kind,
        licence=THEIR_OWN,
        dropped={},
    )


def _rows(paths: Iterable[str]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for path in paths:
        for number, row in enumerate(read_rows(Path(path))):
            yield path, number, row


def _file_record(
    row: Mapping[str, Any], record: type[TaskRecord], *, place: str, default_id: str
) -> TaskRecord:
    hints = get_type_hints(record)
    defaults = {one.name: one.default for one in fields(record) if one.default is not MISSING}
    values = {"id": default_id, **defaults, **row}
    unfit = sorted(set(hints) ^ set(values))
    unfit += [name for name in hints if name in values and not _fits(values[name], hints[name])]
    if unfit:
        raise ValueError(
            f"{place} is no {record.__name__.lower()} record, whose fields are "
            f"{', '.join(hints)}; look at {', '.join(unfit)}"
        )
    return record(**{name: _frozen(value) for name, value in values.items()})


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is a text, one of the words allowed, or a list of texts."""
    if hint is str:
        return isinstance(value, str)
    if hint == tuple[str, ...]:
        return isinstance(value, list) and bool(value) and all(isinstance(x, str) for x in value)
    return value in get_args(hint)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
