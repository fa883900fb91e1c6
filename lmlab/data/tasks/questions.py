"""Questions about a tale, with the true answer and an untrue one of the same form."""

from dataclasses import dataclass
from functools import cache

from lmlab.data.stories.grammar import Grammar, expand
from lmlab.data.stories.telling import SLOTS, Teller, finish, grammar_of, polish
from lmlab.data.stories.world import Dice, Event
from lmlab.data.tasks.tales import Tale, family_of, untruth

# A rule is an event's kind and the slot that is asked for; "_" stands for its value.
QUESTIONS = """
# hero age
how old was {Who}? // {Who} was _ years old
what was {Who}'s age? // {Who} was _ years old

# hero likes
what did {Who} [like|love]? // {Who} loved _
*what was dear to {Who}? // {Who} was fond of _

# hero trade
what was {Who}'s trade? // {Who} was a _
what [work|job] did {Who} do? // {Who} was a _

# hero village
where did {Who} live? // {Who} lived in _
in which village did {Who} live? // {Who} lived in _
*where was {Who} at home? // {Who} was at home in _

# dish_plan dish
what did {Who} want to bake? // {Who} wanted to bake _
what was to be baked? // {Who} wanted to bake _

# short_of missing
how many {stuff} were missing? // _ {stuff} were missing
how many {stuff} did {Who} still need? // {Who} still needed _ {stuff}
*what was {Who} short of? // {Who} was short of _ {stuff}

# borrowed Whom
who helped {Who} out with {stuff}? // _ helped {Who} out with {stuff}
from whom did {Who} get {missing} {stuff}? // {Who} got {missing} {stuff} from _

# baked m
how many {dish} did {Who} bake? // {Who} baked _ {dish}
how many {dish} were baked? // _ {dish} were baked

# invited Whom
whose birthday was it? // it was the birthday of _
*for whom was it a birthday? // it was the birthday of _

# invited n
how old was {Whom} on that birthday? // {Whom} turned _

# invited thing
what did {Who} [take to|bring] {Whom}? // {Who} brought {Whom} a _
what was {Who}'s present? // {Who}'s present was a _

# invited elsewhere
where did {Whom} live? // {Whom} lived in _
to which village did {Who} go? // {Who} went to _

# arrive clock
when did {Who} arrive? // {Who} arrived at _
at what time did {Who} come to {Whom}? // {Who} came to {Whom} at _

# age_talk m
how old was {Whom} {total_n} years before? // {total_n_cap} years before, {Whom} was _

# gift_back ngoods
what did {Whom} give {Who}? // {Whom} gave {Who} _

# want detail
what did {Whom} ask for the {noun}? // {Whom} asked for a _
what did {Whom} want in return for the {noun}? // {Whom} wanted a _

# owner detail
what did {Whom} ask for the {noun}? // {Whom} asked for a _
what did {Whom} want in return for the {noun}? // {Whom} wanted a _

# have thing
what did {Who} have to [give|swap]? // {Who} had a _ to begin with

# swap thing
what did {Who} get from {Whom}? // {Who} got the _ from {Whom}
what did {Whom} give {Who}? // {Whom} gave {Who} the _

# swap Whom
who gave {Who} the {noun}? // _ gave {Who} the {noun}
*from whom did {Who} have the {noun} in the end? // {Who} had the {noun} from _

# task Whom
whom did {Who} help? // {Who} helped _
whose were the {load}? // the {load} were those of _

# task n
how many {load} [were there|were to be moved]? // there were _ {load}

# task_done m
how many {load} did {Who} carry in all? // {Who} carried _ {load}

# task_done total_n
how many {load} did {Whom} carry in all? // {Whom} carried _ {load}

# reward ngoods
what did {Whom} give {Who}? // {Whom} gave {Who} _
*how was {Who} thanked? // {Who} was given _

# skill_wish detail
what did {Who} want to learn? // {Who} wanted to learn to _
what was {Whom} to teach {Who}? // {Whom} was to teach {Who} to _

# skill_wish Whom
who taught {Who}? // _ taught {Who}
*whose pupil was {Who}? // {Who} was the pupil of _

# advice advice
what advice did {Whom} give? // {Whom} said: "_."

# skill_done n
how many {unit} did {Who} [reach|manage] in the end? // {Who} managed _ {unit}

# treasure Whom
who had given {Who} the {noun}? // _ had given {Who} the {noun}
*from whom did {Who} have the {noun}? // {Who} had the {noun} from _

# treasure n
at what age did {Who} get the {noun}? // {Who} got the {noun} at the age of _

# treasure why
what was the {noun} a reward for? // the {noun} was a reward for _
for what had {Who} been given the {noun}? // {Who} had been given the {noun} for _

# treasure thing
what had {Who} been given? // {Who} had been given a _

# missed at
where did {Who} miss the {noun}? // {Who} missed the {noun} _

# found at
where was the {noun} in the end? // the {noun} was _
where did {Who} find the {noun}? // {Who} found the {noun} _

# magpie at
where was the {noun} in the end? // the {noun} was _

# handed Whom
who [found|brought back] the {noun}? // _ found the {noun}

# handed at
where had {Whom} found the {noun}? // {Whom} had found the {noun} _

# stock n
how many {load} did {Who} have at first? // {Who} had _ {load}

# stock price
what was the price of the {load}? // the {load} cost _ each

# stock thing
what did {Who} want to buy? // {Who} wanted to buy a _

# sale n
how many {load} did {Whom} buy? // {Whom} bought _ {load}
*how many of the {load} went to {Whom}? // _ of the {load} went to {Whom}

# sale coins
how much did {Whom} pay? // {Whom} paid _
what did {Whom} pay {Who}? // {Whom} paid {Who} _

# tally n
how many {load} were left in the end? // _ {load} were left

# tally coins
how much did {Who} earn [in all|altogether]? // {Who} earned _

# truth thing
what did {Whom} give {Who}? // {Whom} gave {Who} a _
what was the birthday present? // the birthday present was a _

# truth total_n
for how many days had {Whom} kept the secret? // {Whom} had kept the secret for _ days

# parcels Whom
for whom did {Who} carry the parcels? // {Who} carried the parcels for _
who had sent the parcels? // _ had sent the parcels

# deliver thing
what did {Whom} get? // {Whom} got a _
what was in the parcel for {Whom}? // in the parcel for {Whom} was a _

# deliver at
where was {Whom}? // {Whom} was _
where did {Who} meet {Whom}? // {Who} met {Whom} _

# deliver Whom
who got the {thing}? // _ got the {thing}
*for whom was the {thing}? // the {thing} was for _

# promise detail
what had {Who} promised? // {Who} had promised to _

# promise clock2
by when was {Who} to [have done|do] it? // {Who} was to {detail} by _

# promise Whom
to whom did {Who} make a promise? // {Who} made a promise to _
*who trusted in {Who}'s word? // _ trusted in {Who}'s word

# tempted detail
what did {Whom} invite {Who} to? // {Whom} invited {Who} to _

# tempted Whom
who wanted {Who} to come to {detail}? // _ wanted {Who} to come to {detail}

# kept minutes
how many minutes early was {Who}? // {Who} was _ minutes early

# forgot minutes
how many minutes late was {Who}? // {Who} was _ minutes late

# race_call thing
what was the prize? // the prize was a _
what could one win? // one could win a _

# race_call place
where did the race go? // the race went to _

# race_call Whom
who had offered the prize? // _ had offered the prize

# finish first
who won the race? // _ won the race
*who was the fastest? // _ was the fastest

# finish second
who came second? // _ came second

# finish third
who came last? // _ came last

# fallen Whom
who fell? // _ fell

# plan detail
what had {Who} and {Whom} planned? // {Who} and {Whom} had planned _

# plan at
where was {detail} to be? // {detail} was to be _

# shelter place
which place gave them shelter? // _ gave {Who} shelter

# instead detail
what did {Who} and {Whom} have instead? // {Who} and {Whom} had _ instead
*what came of the day in the end? // {Who} and {Whom} had _ in the end

# clue_start Whom
who had hidden the {noun}? // _ had hidden the {noun}

# clue_start thing
what had {Whom} hidden? // {Whom} had hidden a _
what was {Who} to find? // {Who} was to find a _

# clue_start n
how many clues were there? // there were _ clues

# clue detail
which place did the {ordinal} clue mean? // the {ordinal} clue meant _
*where did the {ordinal} clue send {Who}? // the {ordinal} clue sent {Who} to _

# clue_end at
where did {Who} find the {noun}? // {Who} found the {noun} _
"""


