"""Phrases of a grammar whose slots are named values; held-out splits have some of their own."""

import re
from collections.abc import Mapping
from functools import cache
from operator import itemgetter

from lmlab.data.stories.grammar import Grammar, Slot, expand
from lmlab.data.stories.telling import finish, polish
from lmlab.data.stories.world import Dice, Split


def phrase(text: str, rule: str, values: Mapping[str, str], *, dice: Dice, split: Split) -> str:
    """One wording of a rule of `text`, its slots filled in, without a capital or full stop.

    `{name_cap}` is the value of `name` with a capital.
    """
    grammar = _grammar(text, split != "train")
    out: list[str] = []
    expand((grammar.rules[rule],), dice.random, values, out)
    return "".join(out)


def sentence(text: str, rule: str, values: Mapping[str, str], *, dice: Dice, split: Split) -> str:
    """The same as a sentence, or as several."""
    return polish(finish(phrase(text, rule, values, dice=dice, split=split)))


def a_list(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


@cache
def _grammar(text: str, held_out: bool) -> Grammar:
    names = set(re.findall(r"\{(\w+)\}", text))
    return Grammar([text], slots={name: _slot(name) for name in names}, held_out=held_out)


def _slot(name: str) -> Slot:
    plain = itemgetter(name.removesuffix("_cap"))
    if not name.endswith("_cap"):
        return plain

    def capital(values: Mapping[str, str]) -> str:
        text = plain(values)
        return text[:1].upper() + text[1:]

    return capital
