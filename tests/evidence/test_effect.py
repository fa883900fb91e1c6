"""The test that somebody chose for two arms, at the level that they chose, is the textbook's."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from scored_runs import answers, made_run
from statsmodels.stats.multitest import multipletests

from lmlab.engine.run import Run
from lmlab.evidence.comparison.compare import Asked, Comparison, compare_runs
from lmlab.evidence.comparison.effect import Method
from lmlab.evidence.comparison.side_by_side import lines
from lmlab.metrics.significance import one_sided_p, pairs

STUDENT = Method(test="t_test")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def only(runs: list[Run], method: Method = STUDENT, **asked) -> Comparison:
    found = compare_runs(runs, Asked(method=method, **asked)).comparisons
    assert len(found) == 1
    return found[0]


def scores(mean: float, num: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, num).tolist()


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_the_t_test_of_items_is_scipys(level):
    a, b = scores(0.3, 60, 1), scores(0.0, 60, 2)
    runs = [made_run("b", {"m": b}), made_run("a", {"m": a})]
    found = only(runs, Method(test="t_test", confidence=level))
    theirs = scipy.stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(level)
    assert found.test == "paired t over 60 items"
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_the_t_test_of_clusters_is_the_weighted_mean_with_robust_errors():
    """Of weighted documents it is statsmodels' regression on a constant, HC1, Student's."""
    generator = np.random.default_rng(3)
    clusters = [f"d{i}" for i in generator.integers(0, 15, 90)]
    weights = generator.integers(3, 60, 90).astype(float)
    a, b = (weights * generator.normal(mean, 0.4, 90) for mean in (3.1, 3.2))
    given = {"clusters": clusters, "weights": weights.tolist(), "better": "lower"}
    runs = [made_run("b", {"m": b.tolist()}, **given), made_run("a", {"m": a.tolist()}, **given)]
    found = only(runs)
    names = sorted(set(clusters))
    rows = [[i for i, name in enumerate(clusters) if name == one] for one in names]
    weight = np.array([weights[own].sum() for own in rows])
    means = np.array([(a - b)[own].sum() for own in rows]) / weight
    theirs = sm.WLS(means, np.ones(15), weights=weight).fit(cov_type="HC1", use_t=True)
    assert found.test == "paired t over 15 clusters"
    assert found.effect == pytest.approx(theirs.params[0])
    assert found.p == pytest.approx(theirs.pvalues[0])
    assert (found.interval.low, found.interval.high) == pytest.approx(theirs.conf_int()[0])


def test_the_t_test_of_several_seeds_takes_the_seeds_as_its_sample():
    means = {"b": (0.50, 0.60, 0.55), "a": (0.70, 0.75, 0.80)}
    made = {
        name: [
            made_run(
                f"{name}{seed}", {"m": answers(rate, 200, 10 * seed + place)}, seed=seed,
                config={"size": place},
            )
            for seed, rate in enumerate(rates)
        ]
        for place, (name, rates) in enumerate(means.items())
    }  # fmt: skip
    a, b = (
        [np.mean(answers(rate, 200, 10 * seed + place)) for seed, rate in enumerate(means[name])]
        for place, name in ((1, "a"), (0, "b"))
    )
    default = only([*made["b"], *made["a"]], Method())
    assert default.test.endswith("10000 draws, 3 seeds as they are")
    paired = only([*made["b"], *made["a"]])
    assert paired.test == "paired t over 3 seeds"
    assert paired.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
    apart = only([*made["b"], *made["a"]], unpaired=True)
    assert apart.test == "Welch's t, 3 seeds and 3 seeds"
    assert apart.p == pytest.approx(scipy.stats.ttest_ind(a, b, equal_var=False).pvalue)
    asked = Asked(method=STUDENT, unpaired=True)
    mixed = compare_runs([made["b"][0], *made["a"]], asked)
    assert mixed.comparisons == ()
    assert "one seed against several" in mixed.refused[0]


def test_two_samples_of_other_items_get_welchs_test():
    a, b = scores(0.5, 40, 1), [3 * one for one in scores(0.0, 70, 2)]
    runs = [made_run("b", {"m": b}, first_item=500), made_run("a", {"m": a})]
    found = only(runs, unpaired=True)
    theirs = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert found.test == "Welch's t, 40 items and 70 items"
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.interval.low == pytest.approx(theirs.confidence_interval().low)


def test_a_permutation_may_be_asked_for_of_right_and_wrong():
    a, b = [1.0] * 7 + [0.0] * 5, [0.0] * 6 + [1.0] * 2 + [0.0] * 4
    runs = [made_run("b", {"m": b}), made_run("a", {"m": a})]
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples"
    )
    found = only(runs, Method(test="permutation"))
    assert (found.test, found.p) == (
        "paired permutation over clusters, exact", pytest.approx(theirs.pvalue),
    )  # fmt: skip
    assert only(runs, Method()).test == "McNemar, exact"
    with pytest.raises(ValueError, match="leave out --unpaired"):
        only(runs, Method(test="permutation"), unpaired=True)


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_level_is_that_of_mcnemars_interval(level):
    a, b = answers(0.7, 100, 1), answers(0.6, 100, 2)
    runs = [made_run("b", {"m": b}), made_run("a", {"m": a})]
    low = only(runs, Method(confidence=level)).interval.low
    found = one_sided_p(pairs(np.array(a), np.array(b)), null=low, side="greater")
    assert found == pytest.approx((1 - level) / 2)


def test_arms_that_never_differ_have_p_1_and_a_constant_gap_no_t_test():
    a = scores(0.0, 20, 1)
    base, same = made_run("base", {"m": a}), made_run("same", {"m": a})
    above = made_run("above", {"m": [one + 1 for one in (0.0, 1.0, 2.0)]})
    found = only([base, same])
    assert (found.effect, found.p, found.n) == (0.0, 1.0, 20)
    short = made_run("short", {"m": [0.0, 1.0, 2.0]})
    with pytest.raises(ValueError, match=r"toy/above: m against toy/short: m .*differ among"):
        only([short, above])


def test_the_level_moves_the_interval_of_a_bootstrap_and_the_verdict():
    a, b = scores(0.35, 60, 1), scores(0.0, 60, 3)
    runs = [made_run("b", {"m": b}), made_run("a", {"m": a})]
    widths = {}
    for level in (0.8, 0.95):
        found = only(runs, Method(confidence=level)).interval
        widths[level] = found.high - found.low
    ratio = scipy.stats.t.ppf(0.9, 59) / scipy.stats.t.ppf(0.975, 59)
    assert widths[0.8] / widths[0.95] == pytest.approx(ratio)
    p = scipy.stats.ttest_rel(a, b).pvalue
    for level, said in ((1 - p + 0.01, "no difference shown"), (1 - p - 0.01, "better")):
        method = Method(test="t_test", confidence=level)
        told = lines(compare_runs(runs, Asked(method=method)))
        assert told[0] == f"effect = arm - baseline, {100 * level:g} % interval"
        assert told[-1].endswith(said)


def test_the_level_is_that_of_two_samples_and_of_means_over_seeds_too():
    a, b = scores(0.5, 60, 1), scores(0.0, 60, 3)
    runs = [made_run("b", {"m": b}), made_run("a", {"m": a})]
    wide, narrow = (
        only(runs, Method(confidence=level), unpaired=True).interval for level in (0.95, 0.5)
    )
    error = (wide.high - wide.low) / (2 * scipy.stats.norm.ppf(0.975))
    expected = 2 * scipy.stats.norm.ppf(0.75) * error
    assert narrow.high - narrow.low == pytest.approx(expected, rel=0.05)
    seeds = [made_run(f"s{s}", {"m": [float(s), s + 1.0]}, seed=s) for s in (1, 2, 4)]
    (mean,) = compare_runs(seeds, Asked(method=Method(confidence=0.8))).means
    values = [1.5, 2.5, 4.5]
    low, high = scipy.stats.t.interval(0.8, 2, np.mean(values), scipy.stats.sem(values))
    assert (mean.interval.low, mean.interval.high) == pytest.approx((low, high))


def test_p_may_be_corrected_for_the_share_of_false_findings():
    arms = {name: answers(rate, 200, seed) for seed, (name, rate) in enumerate(
        {"base": 0.5, "x": 0.57, "y": 0.6, "z": 0.65}.items()
    )}  # fmt: skip
    run = made_run("a", arms)
    compared = compare_runs([run], Asked(baseline="base", correction="benjamini_hochberg"))
    found = compared.comparisons
    expected = multipletests([one.p for one in found], method="fdr_bh")[1].tolist()
    assert [one.p_corrected for one in found] == pytest.approx(expected)
    assert expected != multipletests([one.p for one in found], method="holm")[1].tolist()
    assert lines(compared)[0].endswith("p corrected over 3 comparisons (Benjamini-Hochberg)")
