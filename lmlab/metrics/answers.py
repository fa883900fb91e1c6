"""Final answers of worked arithmetic: taken from a text, compared with the truth, errors sorted.

The marker belongs to the protocol: GSM8K's references and the official scorer (Cobbe et al. 2021)
write "#### 18", the solutions published with that paper "A: 18".
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

MARKER = "####"
# A wrong number as close as this to the right one is counted as a slip of arithmetic.
NEAR = Decimal("0.2")

Rule = Literal["official", "numeric", "last_number"]
ErrorKind = Literal["extraction", "arithmetic", "reasoning"]

# A minus after a word or a bracket takes away: "10-3" ends in 3.
_NUMBER = re.compile(
    r"((?<![\w)])-)?\$?((?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)", re.ASCII
)


@dataclass(frozen=True)
class ScoredAnswer:
    """What was taken from an output, as written but for its commas; None where it has no answer."""

    predicted: str | None
    gold: str
    right: bool

    @property
    def error(self) -> ErrorKind | None:
        """A guess at the cause from the numbers alone.

        extraction: no answer found, or the right number written as the rule does not take it;
        arithmetic: within 20 % of the truth; reasoning: the rest.
        """
        if self.right:
            return None
        found, true = _number(self.predicted), _number(self.gold)
        assert true is not None
        if found is None or found == true:
            return "extraction"
        return "arithmetic" if abs(found - true) <= NEAR * abs(true) else "reasoning"


@dataclass(frozen=True)
class AnswerScores:
    """The answers of one arm, in the order of its items."""

    items: tuple[ScoredAnswer, ...]

    @property
    def values(self) -> Float64[np.ndarray, "items"]:
        """1 where the answer is right: for paired tests."""
        return np.array([one.right for one in self.items], np.float64)

    @property
    def exact_match(self) -> float:
        """The share of right answers; an output without an answer is wrong."""
        return float(self.values.mean())

    @property
    def num_unparsable(self) -> int:
        """Outputs in which no answer was found."""
        return sum(one.predicted is None for one in self.items)

    @property
    def error_counts(self) -> dict[ErrorKind, int]:
        """How many wrong answers of each kind."""
        found = Counter(one.error for one in self.items)
        return {kind: found[kind] for kind in get_args(ErrorKind)}


def score_answers(
    outputs: Sequence[str],
    solutions: Sequence[str],
    *,
    item_ids: Sequence[str],
    rule: Rule,
    marker: str = MARKER,
) -> AnswerScores:
    """Outputs against reference solutions; `marker` is that of the outputs.

    Raises ValueError for a reference without an answer: nothing could be right or wrong there.
    """
    if not outputs:
        raise ValueError("no outputs to score")
    scored = []
    for output, solution, item_id in zip(outputs, solutions, item_ids, strict=True):
        gold = read_gold(solution, item_id=item_id)
        predicted = extract_answer(output, rule=rule, marker=marker)
        scored.append(ScoredAnswer(predicted, gold, _is_right(predicted, gold, rule)))
    return AnswerScores(tuple(scored))


def read_gold(solution: str, *, item_id: str) -> str:
    """The answer of a reference solution. Raises ValueError, naming the item, where it has none."""
    gold = extract_answer(solution, rule="official")
    if gold is None:
        end = solution[-40:]
        raise ValueError(f"the reference of {item_id} has no number after '{MARKER} ': ...{end!r}")
    return gold


def extract_answer(text: str, *, rule: Rule, marker: str = MARKER) -> str | None:
    """The first number after the marker, or under `last_number` the last one of the text.

    Without commas; None where there is none.
    """
    if rule == "last_number":
        numbers = _NUMBER.findall(text)
        found = "".join(numbers[-1]) if numbers else ""
    else:
        match = re.search(re.escape(marker) + r" (-?[0-9.,]+)", text)
        found = match.group(1) if match else ""
    answer = found.replace(",", "")
    return None if _number(answer) is None else answer


def _is_right(predicted: str | None, gold: str, rule: Rule) -> bool:
    if predicted is None:
        return False
    return predicted == gold if rule == "official" else _number(predicted) == _number(gold)


def _number(text: str | None) -> Decimal | None:
    """Exact, unlike a float; None for what is no number, such as "1.2.3"."""
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
