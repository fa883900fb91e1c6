"""A tale in one sentence, and the same sentence with one thing that is not true of it."""

from dataclasses import dataclass

from lmlab.data.stories.world import Dice
from lmlab.data.tasks.phrases import sentence
from lmlab.data.tasks.tales import Tale, family_of, untruth

# Wordings that are drawn before a tale is given up: a short one may leave out what all of them say.
TRIES = 30
# A slot is the kind of an event, of which the first is meant, and a slot of its telling.
RETELLINGS = """
# baking
{baked__Who} baked {baked__m} {baked__dish} with {borrowed__missing} {borrowed__stuff} from
 {borrowed__Whom}
{borrowed__Whom} [lent|gave] {baked__Who} {borrowed__missing} {borrowed__stuff}, and {baked__Who}
 baked {baked__m} {baked__dish}
*thanks to {borrowed__missing} {borrowed__stuff} from {borrowed__Whom}, {baked__Who} could bake
 {baked__m} {baked__dish}

# birthday_visit
{invited__Who} [went|travelled] to {invited__elsewhere} and gave {invited__Whom} a
 {invited__thing} as a birthday present
{invited__Who} visited {invited__Whom} in {invited__elsewhere} and brought a {invited__thing}
*for the birthday of {invited__Whom}, {invited__Who} took a {invited__thing} to
 {invited__elsewhere}

# chain_of_swaps
by [swapping|trading] one thing for another, {want__Who} got the {want__thing} from {want__Whom}
{have__Who} began with a {have__thing} and ended with the {want__thing} of {want__Whom}
*the {have__thing} of {have__Who} turned, swap by swap, into the {want__thing} of {want__Whom}

# heavy_task
{task__Who} helped {task__Whom} [to carry|with] {task__n} {task__load} and got {reward__ngoods}
{task__Whom} had {task__n} {task__load} to carry, of which {task__Who} took {task_done__m}
*of the {task__n} {task__load} of {task__Whom}, {task__Who} carried {task_done__m}

# learning
{skill_wish__Whom} taught {skill_wish__Who} to {skill_wish__detail}
{skill_wish__Who} learnt to {skill_wish__detail} from {skill_wish__Whom} and managed
 {skill_done__n} {skill_done__unit}
*with the help of {skill_wish__Whom}, {skill_wish__Who} learnt to {skill_wish__detail}

# lost_and_found_found
{missed__Who} lost a {missed__thing} from {treasure__Whom} and found it [again |]{found__spot}
{missed__Who} lost a {missed__thing} and found it {found__at}
a {missed__thing} that {treasure__Whom} had given {missed__Who} was lost and then found
 {found__at}

# lost_and_found_handed
{missed__Who} lost a {missed__thing}, and {handed__Whom} found it {handed__at}
{handed__Whom} found the {missed__thing} of {missed__Who} {handed__at} and was given
 {thanks__ngoods}

# lost_and_found_magpie
a magpie stole the {missed__thing} of {missed__Who}, a gift from {treasure__Whom}, and hid it
 {magpie__at}

# market_day
{stock__Who} sold {stock__load} for {tally__coins} to buy {stock__Whom} a {stock__thing}
{stock__Who} earned {tally__coins} with {stock__load} and wanted a {stock__thing} for
 {stock__Whom}
*to buy a {stock__thing} for {stock__Whom}, {stock__Who} sold {stock__load} at {stock__price} each

# misunderstanding
{truth__Who} thought ill of {truth__Whom}, who was only hiding a birthday present, a
 {truth__thing}
{truth__Whom} kept a {truth__thing} secret from {truth__Who} for {truth__total_n} days

# parcels
{deliver__Who} brought {deliver__Whom} and two others parcels from {parcels__Whom}
{deliver__Who} carried parcels for {parcels__Whom}; {deliver__Whom} got a {deliver__thing}
*{parcels__Whom} sent {deliver__Who} with parcels, of which {deliver__Whom} got a {deliver__thing}

# promise_kept
{promise__Who} promised {promise__Whom} to {promise__detail} and [kept the promise|did so in time]
{promise__Who} did not go to {tempted__detail} with {tempted__Whom} but kept a promise to
 {promise__Whom}

# promise_broken
{promise__Who} promised {promise__Whom} to {promise__detail} but [broke the promise|came too late]
{promise__Who} went to {tempted__detail} with {tempted__Whom} and forgot a promise to
 {promise__Whom}

# race
{finish__first} won the race to {race_call__place}, before {finish__second}
{finish__first} came before {finish__second} in the race and won a {race_call__thing}
*in the race for a {race_call__thing}, {finish__first} was first and {finish__second} second

# spoiled_outing
the weather spoiled {plan__detail} for {plan__Who}, who then had {instead__detail}
{plan__Who} wanted {plan__detail}, but bad weather came and it was {instead__detail}
*instead of {plan__detail}, the weather gave {plan__Who} {instead__detail}

# treasure_hunt
{clue_start__Who} followed {clue_start__n} clues to a {clue_start__thing} that {clue_start__Whom}
 had hidden
{clue_start__Whom} hid a {clue_start__thing}, and {clue_start__Who} followed {clue_start__n} clues
 to it
*{clue_start__n} clues led {clue_start__Who} to the {clue_start__thing} of {clue_start__Whom}
"""


@dataclass(frozen=True)
class Retelling:
    """A tale in one sentence, and an untrue one of the same form."""

    text: str
    untrue: str


class _Values(dict[str, str]):
    """The values that a wording asks for, looked up in the tale when it does."""

    def __init__(self, tale: Tale, given: dict[str, str]) -> None:
        super().__init__(given)
        self.tale = tale

    def __missing__(self, name: str) -> str:
        kind, slot = name.split("__")
        self[name] = self.tale.value(self.tale.all(kind)[0], slot)
        return self[name]


def retell(tale: Tale, *, dice: Dice) -> Retelling | None:
    """One wording of what happens, all of which stands in the text; None where no wording does."""
    for _ in range(TRIES):
        key, values = str(dice.random()), _Values(tale, {})
        text = _worded(tale, values, key)
        if all(tale.says(value) for value in values.values()):
            break
    else:
        return None
    families = {
        name: family
        for name in values
        if (family := family_of(tale.all(name.split("__")[0])[0], name.split("__")[1]))
    }
    name = dice.pick(sorted(families))
    lies = _lies(tale, values, name=name, family=families[name], dice=dice)
    return Retelling(text, _worded(tale, _Values(tale, lies), key))


def _lies(
    tale: Tale, values: dict[str, str], *, name: str, family: str, dice: Dice
) -> dict[str, str]:
    """The values with another for that of `name`; somebody else in the sentence changes places."""
    value = values[name]
    other = untruth(tale, family, value, besides="", dice=dice)
    swapped = {value: other, other: value} if family == "person" else {value: other}
    return {name: swapped.get(told, told) for name, told in values.items()}


def _worded(tale: Tale, values: _Values, key: str) -> str:
    return sentence(RETELLINGS, _rule(tale), values, dice=Dice(key), split=tale.split)


def _rule(tale: Tale) -> str:
    match tale.plot:
        case "promise":
            return "promise_kept" if tale.all("kept") else "promise_broken"
        case "lost_and_found":
            ways = ("found", "handed", "magpie")
            return f"lost_and_found_{next(way for way in ways if tale.all(way))}"
        case plot:
            return plot
