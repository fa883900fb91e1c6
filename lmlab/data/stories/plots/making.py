"""Plots of work: baking, mending, learning a skill, helping somebody with a heavy task."""

from collections.abc import Generator, Iterator

from lmlab.data.stories.plots.course import Course, habit, idle, meet, walk
from lmlab.data.stories.plots.seeking import gift
from lmlab.data.stories.world import (
    ALL_DISHES,
    ALL_FAULTS,
    ALL_LOADS,
    ALL_SKILLS,
    Event,
    Move,
    Person,
    Thing,
    draw_looks,
)


def baking(course: Course) -> Iterator[Event]:
    """Something is lacking and borrowed; what is baked is counted, shared, and paid back."""
    hero, friend, lender, dice = course.hero, course.friend, course.others[0], course.dice
    dish, stuff = (Thing("", name) for name in dice.pick(ALL_DISHES))
    need, lack = dice.number(5, 12), dice.number(2, 3)
    has = need - lack
    yield Event("dish_plan", course.clock, hero, whom=friend, what=dish, count=dice.number(3, 9))
    yield Event(
        "short_of", course.tick(10), hero, goods=stuff, count=need, total=has,
        moves=(Move("", hero.name, stuff.plural, has),),
    )  # fmt: skip
    yield from walk(course, where=course.places[0])
    yield from idle(course, where=course.places[0])
    loan = (
        Move("", lender.name, stuff.plural, lack),
        Move(lender.name, hero.name, stuff.plural, lack),
    )
    yield Event(
        "borrowed", course.tick(15), hero, whom=lender, what=dish, goods=stuff, count=need,
        total=has, moves=loan,
    )  # fmt: skip
    made = dice.number(12, 40)
    yield Event(
        "baked", course.tick(80), hero, what=dish, rest=made,
        moves=(
            Move(hero.name, "", stuff.plural, need),
            Move("", hero.name, dish.plural, made),
        ),
    )  # fmt: skip
    left = yield from shares(course, dish=dish, left=made)
    owed = (Move("", hero.name, stuff.plural, lack), Move(hero.name, "", stuff.plural, lack))
    yield Event(
        "dish_end", course.evening(), hero, whom=lender, what=dish, goods=stuff, count=lack,
        total=left, rest=made, moves=owed,
    )  # fmt: skip


