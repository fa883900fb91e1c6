"""Repeated windows against a slow loop, and in texts whose repetition is plain to see."""

import random

import pytest

from lmlab.metrics.repetition import Repetition, repetition


def slow_repetition(words: list[str], size: int) -> Repetition:
    repeated = windows = 0
    for start in range(len(words)):
        if start + size <= len(words):
            windows += 1
            earlier = (words[place : place + size] for place in range(start))
            repeated += any(words[start : start + size] == other for other in earlier)
    return Repetition(repeated, windows)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_repetition_equals_a_slow_loop(size):
    drawn = random.Random(0)
    for length in (0, 1, size - 1, size, 12, 60):
        words = drawn.choices("abc", k=max(length, 0))
        assert repetition(" ".join(words), window_words=size) == slow_repetition(words, size)


def test_a_text_said_twice_repeats_all_whole_windows_of_its_second_half():
    once = " ".join(map(str, range(30)))
    assert repetition(once) == Repetition(0, 21)
    assert repetition(f"{once}\n{once}") == Repetition(21, 51)
    assert repetition("so " * 30).share == 20 / 21


def test_a_text_shorter_than_a_window_has_no_repetition():
    with pytest.raises(ValueError, match="shorter"):
        _ = repetition("nine words are one too few for a window").share
