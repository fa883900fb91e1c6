"""A compact grammar of phrases: rules with nested choices and slots, compiled once.

    # rule            begins a rule; each following line is one of its alternatives
    *line             an alternative that is held out of the training split
    [a|b [c|d]|]      one of several phrases, nested as deep as wanted
    <rule>            an alternative of another rule
    {slot}            a word or phrase that the teller supplies

An indented line continues the one above it, after a space unless a choice is being parted.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Slot = Callable[[Any], str]


@dataclass(frozen=True)
class Choice:
    """One of several sequences, drawn when the phrase is expanded."""

    ways: tuple[tuple, ...]


@dataclass(frozen=True)
class Rule:
    """A named list of alternatives; `ways` is filled in when all rules are known."""

    name: str
    ways: list[tuple]


class Grammar:
    """Compiled rules. With `held_out=False` the alternatives marked `*` do not exist."""

    def __init__(self, texts: Iterable[str], *, slots: Mapping[str, Slot], held_out: bool) -> None:
        sources = read_rules(texts)
        self.rules = {name: Rule(name, []) for name in sources}
        self._slots = slots
        for name, lines in sources.items():
            kept = [line for line in lines if held_out or not line.startswith("*")]
            self.rules[name].ways.extend(self._compile(line.lstrip("*")) for line in kept)

    def _compile(self, line: str) -> tuple:
        tokens = re.findall(r"[\[\]|]|<\w+>|\{\w+\}|[^\[\]|<>{}]+", line)
        assert "".join(tokens) == line, f"stray bracket in: {line}"
        ways, rest = self._choices(tokens)
        assert (len(ways), rest) == (1, []), f"unbalanced brackets in: {line}"
        return ways[0]

    def _choices(self, tokens: list[str]) -> tuple[list[tuple], list[str]]:
        ways, way = [], []
        while tokens and tokens[0] != "]":
            token, tokens = tokens[0], tokens[1:]
            if token == "[":
                inner, tokens = self._choices(tokens)
                assert tokens, "a [ is never closed"
                way.append(Choice(tuple(inner)))
                tokens = tokens[1:]
            elif token == "|":
                ways.append(tuple(way))
                way = []
            else:
                way.append(self._leaf(token))
        return [*ways, tuple(way)], tokens

    def _leaf(self, token: str) -> str | Rule | Slot:
        if token.startswith("<"):
            return self.rules[token[1:-1]]
        if token.startswith("{"):
            return self._slots[token[1:-1]]
        return token


def expand(way: tuple, random: Callable[[], float], teller: object, out: list[str]) -> None:
    """Append the words of one alternative to `out`, drawing each choice with `random`."""
    for part in way:
        kind = type(part)
        if kind is str:
            out.append(part)
        elif kind is Choice or kind is Rule:
            ways = part.ways
            expand(ways[int(random() * len(ways))], random, teller, out)
        else:
            out.append(part(teller))


def read_rules(texts: Iterable[str]) -> dict[str, list[str]]:
    """Rule name -> its alternatives as written, over all texts; a name may be used only once."""
    rules: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in "\n".join(texts).splitlines():
        if line.startswith("# "):
            name = line[2:].strip()
            assert name not in rules, f"rule {name} is written twice"
            lines = rules[name] = []
        elif line.startswith(" "):
            joint = "" if lines[-1].endswith(("|", "[")) or line.lstrip()[0] in "|]" else " "
            lines[-1] += joint + line.strip()
        elif line:
            lines.append(line)
    return rules
