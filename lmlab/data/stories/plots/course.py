"""The course of a story: its world, its clock and its dice, and what nearly every plot needs."""

from collections.abc import Iterator

from lmlab.data.stories.places import RIDDLES
from lmlab.data.stories.world import (
    ALL_GOODS,
    Dice,
    Event,
    Person,
    Place,
    Split,
    Thing,
    World,
    draw_thing,
)

EVENING = 19 * 60


class Course:
    """What a plot draws on while it unfolds; only the clock changes."""

    def __init__(self, world: World, *, dice: Dice, split: Split) -> None:
        self.world, self.dice = world, dice
        self.split: Split = split
        self.hero, self.friend, self.others = world.hero, world.friend, world.others
        self.places = world.places
        self.elder = world.friend if world.friend.age > 16 else world.others[3]
        self.clock = dice.number(78, 120) * 5

    def tick(self, minutes: int) -> int:
        """Let about so many minutes pass and return the new time, in minutes since midnight."""
        self.clock += 5 * max(1, round(minutes * (0.6 + 0.8 * self.dice.random()) / 5))
        return self.clock

    def evening(self) -> int:
        self.clock = max(self.clock + 30, EVENING + 5 * self.dice.number(0, 30))
        return self.clock

    def thing(self) -> Thing:
        return draw_thing(self.dice, split=self.split)

    def goods(self) -> Thing:
        return self.dice.pick(ALL_GOODS)

    def branch(self, *ways: str) -> str:
        """One way for the plot to go on; ways marked `*` are held out of the training split."""
        open_ways = [way for way in ways if self.split != "train" or not way.startswith("*")]
        return self.dice.pick(open_ways).lstrip("*")

    def riddle(self, place: Place) -> str:
        return self.dice.pick(RIDDLES[place.name.removeprefix("the ")])


def opening(course: Course) -> Iterator[Event]:
    """The village, the day and the hero, and sometimes the hero's friend."""
    hero, dice, clock = course.hero, course.dice, course.clock
    yield Event("setting", clock, hero)
    kind = "hero_grown" if hero.trade else "hero_child"
    yield Event(kind, clock, hero, where=dice.pick(course.places))
    if dice.chance(0.6):
        yield Event("friend", clock, hero, whom=course.friend)


def idle(course: Course, *, where: Place) -> Iterator[Event]:
    """Now and then a sight, the weather, or a small habit: true, though nothing follows from it."""
    draw = course.dice.random()
    if draw < 0.25:
        yield Event("scene", course.clock, course.hero, where=where)
    elif draw < 0.42 and not where.indoors:
        yield Event("sky_now", course.clock, course.hero, where=where)
    elif draw < 0.56:
        yield from habit(course)


def habit(course: Course) -> Iterator[Event]:
    """Now and then a small pause, wherever the hero is."""
    if course.dice.chance(0.5):
        yield Event("pause", course.tick(5), course.hero)


def walk(course: Course, *, where: Place) -> Iterator[Event]:
    yield Event("walk", course.tick(15), course.hero, where=where)


def meet(course: Course, *, whom: Person, where: Place) -> Iterator[Event]:
    if course.dice.chance(0.5):
        yield Event("greet", course.tick(5), course.hero, whom=whom, where=where)


def closing(course: Course) -> Iterator[Event]:
    """Night falls; sometimes there is something to be learnt from the day."""
    if course.dice.chance(0.7):
        yield Event("night", course.evening(), course.hero)
    if course.dice.chance(0.45):
        yield Event("wisdom", course.clock, course.hero)
