"""Events into prose: names and pronouns, numbers and times in words, paragraphs, capitals."""

import re
from collections.abc import Sequence
from functools import cache

from lmlab.data.stories import words
from lmlab.data.stories.grammar import Grammar, Slot, expand
from lmlab.data.stories.prose import TEXTS
from lmlab.data.stories.world import Dice, Event, Person, Place, Split, T, Thing, World

PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself")}
ONES, TENS, ORDINALS = words.ONES.split(), words.TENS.split(), words.ORDINALS.split()
MINUTES = {
    5: "five past", 10: "ten past", 15: "a quarter past", 20: "twenty past",
    25: "twenty-five past", 30: "half past", 35: "twenty-five to", 40: "twenty to",
    45: "a quarter to", 50: "ten to", 55: "five to",
}  # fmt: skip
NEW_SCENES = """
walk travel search missed clue clue_end deliver found handed magpie suspect truth present swap baked
mended finish turned shelter tempted forgot kept tally attempt carried night confessed arrive
task_done age_talk race_call part
"""
PARAGRAPHS = frozenset(NEW_SCENES.split())
SENTENCE = re.compile(r'([.!?] "?|\." "?|: "|[?!]" ")([a-z])')
ARTICLE = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!s|ni))(?!one\b|once\b)")


def tell(events: Sequence[Event], *, world: World, split: Split, dice: Dice) -> str:
    """The prose of a course of events: paragraphs parted by an empty line."""
    return Teller(world, grammar=grammar_of(split != "train"), dice=dice).tell(events)


@cache
def grammar_of(held_out: bool) -> Grammar:
    return Grammar(TEXTS, slots=SLOTS, held_out=held_out)


class Teller:
    """What the listener knows so far: who was named, who was last spoken of, what was said."""

    def __init__(self, world: World, *, grammar: Grammar, dice: Dice) -> None:
        self.world, self.dice, self.rules = world, dice, grammar.rules
        self.event = Event("", 0, world.hero)
        self.known: set[str] = set()
        self.told: set[str] = set()
        self.focus: Person | None = None
        self.rival: Person | None = None

    def tell(self, events: Sequence[Event]) -> str:
        paragraphs: list[list[str]] = [[]]
        for event in events:
            size = len(paragraphs[-1])
            if size >= 5 or (size >= 2 and event.kind in PARAGRAPHS):
                paragraphs.append([])
                self.focus = None
            paragraphs[-1].append(self.sentence(event))
        return polish("\n\n".join(" ".join(sentences) for sentences in paragraphs))

    def sentence(self, event: Event) -> str:
        self.event = event
        way = self.way(event.kind)
        out: list[str] = []
        expand(way, self.dice.random, self, out)
        self.rival = event.whom
        return finish("".join(out))

    def way(self, kind: str) -> tuple:
        """An alternative that this story has not used yet, where there is one."""
        ways = self.rules[kind].ways
        number = start = int(self.dice.random() * len(ways))
        while f"{kind}{number}" in self.told:
            number = (number + 1) % len(ways)
            if number == start:
                break
        self.told.add(f"{kind}{number}")
        return ways[number]

    def say(self, rule: str) -> str:
        out: list[str] = []
        expand((self.rules[rule],), self.dice.random, self, out)
        return "".join(out)

    def fresh(self, phrases: Sequence[str]) -> str:
        """One of the phrases, if possible one that this story has not heard."""
        phrase = self.dice.pick(phrases)
        if phrase in self.told:
            phrase = self.dice.pick(phrases)
        self.told.add(phrase)
        return phrase

    @property
    def whom(self) -> Person:
        return needed(self.event.whom)

    @property
    def what(self) -> Thing:
        return needed(self.event.what)

    @property
    def goods(self) -> Thing:
        return needed(self.event.goods)

    @property
    def where(self) -> Place:
        return needed(self.event.where)

    def subject(self) -> str:
        """A pronoun where it is plain who is meant, else a name."""
        person, rival = self.event.who, self.rival
        plain = self.focus is person and (rival is None or rival.sex != person.sex)
        other = self.event.whom
        if plain and (other is None or other.sex != person.sex) and self.dice.chance(0.6):
            return PRONOUNS[person.sex][0]
        self.focus = person
        return self.name(person)

    def name(self, person: Person) -> str:
        """The name, with who that is when it is heard for the first time."""
        if person.name in self.known:
            return person.name
        self.known.add(person.name)
        if person is self.world.hero:
            return person.name
        if not person.kin:
            return f"{person.name} the {person.trade}"
        hero = self.world.hero
        owner = PRONOUNS[hero.sex][2] if self.event.who is hero else f"{hero.name}'s"
        return f"{owner} {person.kin} {person.name}"


