"""Expressions of gate files: what they compute, and what they refuse."""

import math

import numpy as np
import pytest

from lmlab.evidence.gates.expressions import MAX_ELEMENTS, UnknownNameError, evaluate


def test_arithmetic_is_that_of_numbers():
    assert evaluate("2 + 3 * 4 - -1", {}) == 15
    assert evaluate("7 // 2 + 7 % 4 + 2 ** 10 / 4", {}) == 262
    assert evaluate("abs(3 + 4j)", {}) == 5
    assert evaluate("a * b", {"a": 1.5, "b": 4}) == 6
    assert evaluate("pi + e", {}) == math.pi + math.e


def test_lists_are_arrays_and_comparisons_count():
    lengths = (1, 2, 4, 8)
    assert evaluate("max(x) / min(x) - 1", {"x": lengths}) == 7
    assert evaluate("sum(x > 2)", {"x": lengths}) == 2
    assert np.array_equal(evaluate("cumsum(minimum(x, 3))", {"x": lengths}), [1, 3, 6, 9])
    assert np.array_equal(evaluate("arange(2, 8, 3)", {}), [2, 5])


def test_a_text_among_the_names_is_an_expression():
    names = {"n": "arange(size)", "size": 5, "total": "sum(n)"}
    assert evaluate("total + max(n)", names) == 14


def test_the_spectrum_of_one_tone_is_that_of_numpy():
    turns = np.arange(1024) * math.pi % 1
    code = np.exp(2j * np.pi * turns)
    power = np.abs(np.fft.fft(code - code.mean())) ** 2
    names = {"z": "exp(2j * pi * (arange(1024) * pi % 1))"}
    assert evaluate("mean(abs(fft(z - mean(z))) ** 2)", names) == pytest.approx(power.mean())


def test_division_by_zero_is_an_answer_and_no_error():
    assert evaluate("1 / 0", {}) == math.inf
    assert math.isnan(evaluate("0 / 0", {}))
    assert evaluate("9 ** 9 ** 9 ** 9", {}) == math.inf


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "x.real",
        "x[0]",
        "[1] * 9",
        "(1, 2)",
        "lambda: 1",
        "[n for n in x]",
        "1 if 1 else 2",
        "1 and 2",
        "not 1",
        "~1",
        "1 << 99",
        "1 @ 2",
        "1 < 2 < 3",
        "1 == 1",
        "'a' * 9",
        "True",
        "f'{1}'",
        "(y := 3)",
        "max(*x)",
        "sum(x, axis=0)",
        "fft(x, 1000000000)",
        "open(x)",
        "exec(x)",
        "eval(x)",
    ],
)
def test_what_is_no_arithmetic_is_refused_by_name(expression):
    with pytest.raises(
        ValueError, match=r"allowed|no function of|no arithmetic|no operator"
    ) as why:
        evaluate(expression, {"x": (1, 2)})
    assert expression in str(why.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (f"arange({MAX_ELEMENTS + 1})", "elements"),
        ("arange(0, 1, 1e-12)", "elements"),
        ("arange(0, 1, 0)", "elements"),
        ("arange(3, 1)", "elements"),
        ("*".join(["(a + a + a + a + a)"] * 20), "numbers on the way"),
        ("-" * 900 + "1", "nested deeper"),
        ("1" * 1001, "characters"),
        ("9" * 900, "too large"),
        ("arange(3) + arange(4)", "cannot be computed"),
        ("1j // 2", "cannot be computed"),
        ("2j", "complex"),
        ("1 +", "no arithmetic"),
        ("1 \0", "no arithmetic"),
    ],
)
def test_what_would_eat_memory_or_means_nothing_is_refused(expression, said):
    with pytest.raises(ValueError, match=said):
        evaluate(expression, {"a": "arange(1000000)"})


def test_texts_that_double_each_other_stay_cheap_and_circles_are_found():
    doubling = {f"a{n}": f"a{n + 1} + a{n + 1}" for n in range(20)} | {"a20": 1}
    assert evaluate("a0", doubling) == 2**20
    with pytest.raises(ValueError, match="defined by itself"):
        evaluate("a", {"a": "b + 1", "b": "2 * a"})
    with pytest.raises(ValueError, match="deeper"):
        evaluate("a0", {f"a{n}": f"a{n + 1} + 1" for n in range(100)} | {"a100": 1})


def test_a_list_that_is_too_long_or_empty_is_refused():
    with pytest.raises(ValueError, match="x is no number"):
        evaluate("sum(x)", {"x": ()})


def test_an_unknown_name_is_told_apart():
    with pytest.raises(UnknownNameError, match="baseline") as why:
        evaluate("1 - baseline", {"arm": 0.5})
    assert why.value.name == "baseline"
