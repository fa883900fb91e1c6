"""What a line computes: judged where it can be read, and then right."""

import os
from pathlib import Path

import pytest

from lmlab.data.schema import NamedTasks
from lmlab.data.tasks.load import load_problems
from lmlab.metrics.equations import stated_equations


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Mara has 3 + 4 = 7 apples.", [True]),
        ("Mara has 3 + 4 = 8 apples.", [False]),
        ("10-3=7 and 2*3 = 5", [True, False]),
        ("3 x 4 = 12, 3 × 4 = 13", [True, False]),
        ("the box 3 + 4 = 7", [True]),
        ("2 + 3 + 4 = 9", [True]),
        ("2 + 3 * 4 = 20", [False]),
        ("(2 + 3) * 4 = 20", [True]),
        ("48/2 = <<48/2=24>>24 clips", [True]),
        ("$1,200 + $300 = $1,500", [True]),
        ("0.15*2=0.30", [True]),
        ("200/3 = 66.67 or 200/3 = 66.66", [True, True]),
        ("200/3 = 66.7 or 200/3 = 66.9", [True, False]),
        ("7/2 = 3", [False]),
        ("3 / 0 = 3", [False]),
        ("-3 + 4 = 1", [True]),
        ("She had 5. 3 + 4 = 7. Then", [True]),
        # What cannot be read to its beginning or end is not judged.
        ("20 pencils + 40 + 30 = 90", []),
        ("8/32 = 25%", []),
        ("4 / 3 = 1 1/3", []),
        ("2*3 = 6 + 4 = 10", [True]),
        ("3x-5=16", []),
        ("66 (1/3) + 1 = 67", []),
        ("2**3 = 8", []),
        ("1 2 + 3 = 5", []),
        ("x = 7", []),
        ("7 = 7", []),
        ("no number", []),
        ("(" * 300 + "1+1=2", []),
    ],
)
def test_an_equation_is_judged_by_its_value(line: str, expected: list[bool]):
    assert stated_equations(line) == expected


@pytest.mark.realdata
def test_hardly_a_line_of_gsm8ks_own_solutions_is_called_wrong(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(os.environ, "LMLAB_DATA", str(real_data))
    problems = load_problems(NamedTasks(kind="named", name="gsm8k"), "test").records
    lines = [line for one in problems for line in one.solution.split("\n")[:-1]]
    judged = [all(found) for line in lines if (found := stated_equations(line))]
    assert len(judged) > 0.85 * len(lines)
    assert sum(judged) > 0.995 * len(judged)
