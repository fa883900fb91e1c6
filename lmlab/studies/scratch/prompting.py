"""Prompts for the baseline tasks: what is asked of each record, and solved examples before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lmlab.data.loader import keyed_generator
from lmlab.data.tasks.load import load_dialogues, load_problems, load_reviews
from lmlab.data.tasks.records import Dialogue, Problem, Review, TaskSplit
from lmlab.studies.scratch.baselines_config import BaselinesConfig

TaskName = Literal["reviews", "dialogues", "problems"]
# Ours. Part of a score's protocol: another wording gives other numbers.
TEMPLATES: Mapping[TaskName, str] = {
    "reviews": "Review: {}\nSentiment:",
    "dialogues": "Dialogue:\n{}\nSummary:",
    "problems": "Question: {}\nAnswer:",
}
# Between a solved example and the next; what a model writes after it is no answer any more.
SEPARATOR = "\n\n"
LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Question:
    """What is asked of a record, and the answer that it has."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """Token ids of a prompt, and how many examples stand in it."""

    ids: list[int]
    num_shots: int


def load_records(settings: BaselinesConfig, split: str) -> TaskSplit:
    """The task's records."""
    match settings.task:
        case "reviews":
            return load_reviews(settings.data, split)
        case "dialogues":
            return load_dialogues(settings.data, split)
        case "problems":
            return load_problems(settings.data, split)


def question(record: Review | Dialogue | Problem) -> Question:
    """Of several summaries the first is the answer that is shown or learnt."""
    match record:
        case Review():
            return Question(record.id, record.text, record.label)
        case Dialogue():
            return Question(record.id, record.dialogue, record.summaries[0])
        case Problem():
            return Question(record.id, record.question, record.solution)


def render(task: TaskName, text: str) -> str:
    """The prompt; an answer follows it after a space."""
    return TEMPLATES[task].format(text)


def prompt_end(task: TaskName) -> str:
    """The last line of every prompt of the task."""
    return TEMPLATES[task].rpartition("\n")[2]


def draw_shots(
    train: Sequence[Question],
    *,
    num_shots: int,
    asked: Sequence[Question],
    shot_seed: int,
    order_seed: int,
) -> list[Question]:
    """Solved examples of the training split, in an order; none that is itself asked."""
    texts = {one.text for one in asked}
    free = [one for one in train if one.text not in texts]
    if len(free) < num_shots:
        raise ValueError(f"{num_shots} shots are wanted and the training split has {len(free)}")
    draw = keyed_generator(shot_seed, purpose="shots", epoch=0, item_id=0)
    chosen = draw.choice(len(free), num_shots, replace=False)
    order = keyed_generator(order_seed, purpose="order of shots", epoch=0, item_id=0)
    return [free[index] for index in order.permutation(chosen)]


def build_prompt(
    task: TaskName,
    text: str,
    shots: Sequence[Question],
    *,
    encode: Callable[[str], list[int]],
    room: int,
) -> Prompt:
    """The question whole, after as many of the examples as fit; the first ones are left out.

    Raises ValueError for a question that does not fit by itself.
    """
    solved = [f"{render(task, one.text)} {one.answer}" for one in shots]
    for first in range(len(solved) + 1):
        ids = encode(SEPARATOR.join([*solved[first:], render(task, text)]))
        if len(ids) <= room:
            return Prompt(ids, len(solved) - first)
    raise ValueError(f"a question is longer than {room} tokens by itself; set max_tokens higher")


def answer_of(text: str) -> str:
    """What was written, up to where a model would go on with another example."""
    return text.lstrip().split(SEPARATOR)[0].strip()
