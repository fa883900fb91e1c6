"""The built-in written world: seeded stories whose truth is known (`stories`, `story`)."""

from lmlab.data.stories.story import Story, stories, story
from lmlab.data.stories.world import Event, Move, Person, Place, Split, Thing, World

__all__ = [
    "Event",
    "Move",
    "Person",
    "Place",
    "Split",
    "Story",
    "Thing",
    "World",
    "stories",
    "story",
]
