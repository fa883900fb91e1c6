"""Dialogues of the written world, each with what came of it in one sentence."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from lmlab.data.stories.telling import clock, counted, finish, in_words, polish
from lmlab.data.stories.words import WEEKDAYS
from lmlab.data.stories.world import (
    ALL_GOODS,
    ALL_OUTINGS,
    ALL_PLACES,
    NAMES,
    Dice,
    Split,
    draw_thing,
    draw_village,
)
from lmlab.data.tasks.phrases import phrase, sentence
from lmlab.data.tasks.records import Dialogue

# Turns begin with who speaks: a or b. Each scene is a rule of turns parted by "/" and its summary.
PROSE = """
# hello
a: [good morning|good day|hello], {b}! / b: [good to see you|hello], {a}. How are you? / a: [very
 well|well enough], [thank you|thanks]
a: {b}, [have you a moment|may I ask you something]? / b: [of course|certainly|always], {a}
b: {a}! What brings you here? / a: [I was looking for you|I hoped to find you here], {b}
*a: there you are, {b}! / b: [here I am|as you see]. What is it, {a}?

# bye
a: [thank you|many thanks], {b} / b: [not at all|don't mention it]
b: [until then|goodbye], {a}! / a: [goodbye|farewell], {b}!
a: [I must go now|it is late, and I must go] / b: [go well|safe home], {a}
*b: is there anything else? / a: no, that was all

# plan
a: [shall we have|would you like] {outing} {outdoors} on {weekday}? / b: on {weekday} I [am in
 {village}|must help {third}]. [What about|Could we say] {later}? / a: {later} [suits me|is just as
 good]. At {time}? / b: at {time}. I will bring {ngoods}

# plan summary
{a} and {b} will have {outing} {outdoors} on {later} at {time}
{b} cannot come on {weekday}, so {a} and {b} will have {outing} on {later} at {time}
{a} and {b} agree on {outing} {outdoors} on {later}, and {b} will bring {ngoods}
*on {later} at {time}, {a} and {b} will meet {outdoors} for {outing}

# refusal
a: [shall we have|would you like] {outing} {outdoors} on {weekday}? / b: [I am sorry|I fear not]: I
 [am in {village}|must help {third}] all week / a: [what a pity|that is a pity]. Then I
 [will|shall] ask {fourth} / b: [yes, ask|do ask] {fourth}. [Next time I will come|Another time,
 gladly]

# refusal summary
{b} has no time for {outing} on {weekday}, so {a} will ask {fourth}
{a} wants to have {outing} {outdoors} with {b}, who has no time, and will ask {fourth}
as {b} is not free, {a} will ask {fourth} to come to {outing} {outdoors}
*{b} says no to {outing}, and {a} thinks of {fourth} instead

# sale
a: [what|how much] do you ask for the {goods}? / b: {price} each / a: [then I will take|give me]
 {n} / b: that makes {total} / a: [here they are|here you are], {total}

# sale summary
{a} buys {n} {goods} from {b} for {total}
{b} sells {a} {n} {goods} at {price} each
{a} pays {b} {total} for {n} {goods}
*{n} {goods} go from {b} to {a} for {total}

# bargain
a: [what|how much] do you ask for the {thing}? / b: {total} / a: [that is too much for me|I have
 not so much]. [Would you take|What about] {less}? / b: [because it is you|as you are a friend],
 {less}

# bargain summary
{b} asks {total} for a {thing} but lets {a} have it for {less}
{a} gets a {thing} from {b} for {less} instead of {total}
{a} bargains with {b} and buys a {thing} for {less}
*for a {thing}, {b} wanted {total} and took {less} from {a}

# loan
a: [may I borrow|would you lend me] your {thing}? / b: [what do you need it for|for how long]? / a:
 [only until|I need it until] {weekday} / b: [take it|very well], but I must have it back on
 {weekday}. {third} needs it then

# loan summary
{b} lends {a} a {thing} until {weekday}
{a} borrows a {thing} from {b} and is to bring it back on {weekday}
{a} may have the {thing} of {b} until {weekday}, when {third} needs it
*until {weekday}, {a} can use the {thing} of {b}

# loan_refused
a: [may I borrow|would you lend me] your {thing}? / b: I lent it to {third} [last week|on
 {weekday}] / a: and when [will|does] {third} bring it back? / b: [not before|on] {later}, I think.
 Ask {fourth}, who has one too / a: then I [will go|shall go] to {fourth}

# loan_refused summary
{third} has the {thing} of {b}, so {a} will ask {fourth} for one
{b} cannot lend {a} the {thing}, which {third} has
{a} wants to borrow a {thing} from {b} but will go to {fourth}
*{b} has lent the {thing} to {third} and sends {a} to {fourth}

# lost
a: I have lost my {thing} / b: [where|when] did you have it last? / a: {at}, [I think|on {weekday}]
 / b: did you look {spot}? [Things hide there|I found a cap there once] / a: [no, not yet|I did not
 think of that]. I will go [back|there] [at once|and look]

# lost summary
{a} has lost a {thing} and will look for it {spot} {at}
{b} tells {a} to look for the lost {thing} {spot}
{a} had a {thing} {at} and lost it; {b} thinks of a place to look, {spot}
*{b} helps {a} to think where the lost {thing} may be: {spot} {at}

# errand
a: are you going to {village} [soon|this week]? / b: yes, on {weekday} / a: [would|could] you take
 a {thing} to {third} for me? / b: gladly. Where does {third} live? / a: [next to|just behind]
 {place}

# errand summary
{b} will take a {thing} to {third} in {village} on {weekday}
{a} asks {b} to take a {thing} to {third}, who lives in {village}
on {weekday} {b} goes to {village} and will bring {third} a {thing} from {a}
*a {thing} will go to {third} in {village} with {b} on {weekday}

# news
a: have you heard? {third} has [bought|been given] a {thing} / b: [really|is that so]? [From
 whom|By whom]? / a: [I think|they say] it was {fourth} / b: {fourth}! [Who would have thought
 it|Well, well]. I saw them {at} on {weekday}

# news summary
{a} tells {b} that {third} has a {thing} from {fourth}
{a} and {b} talk about the {thing} that {third} has from {fourth}
{b} hears from {a} of the {thing} of {third} and saw {third} with {fourth} {at}
*{third} has a {thing} from {fourth}, as {b} learns from {a}
"""
SCENES = (
    "plan", "refusal", "sale", "bargain", "loan", "loan_refused", "lost", "errand", "news",
)  # fmt: skip
GOODS = {goods.plural: goods.noun for goods in ALL_GOODS}
# As many references as DialogSum's test split has.
REFERENCES = 3


def draw_dialogue(split: Split, index: int, *, seed: int) -> Dialogue:
    """The dialogue that (seed, split, index) alone determine: one summary to train, else three."""
    dice = Dice(f"{seed}/{split}/{index}/dialogue")
    scene, values = dice.pick(SCENES), _values(dice, split=split)
    parts = [scene]
    if dice.chance(0.5):
        parts.insert(0, "hello")
    if dice.chance(0.5):
        parts.append("bye")
    turns = _turns(parts, values, dice=dice, split=split)
    wanted, summaries = 1 if split == "train" else REFERENCES, dict[str, None]()
    while len(summaries) < wanted:
        summaries[sentence(PROSE, f"{scene} summary", values, dice=dice, split=split)] = None
    return Dialogue(f"stories/{split}/{index}", "\n".join(turns), tuple(summaries))


def _turns(parts: Iterable[str], values: dict[str, str], *, dice: Dice, split: Split) -> list[str]:
    """One line a turn: the speaker's name, a colon, and what is said before the other speaks."""
    told = " / ".join(phrase(PROSE, part, values, dice=dice, split=split) for part in parts)
    spoken = [turn.split(": ", 1) for turn in told.split(" / ")]
    lines: list[str] = []
    for speaker, turns in groupby(spoken, key=itemgetter(0)):
        said = " ".join(polish(finish(words)) for _, words in turns)
        lines.append(f"{values[speaker]}: {said}")
    return lines


def _values(dice: Dice, *, split: Split) -> dict[str, str]:
    """Who speaks, and of what, in combinations of the split."""
    names = (*NAMES["f"], *NAMES["m"])
    asker, goods = dice.pair(names, tuple(GOODS), split=split)
    people, outing = [asker], ""
    while len(set(people)) < 4:
        answerer, outing = dice.pair(names, ALL_OUTINGS, split=split)
        people = [asker, answerer, *dice.several(names, 2)]
    place = dice.pick(ALL_PLACES)
    weekday, later = dice.several(WEEKDAYS, 2)
    number, price = dice.number(2, 9), dice.number(2, 6)
    total = number * price
    return {
        **dict(zip(("a", "b", "third", "fourth"), people, strict=True)),
        "place": place.name,
        "at": place.at,
        "outdoors": dice.pick([one.at for one in ALL_PLACES if not one.indoors]),
        "spot": dice.pick(place.spots),
        "village": draw_village(dice, split=split),
        "weekday": weekday,
        "later": later,
        "time": clock(15 * dice.number(36, 72)),
        "outing": outing,
        "thing": draw_thing(dice, split=split).name,
        "goods": goods,
        "ngoods": counted(number, GOODS[goods], goods),
        "n": in_words(number),
        "price": f"{in_words(price)} coins",
        "total": f"{in_words(total)} coins",
        "less": counted(dice.number(total // 2, total - 1), "coin", "coins"),
    }
