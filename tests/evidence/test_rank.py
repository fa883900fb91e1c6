"""All arms in order on the items that all have: one family of tests, its method named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from scored_runs import answers, made_run
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

from lmlab.engine.run import Run
from lmlab.evidence.commands import app
from lmlab.evidence.comparison.compare import Asked
from lmlab.evidence.comparison.effect import Method
from lmlab.evidence.comparison.ranking import rank_runs
from lmlab.evidence.comparison.side_by_side import ranking_lines

RATES = {"e": 0.6, "phi": 0.8, "pi": 0.82, "prng": 0.4}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def four_arms(num: int = 300) -> dict[str, list[float]]:
    return {name: answers(rate, num, seed) for seed, (name, rate) in enumerate(RATES.items())}


def also_measured(run: Run, arms: dict[str, list[float]], **record) -> Run:
    """The run with f1 of these arms, too."""
    other = made_run(f"{run.name}_f1", arms, metric="f1", step="other", **record)
    shutil.copy(other.results().items_path("f1"), run.results().items_path("f1"))
    run.results().replace("other", other.results().records())
    return run


def mcnemar_p(a: list[float], b: list[float]) -> float:
    gains = sum(x > y for x, y in zip(a, b, strict=True))
    losses = sum(x < y for x, y in zip(a, b, strict=True))
    return scipy.stats.binomtest(gains, gains + losses).pvalue


def expected_p(arms: dict[str, list[float]], method: str) -> dict[tuple[str, str], float]:
    """Of neighbours and of each with the best, corrected together."""
    order = sorted(arms, key=lambda name: -np.mean(arms[name]))
    pairs = {*zip(order[1:], order, strict=False), *((arm, order[0]) for arm in order[1:])}
    p = {pair: mcnemar_p(arms[pair[0]], arms[pair[1]]) for pair in sorted(pairs)}
    return dict(zip(p, multipletests(list(p.values()), method=method)[1].tolist(), strict=True))


@pytest.mark.parametrize(
    ("correction", "theirs"), [("holm", "holm"), ("benjamini_hochberg", "fdr_bh")]
)
def test_arms_are_ranked_and_those_that_are_not_told_apart_share_a_place(correction, theirs):
    arms = four_arms()
    (found,) = rank_runs([made_run("a", arms)], Asked(correction=correction)).found
    ranked = found.ranked(alpha=0.05)
    assert [one.arm for one in ranked] == [f"toy/a: {name}" for name in ("pi", "phi", "e", "prng")]
    assert [one.group for one in ranked] == [1, 1, 2, 3]
    assert [one.score for one in ranked] == pytest.approx(
        [np.mean(arms[name]) for name in ("pi", "phi", "e", "prng")]
    )
    p = expected_p(arms, theirs)
    assert ranked[2].p_above == pytest.approx(p["e", "phi"])
    assert ranked[3].p_best == pytest.approx(p["prng", "pi"])
    assert (found.n, found.left_out) == (300, 0)


def test_the_tests_of_all_metrics_are_one_family():
    arms = {"x": answers(0.5, 300, 1), "y": answers(0.62, 300, 2)}
    others = {name: answers(0.5, 60, seed) for seed, name in enumerate("xyz")}
    found = rank_runs([also_measured(made_run("a", arms), others)], Asked()).found
    assert [one.metric for one in found] == ["accuracy", "f1"]
    # One test of accuracy and three of f1: the smallest p counts four times.
    assert found[0].ranked(alpha=0.05)[1].p_best == pytest.approx(4 * mcnemar_p(*arms.values()))


def test_only_items_that_have_a_score_in_all_arms_count():
    """On the last ten, which z failed, x is far better; on the others it is worse."""
    arms = {
        "x": [1.0, 0.0] * 20 + [1.0] * 10,
        "y": [1.0, 1.0] * 20 + [0.0] * 10,
        "z": [0.0] * 40 + [None] * 10,
    }
    (found,) = rank_runs([made_run("a", arms)], Asked()).found
    assert (found.n, found.left_out) == (40, 10)
    assert found.scores == {"toy/a: x": 0.5, "toy/a: y": 1.0, "toy/a: z": 0.0}
    assert found.contests["toy/a: x", "toy/a: y"].p == pytest.approx(2 / 2**20)


def test_where_lower_is_better_the_least_comes_first_and_weights_count():
    weights = [1.0, 9.0] * 10
    arms = {"x": [2.0, 9.0] * 10, "y": [0.5, 18.0] * 10}
    run = made_run("a", arms, weights=weights, better="lower", metric="nll")
    (found,) = rank_runs([run], Asked()).found
    first, second = found.ranked(alpha=0.05)
    assert (first.arm, first.score) == ("toy/a: x", pytest.approx(1.1))
    assert second.score == pytest.approx(1.85)


def test_runs_that_differ_in_seed_alone_are_one_arm_by_the_test_that_was_asked_for():
    rates = {"big": (0.70, 0.75, 0.80), "small": (0.50, 0.60, 0.55)}
    values = {
        size: [answers(rate, 100, 7 * seed + len(size)) for seed, rate in enumerate(own)]
        for size, own in rates.items()
    }
    runs = [
        made_run(f"{size}{seed}", {"m": one}, seed=seed, config={"size": size})
        for size, own in values.items()
        for seed, one in enumerate(own)
    ]
    rankings = rank_runs(runs, Asked(method=Method(test="t_test")))
    best, other = rankings.found[0].ranked(alpha=0.05)
    assert best.arm == "toy/big0 and 2 other seeds: m"
    assert best.score == pytest.approx(np.mean(values["big"]))
    theirs = scipy.stats.ttest_rel(*(np.mean(own, axis=1) for own in values.values()))
    assert other.p_best == pytest.approx(theirs.pvalue)
    assert "paired t over 3 seeds" in ranking_lines(rankings)[1]


def test_arms_of_two_protocols_are_not_ranked_and_the_rest_is():
    arms = {"m": answers(0.5, 30, 3)}
    runs = [
        also_measured(made_run("a", arms), arms),
        also_measured(made_run("b", arms), arms, protocol={"shots": 5}),
    ]
    rankings = rank_runs(runs, Asked())
    assert [one.metric for one in rankings.found] == ["accuracy"]
    assert "2 arms (f1 under" in rankings.refused[0]
    assert "protocol shots: 5 against null" in rankings.refused[0]
    with pytest.raises(ValueError, match="nothing to rank: 2 arms"):
        rank_runs(runs, Asked(metric="f1"))


def test_what_cannot_be_ranked_is_said():
    a, b = made_run("a", {"x": [1.0, 0.0]}), made_run("b", {"y": [1.0, 0.0]}, first_item=9)
    with pytest.raises(ValueError, match="no item has a score in all of them"):
        rank_runs([a, b], Asked())
    with pytest.raises(ValueError, match="no two arms share a metric"):
        rank_runs([a, a], Asked())
    with pytest.raises(ValueError, match="no arm 'z'; nearest: "):
        rank_runs([a, b], Asked(arm="z"))
    for asked in (Asked(baseline="x"), Asked(unpaired=True)):
        with pytest.raises(ValueError, match="leave out --baseline and --unpaired"):
            rank_runs([a, b], asked)


def test_the_command_ranks_and_names_its_method():
    made_run("a", four_arms(200))
    typed = ["compare", "toy/a", "--rank", "--correct", "benjamini_hochberg", "--confidence", ".99"]
    said = CliRunner().invoke(app, typed, catch_exceptions=False).output.splitlines()
    how = next(number for number, line in enumerate(said) if line.startswith("ranked by score"))
    assert "not told apart at p 0.01" in said[how]
    assert said[how].endswith("99 % interval, p corrected over 5 comparisons (Benjamini-Hochberg)")
    assert said[how + 1].endswith("200 items that all have; McNemar, exact")
    assert [line.split()[:3] for line in said[how + 2 :]] == [
        ["1.", "toy/a:", "pi"], ["1.", "toy/a:", "phi"],
        ["2.", "toy/a:", "e"], ["3.", "toy/a:", "prng"],
    ]  # fmt: skip


def test_the_command_compares_by_the_test_that_was_asked_for():
    made_run("a", four_arms(200))
    typed = ["compare", "toy/a", "--baseline", "e", "--test", "t_test"]
    said = CliRunner().invoke(app, typed, catch_exceptions=False).output
    assert said.count("(paired t over 200 items)") == 3


def test_one_seed_meets_the_same_seed_alone_of_several():
    values = {seed: answers(0.7, 50, seed) for seed in (1, 2, 3)}
    runs = [made_run(f"big{seed}", {"m": one}, seed=seed) for seed, one in values.items()]
    small = answers(0.5, 50, 9)
    runs.append(made_run("small", {"m": small}, seed=2, config={"size": 2}))
    (found,) = rank_runs(runs, Asked()).found
    assert (found.n, found.left_out) == (50, 100)
    assert list(found.scores.values()) == pytest.approx([np.mean(values[2]), np.mean(small)])