def shares(course: Course, *, dish: Thing, left: int) -> Generator[Event, None, int]:
    """Some may burn, the rest is handed round; returns how many are left."""
    hero, dice = course.hero, course.dice
    if course.branch("burnt", "fine", "fine") == "burnt":
        burnt = dice.number(2, left // 3)
        left -= burnt
        lost = (Move(hero.name, "", dish.plural, burnt),)
        yield Event("burnt", course.tick(10), hero, what=dish, count=burnt, total=left, moves=lost)
    for eater in dice.several((course.friend, *course.others[:3]), dice.number(2, 3)):
        count = dice.number(2, max(2, left // 4))
        left -= count
        yield Event(
            "shared", course.tick(15), hero, whom=eater, what=dish, count=count, total=left,
            moves=(Move(hero.name, eater.name, dish.plural, count),),
        )  # fmt: skip
        yield from habit(course)
    return left


def mending(course: Course) -> Iterator[Event]:
    """Somebody's thing is broken; a part is fetched, and the work is paid for or not."""
    hero, owner, dice = course.hero, course.friend, course.dice
    noun, fault, part = dice.pick(ALL_FAULTS)
    thing, cost = Thing(noun, noun + "s", draw_looks(dice)), dice.number(2, 15)
    brought = (Move("", owner.name, thing.name), Move(owner.name, hero.name, thing.name))
    yield Event("broken", course.clock, hero, whom=owner, what=thing, why=fault, moves=brought)
    shop, keeper = course.places[0], course.others[0]
    fetched = (Move("", hero.name, "coin", cost), Move(hero.name, keeper.name, "coin", cost))
    yield Event(
        "part", course.tick(15), hero, whom=keeper, where=shop, coins=cost, detail=part,
        moves=fetched,
    )  # fmt: skip
    yield from idle(course, where=shop)
    yield from meet(course, whom=course.others[1], where=course.places[1])
    if course.branch("botched", "smooth") == "botched":
        lost = 5 * dice.number(2, 9)
        yield Event("botched", course.tick(lost), hero, minutes=lost, detail=part)
    work = 5 * dice.number(4, 15)
    yield Event(
        "mended", course.tick(work), hero, whom=course.others[2], what=thing, minutes=work,
        detail=part,
    )  # fmt: skip
    back = (Move(hero.name, owner.name, thing.name),)
    yield Event("returned", course.tick(20), hero, whom=owner, what=thing, moves=back)
    yield from payment(course, owner=owner, cost=cost)
    yield Event("mend_end", course.evening(), hero, whom=owner, what=thing, coins=cost, why=fault)


def payment(course: Course, *, owner: Person, cost: int) -> Iterator[Event]:
    if course.branch("fee", "none") == "none":
        yield gift("no_fee", course, giver=owner, taker=course.hero)
        return
    fee = cost + course.dice.number(2, 12)
    paid = (Move("", owner.name, "coin", fee), Move(owner.name, course.hero.name, "coin", fee))
    yield Event(
        "fee", course.tick(5), course.hero, whom=owner, coins=fee, total=fee - cost, moves=paid
    )


def learning(course: Course) -> Iterator[Event]:
    """A skill is tried again and again until the advice is followed."""
    hero, dice = course.hero, course.dice
    teacher = course.elder
    skill, unit, advice = dice.pick(ALL_SKILLS)
    units, place = Thing("", unit), course.places[0]
    first = score = dice.number(2, 5)
    yield Event("skill_wish", course.clock, hero, whom=teacher, detail=skill)
    yield from walk(course, where=place)
    tries = dice.number(2, 3)
    for number in range(1, tries + 1):
        yield Event(
            "attempt", course.tick(15), hero, whom=teacher, goods=units, count=score, total=number
        )
        yield from idle(course, where=place)
        score += dice.number(1, 4)
    yield Event("advice", course.tick(10), hero, whom=teacher, why=advice)
    score += dice.number(6, 20)
    yield Event(
        "skill_done", course.tick(30), hero, whom=teacher, goods=units, count=score,
        total=tries + 1, detail=skill,
    )  # fmt: skip
    yield gift("reward", course, giver=teacher, taker=hero)
    yield Event(
        "skill_end", course.evening(), hero, whom=teacher, goods=units, count=first, total=score
    )


def heavy_task(course: Course) -> Iterator[Event]:
    """Two share a load that is too much for one; the shares add up."""
    hero, owner, dice, place = course.hero, course.others[0], course.dice, course.places[0]
    load, total = dice.pick(ALL_LOADS), dice.number(18, 60)
    yield from walk(course, where=place)
    yield from idle(course, where=place)
    yield Event(
        "task", course.tick(10), hero, whom=owner, where=place, goods=load, count=total,
        moves=(Move("", owner.name, load.plural, total),),
    )  # fmt: skip
    mine, theirs = dice.number(5, total // 2 - 2), dice.number(3, total // 2 - 4)
    left = total - mine - theirs
    yield carrying(course, load=load, owner=owner, mine=mine, theirs=theirs, left=left)
    yield Event("rest", course.tick(15), hero, whom=owner, minutes=5 * dice.number(2, 5))
    yield from idle(course, where=place)
    helped = dice.number(1, left - 1)
    mine, theirs = mine + helped, theirs + left - helped
    yield Event(
        "task_done", course.tick(60), hero, whom=owner, goods=load, count=total, rest=mine,
        total=theirs, moves=(Move(owner.name, "", load.plural, left),),
    )  # fmt: skip
    yield gift("reward", course, giver=owner, taker=hero)
    yield Event("task_end", course.evening(), hero, whom=owner, goods=load, count=total, rest=mine)


def carrying(
    course: Course, *, load: Thing, owner: Person, mine: int, theirs: int, left: int
) -> Event:
    return Event(
        "carried", course.tick(60), course.hero, whom=owner, goods=load, count=mine, rest=theirs,
        total=left, moves=(Move(owner.name, "", load.plural, mine + theirs),),
    )  # fmt: skip
