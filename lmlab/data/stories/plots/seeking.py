"""Plots of seeking: something lost, a hunt with clues, somebody wrongly suspected."""

from collections.abc import Iterator

from lmlab.data.stories.plots.course import Course, idle, meet, walk
from lmlab.data.stories.world import (
    ALL_MERITS,
    ALL_ODDMENTS,
    Event,
    Move,
    Person,
    Place,
    Thing,
)


def lost_and_found(course: Course) -> Iterator[Event]:
    """A keepsake is missed, looked for where it cannot be, and comes back in one of three ways."""
    hero, dice, thing = course.hero, course.dice, course.thing()
    giver = course.friend if course.friend.age > hero.age else course.others[0]
    age, why = dice.number(5, min(hero.age, 60) - 1), dice.pick(ALL_MERITS)
    own = (Move("", hero.name, thing.name),)
    yield Event(
        "treasure", course.clock, hero, whom=giver, what=thing, count=age, why=why, moves=own
    )
    lost_at, *looked, found_at = course.places[: dice.number(4, 5)]
    yield from walk(course, where=lost_at)
    yield from idle(course, where=lost_at)
    gone = (Move(hero.name, "", thing.name),)
    yield Event("missed", course.tick(20), hero, what=thing, where=lost_at, moves=gone)
    helper = course.others[1]
    yield Event("lost_hint", course.tick(10), hero, whom=helper, what=thing, detail=looked[0].name)
    for place in looked:
        yield search(course, thing=thing, place=place)
        yield from idle(course, where=place)
    yield from come_back(course, thing=thing, place=found_at)
    yield Event("keepsake_end", course.evening(), hero, whom=giver, what=thing, count=age, why=why)


def search(course: Course, *, thing: Thing, place: Place) -> Event:
    spot, odd = course.dice.pick(place.spots), course.dice.pick(ALL_ODDMENTS)
    return Event(
        "search", course.tick(20), course.hero, what=thing, where=place, spot=spot, why=odd
    )


def come_back(course: Course, *, thing: Thing, place: Place) -> Iterator[Event]:
    hero, finder, spot = course.hero, course.others[2], course.dice.pick(place.spots)
    back = (Move("", hero.name, thing.name),)
    way = course.branch("found", "found", "handed", "*magpie")
    if way != "handed":
        yield Event(way, course.tick(20), hero, what=thing, where=place, spot=spot, moves=back)
        return
    by_finder = (Move("", finder.name, thing.name), Move(finder.name, hero.name, thing.name))
    yield Event(
        "handed", course.tick(20), hero, whom=finder, what=thing, where=place, spot=spot,
        moves=by_finder,
    )  # fmt: skip
    yield gift("thanks", course, giver=hero, taker=finder)


def gift(kind: str, course: Course, *, giver: Person, taker: Person) -> Event:
    """Some goods as thanks; the hero is always `who`."""
    goods, count = course.goods(), course.dice.number(2, 9)
    moves = (
        Move("", giver.name, goods.noun, count),
        Move(giver.name, taker.name, goods.noun, count),
    )
    whom = taker if giver is course.hero else giver
    return Event(
        kind, course.tick(5), course.hero, whom=whom, goods=goods, count=count, moves=moves
    )


def treasure_hunt(course: Course) -> Iterator[Event]:
    """Somebody has hidden a present; each clue names the next place."""
    hero, friend, dice, thing = course.hero, course.friend, course.dice, course.thing()
    count = dice.number(2, 4)
    trail, start = course.places[: count + 1], course.clock
    hidden = (Move("", friend.name, thing.name),)
    yield Event(
        "clue_start", start, hero, whom=friend, what=thing, where=trail[0], count=count,
        moves=hidden,
    )  # fmt: skip
    for number in range(1, count + 1):
        here, there = trail[number - 1], trail[number]
        yield Event(
            "clue", course.tick(25), hero, where=here, spot=dice.pick(here.spots), total=number,
            why=course.riddle(there), detail=there.name,
        )  # fmt: skip
        yield from idle(course, where=here)
    end, spot = course.tick(25), dice.pick(trail[-1].spots)
    won = (Move(friend.name, hero.name, thing.name),)
    yield Event(
        "clue_end", end, hero, whom=friend, what=thing, where=trail[-1], spot=spot, count=count,
        minutes=end - start, moves=won,
    )  # fmt: skip
    yield gift("thanks", course, giver=hero, taker=friend)


def misunderstanding(course: Course) -> Iterator[Event]:
    """A birthday surprise looks like unkindness until it is given."""
    hero, friend, dice, thing = course.hero, course.friend, course.dice, course.thing()
    lent, days = course.thing(), dice.number(3, 40)
    if dice.chance(0.5):
        yield from walk(course, where=course.places[1])
        yield from idle(course, where=course.places[1])
    place = course.places[0]
    yield from walk(course, where=place)
    yield from idle(course, where=place)
    yield Event("suspect", course.tick(15), hero, whom=friend, where=place)
    yield Event("wrong_guess", course.tick(10), hero, whom=friend)
    yield from idle(course, where=place)
    has = (Move("", hero.name, lent.name), Move(hero.name, friend.name, lent.name))
    yield Event("cold", course.tick(60), hero, whom=friend, what=lent, moves=has)
    yield from meet(course, whom=course.others[0], where=course.places[3])
    given = (Move("", friend.name, thing.name), Move(friend.name, hero.name, thing.name))
    yield Event(
        "truth", course.tick(60), hero, whom=friend, what=thing, where=course.places[2],
        count=hero.age, total=days, moves=given,
    )  # fmt: skip
    yield Event("sorry", course.tick(10), hero, whom=friend, count=hero.age)
