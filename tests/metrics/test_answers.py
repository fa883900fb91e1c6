"""Facts about final answers: constructed cases, and every reference of GSM8K where it lies."""

import json

import pytest

from lmlab.metrics.answers import (
    ScoredAnswer,
    extract_answer,
    read_gold,
    score_answers,
)

GOLD = "She sells 9 * 2 = 18 a day.\n#### 18"


def right(output: str, gold: str = GOLD, *, rule: str = "official", marker: str = "####") -> bool:
    scores = score_answers([output], [gold], item_ids=["a"], rule=rule, marker=marker)
    return scores.items[0].right


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 1,234", "1234"),
        ("#### 1,234,567.50 dollars", "1234567.50"),
        ("#### -3", "-3"),
        ("so 5 + 4 = 9\n#### 9\n#### 10", "9"),
        ("#### 18.", "18."),
        ("#### .5", ".5"),
        ("####18", None),
        ("#### $18", None),
        ("#### +18", None),
        ("#### - 18", None),
        ("the answer is 18", None),
        ("#### eighteen", None),
        ("#### ,", None),
        ("#### .", None),
        ("#### 1.2.3", None),
        ("[invalid]", None),
        ("", None),
    ],
)
def test_the_answer_is_the_first_number_after_the_marker(text, answer):
    assert extract_answer(text, rule="official") == answer
    assert extract_answer(text, rule="numeric") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 boxes of 12 make 36 eggs.", "36"),
        ("It costs $1,234.50!", "1234.50"),
        ("10-3", "3"),
        ("10 - 13 = -3.", "-3"),
        ("a loss of -$40", "-40"),
        ("a loss of $-40", "-40"),
        ("one of 1,2,3", "3"),
        ("12,3456", "3456"),
        ("half, .5", ".5"),
        ("#### 18\nThat is 2 more.", "2"),
        ("no number", None),
    ],
)
def test_the_last_number_is_taken_with_its_sign_and_without_its_unit(text, answer):
    assert extract_answer(text, rule="last_number") == answer


def test_official_compares_strings_and_numeric_numbers():
    for output in ("#### 18.", "#### 18.0", "#### 018"):
        assert not right(output)
        assert right(output, rule="numeric")
    assert right("#### 1,8")
    # Not equal as numbers, though their floats are.
    big = "#### 9007199254740993"
    assert not right("#### 9007199254740992", big, rule="numeric")
    assert right("2 more than 16 is 18.0", rule="last_number")
    assert not right("2 more than 16 is 18")


def test_another_marker_is_another_protocol():
    assert right("She makes 9 * 2 = 18.\nA: 18", marker="A:")
    assert not right("She makes 9 * 2 = 18.\nA: 18")


def test_a_reference_without_an_answer_is_an_error_and_nothing_is_equal_to_it():
    for gold in ("[invalid]", "The answer is 18", "#### ?", "A: 18"):
        with pytest.raises(ValueError, match=r"reference of gsm8k-7 .* after '#### '"):
            score_answers(["[invalid]"], [gold], item_ids=["gsm8k-7"], rule="official")
    scores = score_answers(["[invalid]"], [GOLD], item_ids=["a"], rule="official")
    assert (scores.exact_match, scores.num_unparsable) == (0.0, 1)


def test_an_output_without_an_answer_is_wrong_and_counted():
    outputs = ["#### 18", "eighteen", "#### 20", "#### 180", "#### 18.0", "#### 21.6", "#### 21.7"]
    given = [str(number) for number in range(7)]
    scores = score_answers(outputs, [GOLD] * 7, item_ids=given, rule="official")
    assert scores.values.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert scores.exact_match == pytest.approx(1 / 7)
    assert scores.num_unparsable == 1
    assert [one.error for one in scores.items] == [
        None, "extraction", "arithmetic", "reasoning", "extraction", "arithmetic", "reasoning",
    ]  # fmt: skip
    assert scores.error_counts == {"extraction": 2, "arithmetic": 2, "reasoning": 2}
    assert sum(scores.error_counts.values()) == (1 - scores.values).sum()


def test_nothing_is_near_a_truth_of_zero():
    assert ScoredAnswer("1", "0", False).error == "reasoning"
    assert ScoredAnswer("-22", "-20", False).error == "arithmetic"
    assert ScoredAnswer("22", "-20", False).error == "reasoning"


def test_outputs_and_references_are_as_many():
    with pytest.raises(ValueError, match="shorter"):
        score_answers(["#### 1", "#### 2"], [GOLD], item_ids=["a"], rule="official")
    with pytest.raises(ValueError, match="no outputs"):
        score_answers([], [], item_ids=[], rule="official")


@pytest.mark.realdata
def test_every_reference_of_gsm8k_has_an_answer_and_is_right_under_every_rule(real_data):
    lines = [
        line
        for split in ("test", "train")
        for line in (real_data / "gsm8k" / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]
    solutions = [json.loads(line)["answer"] for line in lines]
    slow = [one.rsplit("\n#### ", 1)[1].replace(",", "") for one in solutions]
    assert [read_gold(one, item_id="") for one in solutions] == slow
    assert len(slow) == 8_792
    some = solutions[:300]
    for rule in ("official", "numeric", "last_number"):
        scores = score_answers(some, some, item_ids=slow[:300], rule=rule)
        assert scores.values.all()