@dataclass(frozen=True)
class Question:
    """A question about a tale; its answer stands in the text, and the untrue one is as long."""

    text: str
    answer: str
    untrue: str


def draw_question(tale: Tale, *, dice: Dice) -> Question:
    """One of the questions that the text of the tale answers."""
    while True:
        event = dice.pick(tale.events)
        slots = _slots(event.kind)
        if not slots:
            continue
        found = ask(tale, event, dice.pick(slots), dice=dice)
        if found is not None:
            return found


def ask(tale: Tale, event: Event, slot: str, *, dice: Dice) -> Question | None:
    """The question for a slot of an event; None where the text does not answer it, or twice."""
    value, family = tale.value(event, slot), family_of(event, slot)
    assert family is not None, f"nothing can be mistaken for {slot} of {event.kind}"
    if not value or not tale.says(value):
        return None
    key = str(dice.random())
    text, answer = _worded(tale, event, slot, key=key)
    for other in tale.all(event.kind):
        if other is not event and _worded(tale, other, slot, key=key)[0] == text:
            return None
    wrong = untruth(tale, family, value, besides=f"{text} {answer}", dice=dice)
    return Question(polish(finish(text)), _filled(answer, value), _filled(answer, wrong))


def _worded(tale: Tale, event: Event, slot: str, *, key: str) -> tuple[str, str]:
    """Question and answer before the value is filled in; the key decides between wordings."""
    teller = Teller(tale.world, grammar=grammar_of(True), dice=Dice(key))
    teller.event = event
    teller.known.update(tale.people)
    out: list[str] = []
    rule = _grammar(tale.split != "train").rules[f"{event.kind} {slot}"]
    expand((rule,), Dice(key).random, teller, out)
    question, answer = "".join(out).split(" // ")
    return question, answer


def _filled(answer: str, value: str) -> str:
    return polish(finish(answer.replace("_", value)))


@cache
def _grammar(held_out: bool) -> Grammar:
    return Grammar([QUESTIONS], slots=SLOTS, held_out=held_out)


@cache
def _slots(kind: str) -> tuple[str, ...]:
    """What is asked of an event of this kind."""
    rules = (rule.split() for rule in _grammar(True).rules)
    return tuple(slot for one, slot in rules if one == kind)
