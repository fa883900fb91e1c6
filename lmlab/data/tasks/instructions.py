"""Instructions from the written world: about a tale that is given, or to write one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lmlab.data.stories.telling import in_words
from lmlab.data.stories.world import (
    ALL_LIKES,
    ALL_TRAITS,
    NAMES,
    Dice,
    Person,
    Split,
    draw_village,
    home_of,
)
from lmlab.data.tasks.phrases import a_list, sentence
from lmlab.data.tasks.problems import STEPS, draw_slip
from lmlab.data.tasks.questions import draw_question
from lmlab.data.tasks.records import Instruction
from lmlab.data.tasks.retellings import retell
from lmlab.data.tasks.tales import OPENINGS, Tale, draw_tale, hero_values, other_likes

REQUESTS = """
# answer
{question}
{question}
[answer the question about|read] the story[.|:] {question}
answer in one sentence: {question}
*here is a story. {question}

# retell
retell the story in one sentence
[what happens in the story? Answer|say what happens] in one sentence
[sum up|summarise] the story
*what is the story about? One sentence is enough

# people
list the people in the story
who are the people in the story?
name everybody in the story
*which names are there in the story?

# judge
is this true of the story? {claim}
true or not? {claim}
[read the story and check this|check this against the story]: {claim}
*does the story say so? {claim}

# write
write a short story about {who} from {village} with {items} in it
tell [me |]a [short |]story about {who} from {village}. There should be {items} in it
write [a few sentences|a short tale] about {who}, who lives in {village}, and about {items}
*{who} lives in {village}. Make up a story about {who} with {items} in it

# introduce
introduce {who} in one sentence: {facts}
write a sentence about {who} ({facts})
*make one sentence of this: {who}, {facts}
"""
KINDS = (
    *("answer",) * 7, *("retell",) * 3, *("judge",) * 3, *("people",) * 2, *("write",) * 3,
    *("introduce",) * 2,
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """An instruction with a right response and a wrong one, which is as fluent and as long."""

    instruction: str
    input: str
    response: str
    wrong: str


def draw_instruction(
    split: Split,
    index: int,
    *,
    seed: int,
    kinds: Sequence[str] = KINDS,
    steps: Sequence[int] = STEPS,
) -> Instruction:
    """The instruction that (seed, split, index) determine, of one of the `kinds`."""
    dice = Dice(f"{seed}/{split}/{index}/instruction")
    task = draw_task(dice, kind=dice.pick(kinds), split=split, steps=steps)
    return Instruction(
        id=f"stories/{split}/{index}",
        instruction=task.instruction,
        input=task.input,
        response=task.response,
    )


def draw_task(dice: Dice, *, kind: str, split: Split, steps: Sequence[int] = STEPS) -> Task:
    """A task of a kind: an arithmetic problem of so many steps, or about a tale of the split."""
    if kind == "solve":
        question, solution, slip = draw_slip(dice, split=split, steps=steps)
        return Task(question, "", solution, slip)
    tale = draw_tale(dice, split=split)
    match kind:
        case "answer":
            return _answer(tale, dice)
        case "retell":
            while (told := retell(tale, dice=dice)) is None:
                tale = draw_tale(dice, split=split)
            return Task(_request("retell", {}, tale, dice), tale.text, told.text, told.untrue)
        case "judge":
            return _judge(tale, dice)
        case "people":
            return _people(tale, dice)
        case "write":
            return _write(tale, dice)
        case "introduce":
            return _introduce(tale, dice)
        case _:
            raise AssertionError(f"no task is of the kind {kind}")


def _answer(tale: Tale, dice: Dice) -> Task:
    asked = draw_question(tale, dice=dice)
    request = _request("answer", {"question": asked.text}, tale, dice)
    return Task(request, tale.text, asked.answer, asked.untrue)


def _judge(tale: Tale, dice: Dice) -> Task:
    """A claim is true or not; of a false one the response says what is true instead."""
    asked, true = draw_question(tale, dice=dice), dice.chance(0.5)
    claim = asked.answer if true else asked.untrue
    request = _request("judge", {"claim": claim}, tale, dice)
    both = f"Yes. {asked.answer}", f"No. {asked.answer}"
    response, wrong = both if true else reversed(both)
    return Task(request, tale.text, response, wrong)


def _people(tale: Tale, dice: Dice) -> Task:
    """The wrong list has somebody who is not in the tale."""
    people = tale.people
    stranger = people[0]
    while tale.says(stranger):
        stranger = dice.pick((*NAMES["f"], *NAMES["m"]))
    wrong = list(people)
    wrong[dice.number(0, len(people) - 1)] = stranger
    request = _request("people", {}, tale, dice)
    return Task(request, tale.text, f"{a_list(people)}.", f"{a_list(wrong)}.")


def _write(tale: Tale, dice: Dice) -> Task:
    """The wrong story is about somebody else: the same one, or quite another."""
    values = {**hero_values(tale.world), "items": a_list(_items(tale, dice))}
    request = _request("write", values, tale, dice)
    if dice.chance(0.5):
        namesake = _namesake(tale.world.hero, tale, dice)
        wrong = re.sub(rf"\b{values['who']}\b", namesake, tale.text)
    else:
        wrong = draw_tale(dice, split=tale.split).text
    return Task(request, "", tale.text, wrong)


def _introduce(tale: Tale, dice: Dice) -> Task:
    """Of the facts given, one is changed in the wrong sentence."""
    hero, right = tale.world.hero, hero_values(tale.world)
    given = ["age", "trait", *(["trade"] if hero.trade else []), "village", "likes"]
    changed = dice.pick([name for name in given if name != "trade"])
    other = {
        "age": in_words(hero.age + dice.pick((-2, -1, 1, 2))),
        "trait": dice.pick([one for one in ALL_TRAITS if one != hero.trait]),
        "village": draw_village(dice, split=tale.split),
        "likes": other_likes(hero, dice=dice, split=tale.split),
    }
    facts = ", ".join(right[name] for name in given)
    request = _request("introduce", {**right, "facts": facts}, tale, dice)
    key, rule = str(dice.random()), "grown" if hero.trade else "child"
    response, wrong = (
        sentence(OPENINGS, rule, values, dice=Dice(key), split=tale.split)
        for values in (right, {**right, changed: other[changed]})
    )
    return Task(request, "", response, wrong)


def _request(rule: str, values: dict[str, str], tale: Tale, dice: Dice) -> str:
    return sentence(REQUESTS, rule, values, dice=dice, split=tale.split)


def _items(tale: Tale, dice: Dice) -> list[str]:
    """One or two things or places of the tale."""
    things = [one.name for event in tale.events for one in (event.what,) if one and one.looks]
    dishes = [one.plural for event in tale.events for one in (event.what,) if one and not one.noun]
    named = [f"a {name}" for name in things if tale.says(name)]
    named += [name for name in (*dishes, *tale.places) if tale.says(name)]
    open_to = sorted(set(named)) or [f"somebody called {tale.people[1]}"]
    return dice.several(open_to, min(len(open_to), dice.number(1, 2)))


def _namesake(hero: Person, tale: Tale, dice: Dice) -> str:
    """A name that somebody of the split with the hero's liking may have."""
    likes, names = ALL_LIKES.index(hero.likes), NAMES[hero.sex]
    open_to = [name for i, name in enumerate(names) if home_of(i, likes) == tale.split]
    return dice.pick([name for name in open_to if not tale.says(name)])
