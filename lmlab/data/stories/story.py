"""Stories: a world is drawn, a plot runs in it and is checked, and what happened is told."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lmlab.data.stories.plots import PLOTS
from lmlab.data.stories.plots.course import Course, closing, opening
from lmlab.data.stories.telling import tell
from lmlab.data.stories.world import Dice, Event, Move, Split, World, draw_world

PLOT_NAMES = tuple(PLOTS)


@dataclass(frozen=True)
class Story:
    """A story, and the truth behind it: the world before it began and what then happened."""

    text: str
    plot: str
    world: World
    events: tuple[Event, ...]


def stories(split: Split, count: int, *, seed: int) -> Iterator[Story]:
    """The first `count` stories of a split."""
    return (story(split, index, seed=seed) for index in range(count))


def story(split: Split, index: int, *, seed: int) -> Story:
    """The story that (seed, split, index) alone determine, so that any order will do."""
    dice = Dice(f"{seed}/{split}/{index}")
    world = draw_world(dice, split=split)
    plot = dice.pick(PLOT_NAMES)
    events = tuple(happen(Course(world, dice=dice, split=split), plot=plot))
    return Story(tell(events, world=world, split=split, dice=dice), plot, world, events)


def happen(course: Course, *, plot: str) -> Iterator[Event]:
    """The events of a plot from opening to close; nobody parts with what they do not have."""
    holdings: Counter[tuple[str, str]] = Counter()
    for part in (opening(course), PLOTS[plot](course), closing(course)):
        for event in part:
            for move in event.moves:
                pass_on(holdings, move)
            yield event


def pass_on(holdings: Counter[tuple[str, str]], move: Move) -> None:
    if move.giver:
        have = holdings[move.giver, move.item]
        assert have >= move.count > 0, f"{move.giver} has {have} {move.item}, gives {move.count}"
        holdings[move.giver, move.item] -= move.count
    if move.taker:
        holdings[move.taker, move.item] += move.count
