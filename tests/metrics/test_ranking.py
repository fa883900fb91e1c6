"""Facts about rankings: order, groups, and what an order rests on."""

from lmlab.metrics.ranking import contests, in_order, rank_arms

SCORES = {"e": 0.6, "pi": 0.8, "phi": 0.79, "prng": 0.4}


def test_the_best_comes_first_and_equal_arms_by_name():
    assert in_order(SCORES, better="higher") == ["pi", "phi", "e", "prng"]
    assert in_order(SCORES, better="lower") == ["prng", "e", "phi", "pi"]
    assert in_order({"b": 1.0, "a": 1.0}, better="lower") == ["a", "b"]


def test_each_arm_meets_the_one_above_it_and_the_best_once():
    assert contests(["a", "b", "c", "d"]) == [
        ("b", "a"), ("c", "b"), ("d", "c"), ("c", "a"), ("d", "a"),
    ]  # fmt: skip


def test_a_group_begins_where_an_arm_differs_from_the_one_above():
    p = {
        ("phi", "pi"): 0.4, ("e", "phi"): 0.05, ("prng", "e"): 0.06,
        ("e", "pi"): 0.01, ("prng", "pi"): 0.001,
    }  # fmt: skip
    ranked = rank_arms(SCORES, p, better="higher", alpha=0.05)
    assert [(one.arm, one.score, one.group) for one in ranked] == [
        ("pi", 0.8, 1), ("phi", 0.79, 1), ("e", 0.6, 2), ("prng", 0.4, 2),
    ]  # fmt: skip
    assert [one.p_above for one in ranked] == [None, 0.4, 0.05, 0.06]
    assert [one.p_best for one in ranked] == [None, 0.4, 0.01, 0.001]