def needed(value: T | None) -> T:
    """What an event of this kind always has."""
    assert value is not None, "the prose speaks of something that the event does not have"
    return value


def finish(text: str) -> str:
    """A capital in front and a full stop behind."""
    text = text.strip()
    start = 1 if text[0] == '"' else 0
    text = text[:start] + text[start].upper() + text[start + 1 :]
    return text if text[-1] in '.!?"' else text + "."


def polish(text: str) -> str:
    """Capitals where sentences begin within a phrase, and `a` or `an`."""
    text = ARTICLE.sub(r"\1n ", text)
    return SENTENCE.sub(lambda match: match[1] + match[2].upper(), text)


def in_words(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number >= 100:
        rest = number % 100
        head = f"{ONES[number // 100]} hundred"
        return f"{head} and {in_words(rest)}" if rest else head
    tens, ones = divmod(number, 10)
    return TENS[tens] + (f"-{ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    if number < 20:
        return ORDINALS[number]
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]}-{ORDINALS[ones]}" if ones else f"{TENS[tens][:-1]}ieth"


def past(clause: str) -> str:
    return " ".join(words.PAST.get(word, word) for word in clause.split())


def clock(minute: int) -> str:
    hours, minutes = divmod(minute, 60)
    hours = hours + 1 if minutes > 30 else hours
    hour = ONES[(hours - 1) % 12 + 1]
    return f"{MINUTES[minutes]} {hour}" if minutes else f"{hour} o'clock"


def part_of_day(minute: int) -> str:
    return "morning" if minute < 12 * 60 else "afternoon" if minute < 18 * 60 else "evening"


def counted(number: int, one: str, many: str) -> str:
    return f"{in_words(number)} {one if number == 1 else many}"


def older(t: Teller) -> str:
    years = t.world.friend.age - t.world.hero.age
    if years == 0:
        return "just as old"
    return f"{counted(abs(years), 'year', 'years')} {'older' if years > 0 else 'younger'}"


def named(t: Teller, person: Person) -> str:
    t.known.add(person.name)
    return person.name


def _pronoun(index: int) -> Slot:
    return lambda t: PRONOUNS[t.event.who.sex][index]


def _their_pronoun(index: int) -> Slot:
    return lambda t: PRONOUNS[t.whom.sex][index]


def _their_subject(t: Teller) -> str:
    """`she`, or half the time the name where there are two of whom it could be said."""
    whom = t.whom
    if whom.sex == t.event.who.sex and t.dice.chance(0.5):
        return named(t, whom)
    return PRONOUNS[whom.sex][0]


def _capital(slot: Slot) -> Slot:
    def capital(teller: Teller) -> str:
        text = slot(teller)
        return text[:1].upper() + text[1:]

    return capital


