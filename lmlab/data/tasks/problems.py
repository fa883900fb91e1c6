"""Arithmetic problems of the written world: coins, goods and minutes, worked out step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmlab.data.stories.telling import PRONOUNS, finish, polish
from lmlab.data.stories.world import (
    ALL_DISHES,
    ALL_GOODS,
    ALL_LOADS,
    ALL_PLACES,
    NAMES,
    Dice,
    Split,
    draw_thing,
    draw_village,
)
from lmlab.data.tasks.phrases import phrase
from lmlab.data.tasks.records import Problem

# Behind "//" stands what the solution says of it. {sum} is "14 + 5 = 19", {product} "3 * 4 = 12".
PROSE = """
# goods start
{who} had {n} {goods} [to sell|in a basket]
[on the stall|in the basket] of {who} were {n} {goods}
*{who} set out with {n} {goods}

# goods given
{other} [gave|brought] {who} {k} more // with those of {other}, {who} had {sum} {goods}

# goods found
{he} [fetched|bought] another {k} {goods} // then {who} had {sum} {goods}
*another {k} {goods} were found under a cloth // then {who} had {sum} {goods}

# goods sold
{he} sold {k} {goods} to {third} // after the sale to {third}, {who} had {sum} {goods}
{third} bought {k} of the {goods} // after the sale to {third}, {who} had {sum} {goods}

# goods lost
{k} of the {goods} were [spoiled|lost|stolen] // without those, {who} had {sum} {goods}
*a goat ran off with {k} of the {goods} // without those, {who} had {sum} {goods}

# goods ask
how many {goods} did {who} have [then|in the end]?
*how many {goods} were left with {who}?

# goods price
{who} then sold all that were left at {k} coins each. [How many coins did they bring?|For how many
 coins in all?] // they brought {sum} coins

# coins start
{who} had {n} coins and wanted a {thing}
[saving|to save] for a {thing}, {who} had put aside {n} coins
*there were {n} coins in the jar of {who}, who dreamt of a {thing}

