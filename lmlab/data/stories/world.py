"""The written world: its people, places and things, and the events that happen in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

from lmlab.data.stories import words
from lmlab.data.stories.places import INDOORS, PLACES

Split = Literal["train", "validation", "test"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody; `kin` says what they are to the hero ("" for the hero and for strangers)."""

    name: str
    sex: Literal["f", "m"]
    age: int
    trade: str
    trait: str
    likes: str
    kin: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere: `spots` are where things hide, `sights` are clauses for a visitor to notice."""

    name: str
    at: str
    spots: tuple[str, ...]
    sights: tuple[str, ...]
    indoors: bool


@dataclass(frozen=True, slots=True)
class Thing:
    """A kind of thing, or one thing when it has looks; `price` is in coins."""

    noun: str
    plural: str
    looks: str = ""
    price: int = 0

    @property
    def name(self) -> str:
        return f"{self.looks} {self.noun}" if self.looks else self.noun


@dataclass(frozen=True, slots=True)
class Move:
    """So many of a thing pass from one holder to another; "" stands for the rest of the world."""

    giver: str
    taker: str
    item: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that truly happened: who did what, when, where, to what, how many, and why.

    `count` (of `goods`), `total` and `rest` are the numbers of the event; its kind says of what.
    """

    kind: str
    minute: int
    who: Person
    whom: Person | None = None
    people: tuple[Person, ...] = ()
    what: Thing | None = None
    goods: Thing | None = None
    where: Place | None = None
    spot: str = ""
    count: int = 0
    total: int = 0
    rest: int = 0
    coins: int = 0
    minutes: int = 0
    due: int = 0
    why: str = ""
    detail: str = ""
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """What is true before a story begins."""

    village: str
    elsewhere: str
    season: str
    month: str
    weekday: str
    weather: str
    hero: Person
    friend: Person
    others: tuple[Person, ...]
    places: tuple[Place, ...]