PLAIN_SLOTS: dict[str, Slot] = {
    "who": lambda t: t.subject(),
    "Who": lambda t: named(t, t.event.who),
    "he": _pronoun(0), "him": _pronoun(1), "his": _pronoun(2), "self": _pronoun(3),
    "whom": lambda t: t.name(t.whom),
    "Whom": lambda t: named(t, t.whom),
    "whe": _their_subject, "whim": _their_pronoun(1), "whis": _their_pronoun(2),
    "wkin": lambda t: t.whom.kin,
    "wage": lambda t: in_words(t.whom.age),
    "wtrait": lambda t: t.whom.trait,
    "wlikes": lambda t: t.whom.likes,
    "wman": lambda t: _person_noun(t.whom),
    "older": older,
    "age": lambda t: in_words(t.event.who.age),
    "trade": lambda t: t.event.who.trade,
    "trait": lambda t: t.event.who.trait,
    "likes": lambda t: t.event.who.likes,
    "girl": lambda t: _person_noun(t.event.who),
    "man": lambda t: _person_noun(t.event.who),
    "first": lambda t: t.name(t.event.people[0]),
    "second": lambda t: t.name(t.event.people[1]),
    "third": lambda t: t.name(t.event.people[2]),
    "rivals": lambda t: " and ".join(t.name(person) for person in t.event.people),
    "thing": lambda t: t.what.name,
    "noun": lambda t: t.what.noun,
    "looks": lambda t: t.what.looks,
    "colour": lambda t: t.what.looks.split()[-1],
    "price": lambda t: counted(t.goods.price, "coin", "coins"),
    "given": lambda t: t.goods.name,
    "goods": lambda t: t.goods.noun if t.event.count == 1 else t.goods.plural,
    "ngoods": lambda t: counted(t.event.count, t.goods.noun, t.goods.plural),
    "load": lambda t: t.goods.plural,
    "unit": lambda t: t.goods.plural,
    "stuff": lambda t: t.goods.plural,
    "dish": lambda t: t.what.plural,
    "n": lambda t: in_words(t.event.count),
    "m": lambda t: in_words(t.event.rest),
    "total_n": lambda t: in_words(t.event.total),
    "sum_n": lambda t: in_words(t.event.count + t.event.rest),
    "missing": lambda t: in_words(t.event.count - t.event.total),
    "more": lambda t: in_words(t.event.total - t.event.count),
    "next": lambda t: in_words(t.event.count + 1),
    "nth": lambda t: ordinal(t.event.count),
    "ordinal": lambda t: ordinal(t.event.total),
    "coins": lambda t: counted(t.event.coins, "coin", "coins"),
    "total": lambda t: counted(t.event.total, "coin", "coins"),
    "parcels": lambda t: counted(t.event.total, "parcel", "parcels"),
    "minutes": lambda t: in_words(t.event.minutes),
    "was_n": lambda t: "was" if t.event.count == 1 else "were",
    "was_t": lambda t: "was" if t.event.total == 1 else "were",
    "was_c": lambda t: "was" if t.event.coins == 1 else "were",
    "them": lambda t: "it" if t.event.count == 1 else "them",
    "place": lambda t: t.where.name,
    "at": lambda t: t.where.at,
    "scene": lambda t: t.fresh(t.where.sights),
    "spot": lambda t: t.event.spot,
    "clock": lambda t: clock(t.event.minute),
    "clock2": lambda t: clock(t.event.due),
    "part": lambda t: part_of_day(t.event.minute),
    "village": lambda t: t.world.village,
    "elsewhere": lambda t: t.world.elsewhere,
    "month": lambda t: t.world.month,
    "season": lambda t: t.world.season,
    "weekday": lambda t: t.world.weekday,
    "sky": lambda t: t.say(f"sky_{t.world.weather}"),
    "change": lambda t: t.say(f"change_{t.world.weather}"),
    "why": lambda t: t.event.why,
    "fault": lambda t: t.event.why,
    "fault_past": lambda t: past(t.event.why),
    "advice": lambda t: t.event.why,
    "advice_bare": lambda t: t.event.why[:1].lower() + t.event.why[1:],
    "riddle": lambda t: t.event.why,
    "odd": lambda t: t.event.why,
    "detail": lambda t: t.event.detail,
}  # fmt: skip


def _person_noun(person: Person) -> str:
    if person.sex == "f":
        return "girl" if person.age < 17 else "woman"
    return "boy" if person.age < 17 else "man"


SLOTS = PLAIN_SLOTS | {f"{name}_cap": _capital(slot) for name, slot in PLAIN_SLOTS.items()}
