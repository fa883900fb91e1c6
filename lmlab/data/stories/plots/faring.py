"""Plots of going: a birthday visit, a race, a promise with a deadline, an outing in bad weather."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from lmlab.data.stories.plots.course import Course, idle, meet, walk
from lmlab.data.stories.plots.seeking import gift
from lmlab.data.stories.world import (
    ALL_OUTINGS,
    ALL_PASTIMES,
    ALL_PROMISES,
    Event,
    Move,
    Person,
)


def birthday_visit(course: Course) -> Iterator[Event]:
    """The hero takes a present to somebody in another village, who tells of younger years."""
    hero, host, dice, thing = course.hero, course.elder, course.dice, course.thing()
    age = host.age
    own = (Move("", hero.name, thing.name),)
    yield Event("invited", course.clock, hero, whom=host, what=thing, count=age, moves=own)
    way = 5 * dice.number(6, 30)
    passed = course.places[0]
    yield Event("travel", course.tick(10), hero, where=passed, minutes=way)
    yield from idle(course, where=passed)
    course.clock += way
    yield Event("arrive", course.clock, hero, whom=host)
    given = (Move(hero.name, host.name, thing.name),)
    yield Event(
        "birthday_gift", course.tick(5), hero, whom=host, what=thing, count=age, moves=given
    )
    ago = dice.number(2, max(2, age - 5)) if age < 12 else dice.number(3, age - 7)
    yield Event("age_talk", course.tick(30), hero, whom=host, count=age, total=ago, rest=age - ago)
    yield from walk(course, where=course.places[1])
    yield from idle(course, where=course.places[1])
    yield from meet(course, whom=course.others[1], where=course.places[1])
    yield gift("gift_back", course, giver=host, taker=hero)
    yield Event("visit_end", course.evening(), hero, whom=host, what=thing, count=age)


@dataclass(frozen=True)
class Outcome:
    """Who came in first, second, third, and whether the hero had stopped to help somebody up."""

    order: tuple[Person, Person, Person]
    helped: bool


def race(course: Course) -> Iterator[Event]:
    """Three run for a prize; helping somebody up can cost it, and win something else."""
    hero, rival, third, giver = course.hero, course.friend, course.others[0], course.others[1]
    thing, goal = course.thing(), course.places[0]
    yield from walk(course, where=course.places[2])
    yield from idle(course, where=course.places[2])
    yield Event(
        "race_call", course.tick(10), hero, whom=giver, people=(rival, third), what=thing,
        where=goal, moves=(Move("", giver.name, thing.name),),
    )  # fmt: skip
    yield Event("lead", course.tick(10), hero, whom=rival, where=goal)
    yield from idle(course, where=goal)
    outcome = yield from turning_point(course, rival=rival, third=third)
    order = outcome.order
    finish = course.tick(15)
    yield Event("finish", finish, hero, people=order)
    won = (Move(giver.name, order[0].name, thing.name),)
    yield Event("prize", course.tick(10), order[0], whom=giver, what=thing, moves=won)
    holder = order[0]
    if outcome.helped and course.dice.chance(0.5):
        passed_on = (Move(order[0].name, hero.name, thing.name),)
        yield Event("prize_given", course.tick(5), order[0], whom=hero, what=thing, moves=passed_on)
        holder = hero
    yield Event("race_end", course.evening(), holder, whom=giver, people=order, what=thing, count=4)


def turning_point(
    course: Course, *, rival: Person, third: Person
) -> Generator[Event, None, Outcome]:
    hero, place = course.hero, course.places[1]
    if course.branch("fallen", "passed", "beaten") == "fallen":
        yield Event("fallen", course.tick(5), hero, whom=rival, where=place)
        if course.branch("stopped", "stopped", "*ran_on") == "stopped":
            yield Event("stopped", course.tick(5), hero, whom=rival)
            return Outcome((third, hero, rival), helped=True)
        yield Event("passed", course.tick(5), hero, whom=rival, where=place)
        return Outcome((hero, third, rival), helped=False)
    if course.dice.chance(0.6):
        yield Event("passed", course.tick(5), hero, whom=rival, where=place)
        order = course.dice.pick(((hero, rival, third), (hero, third, rival)))
    else:
        order = course.dice.pick(((rival, hero, third), (rival, third, hero)))
    return Outcome(order, helped=False)


def promise(course: Course) -> Iterator[Event]:
    """A word is given until an hour; something pleasant comes between."""
    hero, asker, tempter = course.hero, course.elder, course.others[1]
    dice, duty = course.dice, course.dice.pick(ALL_PROMISES)
    due = (course.clock // 60 + dice.number(3, 6)) * 60 + dice.pick((0, 15, 30, 45))
    yield Event("promise", course.clock, hero, whom=asker, detail=duty, due=due)
    yield from walk(course, where=course.places[0])
    yield from idle(course, where=course.places[0])
    yield Event(
        "tempted", course.tick(15), hero, whom=tempter, where=course.places[1],
        detail=dice.pick(ALL_PASTIMES),
    )  # fmt: skip
    if course.branch("kept", "broken") == "kept":
        yield Event("resisted", course.tick(5), hero, detail=duty)
        yield from walk(course, where=course.places[2])
        yield from idle(course, where=course.places[2])
        early = 5 * dice.number(1, max(1, (due - course.clock) // 10))
        course.clock = due - early
        yield Event("kept", course.clock, hero, whom=asker, minutes=early)
        yield gift_for_word(course, asker=asker, duty=duty, due=due)
        return
    yield from idle(course, where=course.places[1])
    late = 5 * dice.number(2, 20)
    course.clock = due + late
    yield Event("forgot", course.clock, hero, whom=asker, minutes=late)
    days = dice.number(3, 12)
    yield Event("confessed", course.tick(20), hero, whom=asker, detail=duty, count=days)
    yield Event("amends", course.tick(5), hero, whom=asker, detail=duty, count=days, due=due)
    yield Event(
        "word_broken_end", course.evening(), hero, whom=asker, detail=duty, count=days,
        minutes=late,
    )  # fmt: skip


def gift_for_word(course: Course, *, asker: Person, duty: str, due: int) -> Event:
    goods, count, hero = course.goods(), course.dice.number(2, 9), course.hero
    moves = (
        Move("", asker.name, goods.noun, count),
        Move(asker.name, hero.name, goods.noun, count),
    )
    return Event(
        "word_kept_end", course.evening(), hero, whom=asker, goods=goods, count=count,
        detail=duty, due=due, moves=moves,
    )  # fmt: skip


def spoiled_outing(course: Course) -> Iterator[Event]:
    """The weather drives everybody under a roof, where something else comes of the day."""
    hero, friend, dice = course.hero, course.friend, course.dice
    place, refuge, outing = *course.places[:2], dice.pick(ALL_OUTINGS)
    outdoors = next((p for p in course.places if not p.indoors), place)
    indoors = next((p for p in course.places if p.indoors and p is not outdoors), refuge)
    yield Event(
        "plan", course.clock, hero, whom=friend, where=outdoors, detail=outing,
        count=dice.number(3, 14),
    )  # fmt: skip
    yield from walk(course, where=outdoors)
    yield from idle(course, where=outdoors)
    yield Event("turned", course.tick(20), hero, whom=friend, where=outdoors)
    yield Event(
        "shelter", course.tick(10), hero, whom=friend, where=indoors,
        minutes=5 * dice.number(2, 6),
    )  # fmt: skip
    pastime = dice.pick(ALL_PASTIMES)
    yield from meet(course, whom=course.others[0], where=indoors)
    yield Event(
        "instead", course.tick(30), hero, whom=friend, where=indoors, detail=pastime,
        count=dice.number(2, 20),
    )  # fmt: skip
    yield Event("scene", course.clock, hero, where=indoors)
    yield gift("treat", course, giver=course.others[1], taker=hero)
    yield Event("spoiled_end", course.evening(), hero, whom=friend, detail=outing, why=pastime)
