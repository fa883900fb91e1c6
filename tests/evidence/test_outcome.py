"""What an interval shows of a claim, at the edges where one sign would turn it."""

import pytest

from lmlab.evidence.gates.grammar import Superior
from lmlab.evidence.gates.outcome import falls, stands


@pytest.mark.parametrize(
    ("margin", "bounds", "holds", "refuted"),
    [
        (0.0, (0.0, 0.0), False, True),
        (0.0, (0.0, 0.1), False, False),
        (0.0, (0.01, 0.1), True, False),
        (0.0, (-0.1, 0.0), False, True),
        (0.05, (0.05, 0.1), True, False),
        (0.05, (0.0, 0.05), False, False),
        (0.05, (0.0, 0.04), False, True),
    ],
)
def test_better_by_nothing_is_not_better(margin, bounds, holds, refuted):
    test = Superior(kind="superior", margin=margin)
    assert (stands(test, bounds), falls(test, bounds)) == (holds, refuted)