class Dice:
    """Draws from one keyed stream of random numbers."""

    def __init__(self, key: str) -> None:
        self.random = Random(key).random

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]

    def number(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def several(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different ones, in drawn order."""
        drawn: dict[int, T] = {}
        while len(drawn) < count:
            index = int(self.random() * len(options))
            drawn[index] = options[index]
        return list(drawn.values())

    def pair(self, first: Sequence[T], second: Sequence[T], *, split: Split) -> tuple[T, T]:
        """A combination that belongs to `split`: of ten, eight train, one validates, one tests."""
        while True:
            i, j = int(self.random() * len(first)), int(self.random() * len(second))
            if home_of(i, j) == split:
                return first[i], second[j]


def home_of(i: int, j: int) -> Split:
    """The only split in which the i-th and the j-th word of two lists are combined."""
    bucket = (7 * i + 3 * j) % 10
    return "validation" if bucket == 0 else "test" if bucket == 5 else "train"


def draw_world(dice: Dice, *, split: Split) -> World:
    """A village on one day, with a hero, somebody close, four strangers and six places."""
    pick = dice.pick
    season = pick(SEASONS)
    village = draw_village(dice, split=split)
    elsewhere = village
    while elsewhere == village:
        elsewhere = draw_village(dice, split=split)
    hero = draw_hero(dice, split=split)
    friend = draw_friend(dice, hero=hero)
    return World(
        village=village,
        elsewhere=elsewhere,
        season=season,
        month=pick(words.MONTHS[season]),
        weekday=pick(words.WEEKDAYS),
        weather=pick(words.WEATHERS[season]),
        hero=hero,
        friend=friend,
        others=draw_others(dice, taken={hero.name, friend.name}),
        places=tuple(dice.several(ALL_PLACES, 6)),
    )


def draw_village(dice: Dice, *, split: Split) -> str:
    return "".join(dice.pair(VILLAGE_STARTS, VILLAGE_ENDS, split=split))


def draw_hero(dice: Dice, *, split: Split) -> Person:
    """Half of the heroes are children or young; the name and the liking belong together."""
    sex = dice.pick(("f", "m"))
    name, likes = dice.pair(NAMES[sex], ALL_LIKES, split=split)
    age = dice.number(8, 16) if dice.chance(0.5) else dice.number(17, 72)
    trade = dice.pick(ALL_TRADES[sex]) if age > 16 else ""
    return Person(name, sex, age, trade, dice.pick(ALL_TRAITS), likes)


def draw_friend(dice: Dice, *, hero: Person) -> Person:
    """Somebody whose kinship and age fit the hero's age."""
    while True:
        kin, sex, low, high, youngest, oldest = dice.pick(ALL_KIN)
        age = hero.age + dice.number(low, high)
        name = dice.pick(NAMES[sex])
        if youngest <= hero.age <= oldest and 6 <= age <= 88 and name != hero.name:
            trade = dice.pick(ALL_TRADES[sex]) if 16 < age < 80 else ""
            return Person(name, sex, age, trade, dice.pick(ALL_TRAITS), dice.pick(ALL_LIKES), kin)


def draw_others(dice: Dice, *, taken: set[str]) -> tuple[Person, ...]:
    """Four working people of the village, with names and trades of their own."""
    people: list[Person] = []
    for trade in dice.several(range(len(ALL_TRADES["f"])), 4):
        sex = dice.pick(("f", "m"))
        name = dice.pick(NAMES[sex])
        while name in taken:
            name = dice.pick(NAMES[sex])
        taken = taken | {name}
        work, trait, likes = ALL_TRADES[sex][trade], dice.pick(ALL_TRAITS), dice.pick(ALL_LIKES)
        people.append(Person(name, sex, dice.number(19, 70), work, trait, likes))
    return tuple(people)


def draw_thing(dice: Dice, *, split: Split) -> Thing:
    """A thing to own: how it looks, its colour and what it is."""
    colour, noun = dice.pair(COLOURS, ALL_KEEPSAKES, split=split)
    return Thing(noun, noun + "s", f"{dice.pick(LOOKS)} {colour}")


def draw_looks(dice: Dice) -> str:
    return f"{dice.pick(LOOKS)} {dice.pick(COLOURS)}"


def parts(text: str, separator: str = ";") -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(separator) if part.strip())


def _place(line: str) -> Place:
    name, at, spots, sights = parts(line, "|")
    inside = name in INDOORS
    return Place(f"the {name}", f"{at} the {name}", parts(spots), parts(sights), inside)


def _goods(entry: str) -> Thing:
    names, price = entry.rsplit(" ", 1)
    one, many = names.split("|") if "|" in names else _plain_pair(names)
    return Thing(one.strip(), many.strip(), price=int(price))


def _plain_pair(names: str) -> tuple[str, str]:
    both = names.split()
    half = len(both) // 2
    return " ".join(both[:half]), " ".join(both[half:])


def _kin(entry: str) -> tuple[str, Literal["f", "m"], int, int, int, int]:
    kin, sex, *numbers = entry.split()
    low, high, youngest, oldest = map(int, numbers)
    return kin, "f" if sex == "f" else "m", low, high, youngest, oldest


def _dish(entry: str) -> tuple[str, str]:
    dish, ingredient = parts(entry, ":")
    return dish, ingredient


SEASONS = tuple(words.MONTHS)
NAMES = {"f": words.WOMEN.split(), "m": words.MEN.split()}
VILLAGE_STARTS, VILLAGE_ENDS = words.VILLAGE_STARTS.split(), words.VILLAGE_ENDS.split()
COLOURS, LOOKS = words.COLOURS.split(), words.LOOKS.split()
ALL_LIKES, ALL_TRAITS = parts(words.LIKES), parts(words.TRAITS)
ALL_TRADES = {
    "f": tuple(trade.split("|")[0] for trade in parts(words.TRADES)),
    "m": tuple(trade.split("|")[-1] for trade in parts(words.TRADES)),
}
ALL_KIN = tuple(_kin(entry) for entry in parts(words.KIN))
ALL_KEEPSAKES = parts(words.KEEPSAKES)
ALL_GOODS = tuple(_goods(entry) for entry in parts(words.GOODS))
ALL_DISHES = tuple(_dish(entry) for entry in parts(words.DISHES))
ALL_PLACES = tuple(_place(line) for line in PLACES)
ALL_ODDMENTS, ALL_MERITS = parts(words.ODDMENTS), parts(words.MERITS)
ALL_SKILLS = tuple(parts(entry, "|") for entry in parts(words.SKILLS))
ALL_FAULTS = tuple(parts(entry, "|") for entry in parts(words.FAULTS))
ALL_LOADS = tuple(Thing("", load) for load in parts(words.LOADS))
ALL_PROMISES, ALL_PASTIMES = parts(words.PROMISES), parts(words.PASTIMES)
ALL_OUTINGS = parts(words.OUTINGS)