# coins gift
{other} [gave|paid] {who} {k} coins for [help|a day's work] // with the coins from {other}, {who}
 had {sum} coins

# coins coat
in an old coat {he} found {k} coins // with those of the coat, {who} had {sum} coins

# coins wages
{he} worked {t} days for {j} coins a day // the work brought {product} coins // then {who} had {sum}
 coins
*for each of {t} days of work {he} got {j} coins // the work brought {product} coins // then {who}
 had {sum} coins

# coins spent
{he} spent {k} coins on [supper|candles|a ferry] // after that, {who} had {sum} coins

# coins lent
{he} lent {third} {k} coins // after that, {who} had {sum} coins
*{third} borrowed {k} coins // after that, {who} had {sum} coins

# coins ask
how many coins did {who} have [then|in the end]?
how much money was that in the end?

# coins missing
the {noun} cost {k} coins. How many coins [were missing|did {who} still need]? // {who} still needed
 {sum} coins

# minutes start
{who} walked {n} minutes from {village} to {place}
[it took {who}|{who} needed] {n} minutes from {village} to {place}
*from {village} to {place} was {n} minutes on foot for {who}

# minutes rest
{he} [rested|waited] for {k} minutes [on a wall|under a tree] // with the rest, it was {sum} minutes

# minutes ride
then {other} took {who} along in a cart for {k} minutes // with the ride, it was {sum} minutes
*a cart of {other} carried {who} on for {k} minutes // with the ride, it was {sum} minutes

# minutes talk
on the way {he} talked to {third} for {k} minutes // with the talk, it was {sum} minutes

# minutes gates
at each of {t} gates {he} lost {j} minutes // the gates cost {product} minutes // with the gates, it
 was {sum} minutes

# minutes ferry
the ferry over the river took {k} minutes // with the ferry, it was {sum} minutes

# minutes ask
how many minutes had passed [then|in all]?
how long did all this take, in minutes?

# minutes back
going home took {who} the same time again. How many minutes was it in all? // with the way home, it
 was {sum} minutes

# baking start
for the fair in {village}, {who} baked {t} trays of {j} {dish} // {who} baked {product} {dish}
{who} made {t} trays with {j} {dish} on each for the fair in {village} // {who} baked {product}
 {dish}
*the fair in {village} was near, and {who} filled {t} trays with {j} {dish} each // {who} baked
 {product} {dish}

# baking batch
{other} [added|brought] {k} [more|of the same] // with those of {other}, there were {sum} {dish}

# baking burnt
{k} of them were burnt // without the burnt ones, there were {sum} {dish}
*the fire got {k} of them // without the burnt ones, there were {sum} {dish}

# baking shared
{he} gave {k} of the {dish} to {third} // after those for {third}, there were {sum} {dish}

# baking eaten
the children ate {k} // after that, there were {sum} {dish}

# baking ask
how many {dish} were left?
*how many {dish} were still there for the fair?

# loads start
in {village}, {n} {load} were to be moved by {who} and {other}
{who} and {other} had to move {n} {load} in {village}
*{n} {load} lay in the road in {village}, and {who} and {other} were to move them

# loads mine
{he} [moved|carried] {k} of them // after {who} had carried some, {sum} {load} were left

# loads theirs
{other} [moved|carried] {k} // after {other} had carried some, {sum} {load} were left

# loads more
a cart brought {k} more // with the new ones, there were {sum} {load}

# loads broken
{k} of them were broken and thrown away // without the broken ones, {sum} {load} were left

# loads trips
{third} came to help and made {t} trips with {j} {load} each // {third} moved {product} {load} //
 after that, {sum} {load} were left

# loads ask
how many {load} were [still to be moved|left]?
"""


@dataclass(frozen=True)
class Frame:
    """A kind of problem: its steps and the steps that may end it, each with its sign.

    `p`: what is added or taken away is a product, worked out on a line of its own. `from`: what
    there is so far is taken away from another number.
    """

    steps: Mapping[str, str]
    ends: Mapping[str, str]


FRAMES = {
    "goods": Frame({"given": "+", "found": "+", "sold": "-", "lost": "-"}, {"price": "*"}),
    "coins": Frame(
        {"gift": "+", "coat": "+", "wages": "+p", "spent": "-", "lent": "-"}, {"missing": "from"}
    ),
    "minutes": Frame(
        {"rest": "+", "ride": "+", "talk": "+", "ferry": "+", "gates": "+p"}, {"back": "twice"}
    ),
    "baking": Frame({"batch": "+", "burnt": "-", "shared": "-", "eaten": "-"}, {}),
    "loads": Frame({"mine": "-", "theirs": "-", "more": "+", "broken": "-", "trips": "-p"}, {}),
}
WARES = tuple(goods.plural for goods in ALL_GOODS if goods.price > 1)
STEPS = (2, 3, 4)
# No number has three digits: a small model can then learn some of it, and not all.
GREATEST = 99
# By how much a wrong result is off: it is near, and has as many digits most of the time.
SLIPS = (-10, -2, -1, 1, 2, 10)


def draw_problem(split: Split, index: int, *, seed: int, steps: Sequence[int]) -> Problem:
    """The problem that (seed, split, index) alone determine; it takes one of `steps` lines."""
    told = _tell(Dice(f"{seed}/{split}/{index}/problem"), split=split, steps=steps)
    return Problem(
        id=f"stories/{split}/{index}",
        question=" ".join(told.text),
        solution=_solution(told.lines, told.total),
        answer=str(told.total),
    )


def draw_slip(dice: Dice, *, split: Split, steps: Sequence[int]) -> tuple[str, str, str]:
    """A question, its solution, and one whose last line is miscounted."""
    told = _tell(dice, split=split, steps=steps)
    near = [told.total + off for off in SLIPS if 0 < told.total + off <= GREATEST]
    miscounted = dice.pick(near)
    *before, last = told.lines
    wrong = [*before, last.replace(f"= {told.total}", f"= {miscounted}")]
    return (
        " ".join(told.text),
        _solution(told.lines, told.total),
        _solution(wrong, miscounted),
    )


def _solution(lines: Sequence[str], total: int) -> str:
    return "\n".join([*lines, f"#### {total}"])


def _tell(dice: Dice, *, split: Split, steps: Sequence[int]) -> "_Told":
    told = _Told(dice.pick(tuple(FRAMES)), dice=dice, split=split)
    count = dice.pick(steps)
    told.begin()
    while len(told.lines) < count:
        if len(told.lines) == count - 1 and dice.chance(0.6) and told.end():
            break
        told.go_on(room=count - len(told.lines))
    if not told.text[-1].endswith("?"):
        told.say("ask")
    return told


class _Told:
    """A problem as far as it has been told and worked out."""

    def __init__(self, name: str, *, dice: Dice, split: Split) -> None:
        self.name, self.dice = name, dice
        self.split: Split = split
        self.values = _values(dice, split=split)
        self.left = dict(FRAMES[name].steps)
        self.text: list[str] = []
        self.lines: list[str] = []
        self.total = 0

    def say(self, rule: str, **numbers: int | str) -> None:
        values = self.values | {name: str(value) for name, value in numbers.items()}
        told = phrase(PROSE, f"{self.name} {rule}", values, dice=self.dice, split=self.split)
        text, *lines = (polish(finish(part)) for part in told.split(" // "))
        self.text.append(text)
        self.lines += lines

    def begin(self) -> None:
        if self.name == "baking":
            each, trays = self.dice.number(4, 9), self.dice.number(3, 5)
            self.total = trays * each
            self.say("start", t=trays, j=each, product=f"{trays} * {each} = {self.total}")
            return
        self.total = self.dice.number(18, 45)
        self.say("start", n=self.total)

    def go_on(self, *, room: int) -> None:
        """One more step, of at most `room` lines."""
        fitting = [step for step, sign in self.left.items() if len(sign) <= room]
        step = self.dice.pick(fitting)
        sign, numbers = self.left.pop(step), dict[str, int | str]()
        most = min(15, GREATEST - self.total) if sign[0] == "+" else self.total // 3
        if sign.endswith("p"):
            times = self.dice.number(2, 3)
            each = self.dice.number(2, max(2, most // times))
            amount = times * each
            numbers = {"t": times, "j": each, "product": f"{times} * {each} = {amount}"}
        else:
            amount = self.dice.number(2, max(2, most))
        before, change = self.total, amount if sign[0] == "+" else -amount
        self.total += change
        assert 1 < self.total <= GREATEST
        self.say(step, k=amount, sum=f"{before} {sign[0]} {amount} = {self.total}", **numbers)

    def end(self) -> bool:
        """Whether there is an ending that asks for another number; then it is told."""
        (step, sign), *_ = *FRAMES[self.name].ends.items(), ("", "")
        before = self.total
        match sign:
            case "*" | "twice":
                times = 2 if sign == "twice" else self.dice.number(2, 5)
                result, sum_ = before * times, f"{before} * {times} = {before * times}"
            case "from":
                times = before + self.dice.number(2, 20)
                result, sum_ = times - before, f"{times} - {before} = {times - before}"
            case _:
                return False
        if max(times, result) > GREATEST:
            return False
        self.total = result
        self.say(step, k=times, sum=sum_)
        return True


def _values(dice: Dice, *, split: Split) -> dict[str, str]:
    """Who and what a problem is about, in combinations of the split."""
    sex = dice.pick(("f", "m"))
    who, goods = dice.pair(NAMES[sex], WARES, split=split)
    others: list[tuple[str, str]] = []
    while len({who, *(name for name, _ in others)}) < 3:
        other_sex = dice.pick(("f", "m"))
        others = [*others[-1:], (dice.pick(NAMES[other_sex]), other_sex)]
    # A pronoun only where it cannot be taken for somebody else's.
    plain = all(other_sex != sex for _, other_sex in others)
    thing = draw_thing(dice, split=split)
    return {
        "who": who,
        "he": PRONOUNS[sex][0] if plain else who,
        "other": others[0][0],
        "third": others[1][0],
        "goods": goods,
        "thing": thing.name,
        "noun": thing.noun,
        "village": draw_village(dice, split=split),
        "place": dice.pick(ALL_PLACES).name,
        "dish": dice.pick(ALL_DISHES)[0],
        "load": dice.pick(ALL_LOADS).plural,
    }
