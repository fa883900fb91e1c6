"""The page of samples: twenty records of each kind from the written world, unedited.

python -m lmlab.data.tasks.samples docs/task_samples.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from lmlab.data.schema import StoryTasks
from lmlab.data.tasks.load import (
    load_dialogues,
    load_instructions,
    load_pairs,
    load_problems,
    load_reviews,
)
from lmlab.data.tasks.records import Dialogue, Instruction, Pair, Problem, Review

COUNT = 20
HEAD = f"""\
# {COUNT} records of each task of the written world

Generated, like [the stories](stories_samples.md), and right by construction: `lmlab.data.tasks`
draws a tale or a scene whose truth is known. The first {COUNT // 2} of each kind train, the others
test: those are of other worlds, and some of their phrasings are in no training record. This page
is written by

    python -m lmlab.data.tasks.samples docs/task_samples.md
"""
LOADERS = {
    "Instructions": load_instructions,
    "Preference pairs": load_pairs,
    "Problems": load_problems,
    "Reviews": load_reviews,
    "Dialogues": load_dialogues,
}


def samples_page() -> str:
    """The whole page, as Markdown."""
    half = COUNT // 2
    config = StoryTasks(kind="stories", records=half, validation_records=1, test_records=half)
    parts = [HEAD]
    for title, load in LOADERS.items():
        parts.append(f"## {title}\n")
        for split in ("train", "test"):
            for record in load(config, split).records:
                parts.append(f"### {record.id.removeprefix('stories/')}\n")
                parts += [f"{name}\n\n{_quoted(text)}\n" for name, text in _labelled(record)]
    return "\n".join(parts)


def _labelled(
    record: Instruction | Pair | Problem | Review | Dialogue,
) -> Iterator[tuple[str, str]]:
    match record:
        case Instruction():
            yield "Instruction", record.instruction
            if record.input:
                yield "Input", record.input
            yield "Response", record.response
        case Pair():
            yield "Prompt", record.prompt
            if record.input:
                yield "Input", record.input
            yield "Chosen", record.chosen
            yield "Rejected", record.rejected
        case Problem():
            yield "Question", record.question
            yield "Solution", record.solution
        case Review():
            yield record.label.capitalize(), record.text
        case Dialogue():
            yield "Dialogue", record.dialogue
            for summary in record.summaries:
                yield "Summary", summary


def _quoted(text: str) -> str:
    """A block quote that keeps its lines."""
    lines = (f"> {line}" if line else ">" for line in text.split("\n"))
    return "  \n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(samples_page(), encoding="utf-8")
