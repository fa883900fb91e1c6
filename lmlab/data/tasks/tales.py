"""Short tales of the written world, the truth behind each, and untruths of the same kind."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lmlab.data.stories.plots.course import Course
from lmlab.data.stories.story import happen
from lmlab.data.stories.telling import PLAIN_SLOTS, Teller, clock, counted, grammar_of, in_words
from lmlab.data.stories.world import (
    ALL_DISHES,
    ALL_GOODS,
    ALL_LIKES,
    ALL_MERITS,
    ALL_OUTINGS,
    ALL_PASTIMES,
    ALL_PROMISES,
    ALL_SKILLS,
    ALL_TRADES,
    NAMES,
    Dice,
    Event,
    Person,
    Split,
    World,
    draw_thing,
    draw_village,
    draw_world,
    home_of,
)
from lmlab.data.tasks.phrases import sentence

# What of a plot a short telling keeps. `mending` is left out: its things may be of another split.
KEPT = {
    "baking": "dish_plan short_of borrowed baked",
    "birthday_visit": "invited arrive birthday_gift age_talk gift_back",
    "chain_of_swaps": "want owner have swap",
    "heavy_task": "task carried task_done reward",
    "learning": "skill_wish attempt advice skill_done",
    "lost_and_found": "treasure missed found handed magpie thanks",
    "market_day": "stock sale tally",
    "misunderstanding": "suspect wrong_guess truth sorry",
    "parcels": "parcels deliver",
    "promise": "promise tempted resisted kept forgot confessed",
    "race": "race_call fallen stopped passed finish prize",
    "spoiled_outing": "plan turned shelter instead",
    "treasure_hunt": "clue_start clue clue_end",
}
PLOTS = tuple(KEPT)
# With a question and an answer, within 256 tokens of a small vocabulary.
MAX_WORDS = 115
OPENINGS = """
# child
{who} was a {trait} {man} of {age} who lived in {village} and [loved|was fond of] {likes}
in {village} lived a {trait} {man} of {age} called {who}, who [loved|liked] {likes}
{who}, who was {age} and {trait}, lived in {village} and [loved|enjoyed] {likes}
*nobody in {village} was so fond of {likes} as {who}, a {trait} {man} of {age}

