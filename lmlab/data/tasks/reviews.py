"""Opinions of places, goods and meals: the verdict counts, not which words are in them."""

from dataclasses import asdict, dataclass

from lmlab.data.stories.words import WEEKDAYS
from lmlab.data.stories.world import (
    ALL_DISHES,
    ALL_PLACES,
    ALL_TRADES,
    NAMES,
    Dice,
    Split,
    draw_thing,
    draw_village,
    parts,
)
from lmlab.data.tasks.phrases import phrase, sentence
from lmlab.data.tasks.records import Review

# A point that is good or bad: {good} and {bad} are its opposite words, of which each may be denied.
PROSE = """
# place
[last week|yesterday|on {weekday}] we went to {place} in {village}
[this was|it was] my first visit to {place} in {village}
{who} took me to {place} in {village}
*of {place} in {village} I had heard much

# goods
I bought {thing} [from|at the stall of] {who} in {village}
[last week|on {weekday}] {who} in {village} sold me {thing}
*this is about {thing} that {who} sells in {village}

# meal
[at the inn|at the house of {who}] in {village} we had {dish}
{who} in {village} [made|baked] us {dish}
*for supper in {village} there were {dish}

# good_point
{point} was {good}
{point} was [{good}|really {good}|quite {good}]
{point} was not {bad}[ at all| in the least|]
nobody could call {point} {bad}
I [expected|had expected] {point} to be {bad}, and I was wrong
*{point} was anything but {bad}

# bad_point
{point} was {bad}
{point} was [{bad}|really {bad}|quite {bad}]
{point} was not {good}[ at all| in the least|]
nobody could call {point} {good}
I [expected|had expected] {point} to be {good}, and I was wrong
*{point} was anything but {good}

# agree
{first}, and {second}. {verdict}
{first}. [Besides|What is more], {second}. {verdict}
{verdict}: {first}, and {second}
*{first}; {second}; {verdict}

# contrast
{other}, but {first}, and that [matters more|is what counts]. {verdict}
although {other}, {first}. {verdict}
{other}. [Still|All the same], {first}, and {verdict}
{first}, even if {other}. {verdict}
*say what you like: {other}, yes, but {first}. {verdict}

# positive
I [would|shall] [gladly |]go back
I can only [recommend it|speak well of it]
I would not [hesitate to go back|want to have missed it]
I [found|could find] no fault with it
all in all, I was [not disappointed|pleased]
*I regret nothing

# negative
I [would|shall] not go back
I cannot [recommend it|speak well of it]
I would [hesitate to go back|gladly have missed it]
I [found|could find] no merit in it
all in all, I was [disappointed|not pleased]
*I regret it
"""
# What can be said of a subject, and its opposite.
POINTS = {
    "place": """
the welcome: warm, cold; the view: fine, dull; the floor: clean, dirty; the air: fresh, stale; the
company: merry, tiresome; the light: bright, gloomy; the way there: easy, troublesome; the guide:
helpful, rude; the bench: comfortable, wobbly; the story we were told: exciting, boring
""",
    "goods": """
the price: fair, shameless; the make: sturdy, flimsy; the work: careful, careless; the colour:
cheerful, drab; the seller: honest, greedy; the packing: neat, sloppy; the shape: graceful, clumsy;
the surface: smooth, rough; the advice: useful, useless; the finish: even, patchy
""",
    "meal": """
the taste: delicate, bland; the helping: generous, stingy; the service: quick, slow; the table:
clean, sticky; the cook: friendly, grumpy; the smell: lovely, awful; the price: fair, shameless; the
tea: hot, lukewarm; the room: cosy, draughty; the company: merry, tiresome
""",
}
SUBJECTS = tuple(POINTS)


@dataclass(frozen=True)
class _Point:
    """Something to judge, with the words for good and bad."""

    point: str
    good: str
    bad: str


def draw_review(split: Split, index: int, *, seed: int) -> Review:
    """The review that (seed, split, index) alone determine; the labels take turns.

    Half of the reviews concede something to the other side, and any word may be denied: the good
    words are about as frequent in bad reviews, and `not` in good ones.
    """
    dice = Dice(f"{seed}/{split}/{index}/review")
    good, subject = index % 2 == 1, dice.pick(SUBJECTS)
    label = "positive" if good else "negative"
    first, second = dice.several(_points(subject), 2)
    values = {
        "first": _judge(first, good=good, dice=dice, split=split),
        "second": _judge(second, good=good, dice=dice, split=split),
        "other": _judge(second, good=not good, dice=dice, split=split),
        "verdict": phrase(PROSE, label, {}, dice=dice, split=split),
    }
    opening = sentence(PROSE, subject, _about(dice, split=split), dice=dice, split=split)
    shape = dice.pick(("agree", "contrast"))
    opinion = sentence(PROSE, shape, values, dice=dice, split=split)
    return Review(f"stories/{split}/{index}", f"{opening} {opinion}", label)


def _judge(point: _Point, *, good: bool, dice: Dice, split: Split) -> str:
    rule = "good_point" if good else "bad_point"
    return phrase(PROSE, rule, asdict(point), dice=dice, split=split)


def _points(subject: str) -> list[_Point]:
    entries = (parts(entry, ":") for entry in parts(POINTS[subject]))
    return [_Point(point, *parts(words, ",")) for point, words in entries]


def _about(dice: Dice, *, split: Split) -> dict[str, str]:
    """Where, what and by whom, in combinations of the split."""
    sex = dice.pick(("f", "m"))
    thing = draw_thing(dice, split=split)
    return {
        "village": draw_village(dice, split=split),
        "weekday": dice.pick(WEEKDAYS),
        "place": dice.pick(ALL_PLACES).name,
        # Without its looks: "a lovely cup" would be an opinion.
        "thing": f"a {thing.looks.split()[-1]} {thing.noun}",
        "dish": dice.pick(ALL_DISHES)[0],
        "who": f"{dice.pick(NAMES[sex])} the {dice.pick(ALL_TRADES[sex])}",
    }
