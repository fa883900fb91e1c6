"""Preference pairs from the written world: one response is right, the other only as fluent."""

from collections.abc import Sequence

from lmlab.data.stories.world import Dice, Split
from lmlab.data.tasks.instructions import draw_task
from lmlab.data.tasks.problems import STEPS
from lmlab.data.tasks.records import Pair

KINDS = (
    *("answer",) * 4, *("retell",) * 2, *("people",) * 1, *("write",) * 2, *("introduce",) * 1,
)  # fmt: skip


def draw_pair(
    split: Split,
    index: int,
    *,
    seed: int,
    kinds: Sequence[str] = KINDS,
    steps: Sequence[int] = STEPS,
) -> Pair:
    """The pair that (seed, split, index) determine, of one of the `kinds`."""
    dice = Dice(f"{seed}/{split}/{index}/pair")
    while True:
        task = draw_task(dice, kind=dice.pick(kinds), split=split, steps=steps)
        if task.response != task.wrong:
            break
    name = f"stories/{split}/{index}"
    return Pair(name, task.instruction, task.response, task.wrong, task.input)