# grown
{who} the {trade}, a {trait} {man} of {age}, lived in {village} and [loved|was fond of] {likes}
in {village} lived a {trait} {trade} of {age} called {who}, who [loved|liked] {likes}
{who} was {age}, a {trait} {trade} in {village}, and [loved|enjoyed] {likes}
*nobody in {village} was so fond of {likes} as {who} the {trade}, a {trait} {man} of {age}
"""
# What a value is, by the slot of the telling that gives it.
FAMILIES = {
    "Who": "person", "Whom": "person", "first": "person", "second": "person", "third": "person",
    "age": "number", "n": "number", "m": "number", "total_n": "number", "missing": "number",
    "minutes": "number", "coins": "coins", "price": "coins", "place": "place", "at": "at",
    "village": "village", "elsewhere": "village", "thing": "thing", "ngoods": "goods",
    "clock": "clock", "clock2": "clock", "likes": "likes", "trade": "trade", "dish": "dish",
    "why": "merit", "advice": "advice",
}  # fmt: skip
DETAILS = {
    "skill_wish": "skill", "promise": "duty", "tempted": "pastime", "plan": "outing",
    "instead": "pastime", "want": "noun", "owner": "noun", "clue": "place",
}  # fmt: skip
WORDS: Mapping[str, Sequence[str]] = {
    "dish": tuple(dish for dish, _ in ALL_DISHES),
    "merit": ALL_MERITS,
    "skill": tuple(skill for skill, _, _ in ALL_SKILLS),
    "advice": tuple(advice for _, _, advice in ALL_SKILLS),
    "duty": ALL_PROMISES,
    "pastime": ALL_PASTIMES,
    "outing": ALL_OUTINGS,
}
NUMBERS = {in_words(number): number for number in range(1, 400)}
WORD = re.compile(r"[\w-]+")
CLOCKS = {clock(minute): minute for minute in range(60, 60 * 13, 5)}


@dataclass(frozen=True)
class Tale:
    """A short story in one paragraph, and what truly happened in it."""

    text: str
    plot: str
    world: World
    events: tuple[Event, ...]
    split: Split

    def all(self, kind: str) -> list[Event]:
        """The events of a kind, in order of time."""
        return [event for event in self.events if event.kind == kind]

    def value(self, event: Event, slot: str) -> str:
        """What the telling would put into one of its slots."""
        teller = Teller(self.world, grammar=grammar_of(True), dice=Dice(""))
        teller.event = event
        teller.known.update(person.name for person in self._everybody)
        return PLAIN_SLOTS[slot](teller)

    def says(self, phrase: str) -> bool:
        """Whether the text has these words."""
        return _words(phrase).lower() in self._said.lower()

    @property
    def people(self) -> list[str]:
        """Everybody who is named, in order of appearance."""
        places = {one.name: self._said.find(_words(one.name)) for one in self._everybody}
        return sorted((name for name, at in places.items() if at >= 0), key=lambda n: places[n])

    @property
    def places(self) -> list[str]:
        """Where its events take place."""
        return list({event.where.name: 0 for event in self.events if event.where})

    @cached_property
    def _said(self) -> str:
        return _words(self.text)

    @property
    def _everybody(self) -> list[Person]:
        return [self.world.hero, self.world.friend, *self.world.others]


def draw_tale(dice: Dice, *, split: Split) -> Tale:
    """A world and a plot of the split, told in five to eight sentences."""
    while True:
        tale = _tell(dice, split)
        if len(tale.text.split()) <= MAX_WORDS:
            return tale


def family_of(event: Event, slot: str) -> str | None:
    """What kind of value a slot holds in an event; None where it cannot be mistaken."""
    return DETAILS[event.kind] if slot == "detail" else FAMILIES.get(slot)


def untruth(tale: Tale, family: str, value: str, *, besides: str, dice: Dice) -> str:
    """Another value of the same kind, where it can be from the same tale.

    Nobody, and no noun, that `besides` has is taken: it is what the value stands in.
    """
    taken = {value}
    if family in ("person", "noun"):
        taken.update(WORD.findall(besides))
    while True:
        other = _another(tale, family, value, dice)
        if other not in taken:
            return other


def hero_values(world: World) -> dict[str, str]:
    """What an opening says of the hero."""
    hero = world.hero
    noun = {"f": ("girl", "woman"), "m": ("boy", "man")}[hero.sex][hero.age > 16]
    return {
        "who": hero.name, "trait": hero.trait, "age": in_words(hero.age), "likes": hero.likes,
        "trade": hero.trade, "man": noun, "village": world.village,
    }  # fmt: skip


def other_likes(hero: Person, *, dice: Dice, split: Split) -> str:
    """Another liking that the hero might have had in a world of the split."""
    place = list[str](NAMES[hero.sex]).index(hero.name)
    open_to = [like for j, like in enumerate(ALL_LIKES) if home_of(place, j) == split]
    return dice.pick(open_to)


def _words(text: str) -> str:
    """The words with a space on either side of each."""
    return f" {' '.join(WORD.findall(text))} "


def _tell(dice: Dice, split: Split) -> Tale:
    world, plot = draw_world(dice, split=split), dice.pick(PLOTS)
    course = Course(world, dice=dice, split=split)
    kept = {*KEPT[plot].split()}
    hero = Event("hero", course.clock, world.hero)
    events = tuple(event for event in happen(course, plot=plot) if event.kind in kept)
    rule = "grown" if world.hero.trade else "child"
    opening = sentence(OPENINGS, rule, hero_values(world), dice=dice, split=split)
    teller = Teller(world, grammar=grammar_of(split != "train"), dice=dice)
    teller.known.add(world.hero.name)
    teller.focus = world.hero
    told = teller.tell(events).replace("\n\n", " ")
    return Tale(f"{opening} {told}", plot, world, (hero, *events), split)


def _another(tale: Tale, family: str, value: str, dice: Dice) -> str:
    match family:
        case "person" | "place" | "at" | "thing" | "noun":
            return dice.pick(_neighbours(tale, family, dice))
        case "number":
            return _near(value, dice)
        case "coins":
            return f"{_near(value.rsplit(maxsplit=1)[0], dice)} coins"
        case "clock":
            return clock(CLOCKS[value] + 15 * dice.number(-6, 6))
        case "village":
            return draw_village(dice, split=tale.split)
        case "goods":
            goods = dice.pick(ALL_GOODS)
            return counted(dice.number(2, 9), goods.noun, goods.plural)
        case "likes":
            return other_likes(tale.world.hero, dice=dice, split=tale.split)
        case "trade":
            return dice.pick(ALL_TRADES[tale.world.hero.sex])
        case _:
            return dice.pick(WORDS[family])


def _neighbours(tale: Tale, family: str, dice: Dice) -> list[str]:
    """What is at hand in the tale's world, what the tale names first."""
    world = tale.world
    things = [one for event in tale.events for one in (event.what,) if one and one.looks]
    things.append(draw_thing(dice, split=tale.split))
    match family:
        case "person":
            return [*tale.people, world.friend.name, *(one.name for one in world.others)]
        case "place":
            return [*tale.places, *(place.name for place in world.places)]
        case "at":
            return [place.at for place in world.places]
        case "noun":
            return [thing.noun for thing in things]
        case _:
            return [thing.name for thing in things]


def _near(value: str, dice: Dice) -> str:
    """A number close to another one, so that neither size nor length tells which is true."""
    return in_words(max(2, NUMBERS[value] + dice.number(-4, 4)))
