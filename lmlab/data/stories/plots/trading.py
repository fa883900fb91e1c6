"""Plots of trade: a day at the market, a chain of swaps, a round of parcels."""

from collections.abc import Iterator

from lmlab.data.stories.plots.course import Course, habit, idle, meet, walk
from lmlab.data.stories.plots.seeking import gift
from lmlab.data.stories.world import ALL_GOODS, ALL_PLACES, Event, Move, Person, Place, Thing

WARES = tuple(goods for goods in ALL_GOODS if goods.price > 1)
MARKET = next(place for place in ALL_PLACES if place.name == "the market square")


def market_day(course: Course) -> Iterator[Event]:
    """Goods are sold until a present can be bought, at its price or with somebody's help."""
    hero, friend, dice = course.hero, course.friend, course.dice
    goods, square = dice.pick(WARES), MARKET
    stock = dice.number(14, 36)
    sold = [dice.number(3, stock // 4) for _ in range(dice.number(2, 3))]
    earned = goods.price * sum(sold)
    price = earned + dice.number(-8, 6)
    thing = Thing(*_named(course.thing()), price=price)
    load = (Move("", hero.name, goods.noun, stock),)
    yield Event(
        "stock", course.clock, hero, whom=friend, what=thing, goods=goods, count=stock, moves=load
    )
    yield from walk(course, where=square)
    left = stock
    for buyer, number in zip(course.others, sold, strict=False):
        left -= number
        yield sale(course, buyer=buyer, goods=goods, count=number, left=left)
        yield from idle(course, where=square)
    yield Event("tally", course.tick(30), hero, goods=goods, count=left, coins=earned)
    yield from purchase(course, thing=thing, purse=earned)
    handed = (Move(hero.name, friend.name, thing.name),)
    yield Event("present", course.tick(60), hero, whom=friend, what=thing, moves=handed)
    yield Event(
        "market_end", course.evening(), hero, whom=friend, what=thing, goods=goods, count=stock,
        total=left, coins=max(0, earned - price),
    )  # fmt: skip


def _named(thing: Thing) -> tuple[str, str, str]:
    return thing.noun, thing.plural, thing.looks


def sale(course: Course, *, buyer: Person, goods: Thing, count: int, left: int) -> Event:
    hero, coins = course.hero, count * goods.price
    moves = (
        Move(hero.name, buyer.name, goods.noun, count),
        Move("", buyer.name, "coin", coins),
        Move(buyer.name, hero.name, "coin", coins),
    )
    return Event(
        "sale", course.tick(20), hero, whom=buyer, goods=goods, count=count, total=left,
        coins=coins, moves=moves,
    )  # fmt: skip


def purchase(course: Course, *, thing: Thing, purse: int) -> Iterator[Event]:
    """The thing is paid for: in full, after a bargain, or with coins that were lent."""
    hero, lender, seller, price = course.hero, course.others[0], course.others[2], thing.price
    yield Event("asking", course.tick(10), hero, whom=seller, what=thing, coins=price)
    bought = Move(seller.name, hero.name, thing.name)
    lack, stocked = price - purse, Move("", seller.name, thing.name)
    if lack <= 0:
        moves = (stocked, Move(hero.name, seller.name, "coin", price), bought)
        yield Event(
            "paid", course.tick(5), hero, whom=seller, what=thing, coins=price, total=-lack,
            moves=moves,
        )  # fmt: skip
        return
    yield Event("short", course.tick(5), hero, coins=lack, total=purse)
    moves = (stocked, Move(hero.name, seller.name, "coin", purse), bought)
    if course.branch("bargain", "*lent", "bargain") == "bargain":
        yield Event(
            "bargain", course.tick(5), hero, whom=seller, what=thing, total=purse, moves=moves
        )
        return
    loan = (Move("", lender.name, "coin", lack), Move(lender.name, hero.name, "coin", lack))
    yield Event("lent", course.tick(5), hero, whom=lender, coins=lack, moves=loan)
    moves = (stocked, Move(hero.name, seller.name, "coin", price), bought)
    yield Event(
        "paid", course.tick(5), hero, whom=seller, what=thing, coins=price, total=0, moves=moves
    )
    back = (Move("", hero.name, "coin", lack), Move(hero.name, lender.name, "coin", lack))
    yield Event("repaid", course.clock, hero, whom=lender, coins=lack, moves=back)


def chain_of_swaps(course: Course) -> Iterator[Event]:
    """To get the first thing one must bring the second, for which one needs the third."""
    hero, dice = course.hero, course.dice
    owners, things = course.others[: dice.number(2, 3)], []
    while len({thing.noun for thing in things}) <= len(owners):
        things.append(course.thing())
    chain = [*{thing.noun: thing for thing in things}.values()]
    yield from walk(course, where=course.places[0])
    for number, (owner, thing) in enumerate(zip(owners, chain, strict=False)):
        yield Event(
            "owner" if number else "want", course.tick(20), hero, whom=owner, what=thing,
            detail=chain[number + 1].noun, moves=(Move("", owner.name, thing.name),),
        )  # fmt: skip
        yield from habit(course)
    own = chain[len(owners)]
    have = (Move("", hero.name, own.name),)
    yield Event("have", course.tick(15), hero, what=own, moves=have)
    for number in reversed(range(len(owners))):
        yield swap(course, owner=owners[number], gets=chain[number], gives=chain[number + 1])
        yield from habit(course)
    holders = [
        f"the {given.noun} to {owner.name}" for owner, given in zip(owners, chain[1:], strict=False)
    ]
    told = ", ".join([holders[0].replace(" to ", " belonged to "), *holders[1:]])
    told = f"{told}, and the {chain[0].noun} to {hero.name}"
    yield Event(
        "chain_end", course.evening(), hero, whom=course.friend, count=len(owners), detail=told
    )


def swap(course: Course, *, owner: Person, gets: Thing, gives: Thing) -> Event:
    hero = course.hero
    moves = (
        Move(hero.name, owner.name, gives.name),
        Move(owner.name, hero.name, gets.name),
    )
    return Event("swap", course.tick(25), hero, whom=owner, what=gets, goods=gives, moves=moves)


def parcels(course: Course) -> Iterator[Event]:
    """Parcels go to their owners one by one; one of them may go astray for a moment."""
    hero = course.hero
    sender, takers = course.elder, course.others[:3]
    things = [course.thing() for _ in takers]
    listed = [
        f"a {thing.name} for {taker.name}" for thing, taker in zip(things, takers, strict=True)
    ]
    count, told = len(takers), ", ".join([*listed[:-1], f"and {listed[-1]}"])
    loaded = tuple(Move("", hero.name, thing.name) for thing in things)
    yield Event(
        "parcels", course.clock, hero, whom=sender, people=takers, count=count,
        detail=told, due=18 * 60, moves=loaded,
    )  # fmt: skip
    for left, taker, place in zip(range(count - 1, -1, -1), takers, course.places, strict=False):
        yield from walk(course, where=place)
        thing = things[count - 1 - left]
        yield from delivery(course, taker=taker, thing=thing, place=place, left=left)
    whole = [
        f"the {thing.noun} to {taker.name}" for thing, taker in zip(things, takers, strict=True)
    ]
    told = ", ".join([*whole[:-1], f"and {whole[-1]}"])
    yield Event("round_end", course.evening(), hero, whom=sender, count=count, detail=told)


def delivery(
    course: Course, *, taker: Person, thing: Thing, place: Place, left: int
) -> Iterator[Event]:
    hero = course.hero
    yield from meet(course, whom=taker, where=place)
    if course.dice.chance(0.2):
        yield Event("mixed", course.tick(10), hero, whom=taker)
    moves = (Move(hero.name, taker.name, thing.name),)
    yield Event(
        "deliver", course.tick(10), hero, whom=taker, what=thing, where=place, total=left,
        moves=moves,
    )  # fmt: skip
    if course.dice.chance(0.35):
        yield gift("tip", course, giver=taker, taker=hero)
