"""Two arms on the same items: the effect and its p, what is refused, and what is said of seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.multitest
from sample_records import make_record
from scored_runs import answers, made_run

from lmlab.engine.items import read_items, write_items
from lmlab.engine.records import Item
from lmlab.engine.run import Run, create_run
from lmlab.evidence.comparison.compare import Asked, Comparison, compare_runs
from lmlab.evidence.comparison.side_by_side import lines, tables


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def only(runs: list[Run], **asked) -> Comparison:
    found = compare_runs(runs, Asked(**asked)).comparisons
    assert len(found) == 1
    return found[0]


def test_right_and_wrong_on_the_same_items_get_mcnemar():
    a, b = answers(0.7, 300, 1), answers(0.6, 300, 2)
    found = only([made_run("b", {"model": b}), made_run("a", {"model": a})])
    gains = sum(x > y for x, y in zip(a, b, strict=True))
    losses = sum(x < y for x, y in zip(a, b, strict=True))
    assert found.effect == pytest.approx(np.mean(a) - np.mean(b))
    assert found.p == pytest.approx(scipy.stats.binomtest(gains, gains + losses).pvalue)
    assert (found.arm, found.baseline) == ("toy/a: model", "toy/b: model")
    assert (found.n, found.unmatched) == (300, (0, 0))
    assert found.interval.low < found.effect < found.interval.high


def test_weighted_items_are_compared_as_the_ratio_of_their_sums():
    generator = np.random.default_rng(5)
    weights = generator.integers(5, 50, 80).astype(float)
    a, b = (weights * generator.normal(mean, 0.3, 80) for mean in (3.0, 3.4))
    given = {"weights": weights.tolist(), "metric": "nll_per_word", "better": "lower"}
    first = made_run("b", {"model": b.tolist()}, **given)
    found = only([first, made_run("a", {"model": a.tolist()}, **given)])
    assert found.effect == pytest.approx((a.sum() - b.sum()) / weights.sum())
    assert found.interval.high < 0
    assert found.p < 0.001
    assert "better" in lines(compare_runs([first, Run(first.root, "toy", "a")], Asked()))[-1]


def test_items_of_one_cluster_count_as_one():
    """Eight documents of twenty alike items: 160 items are certain, eight documents not."""
    clusters = [f"d{i // 20}" for i in range(160)]
    a = [float(i // 20 not in (0, 1, 2)) for i in range(160)]
    b = [float(i // 20 in (1, 2, 3)) for i in range(160)]
    apart = only([made_run("b", {"m": b}), made_run("a", {"m": a})])
    together = only(
        [made_run("d", {"m": b}, clusters=clusters), made_run("c", {"m": a}, clusters=clusters)]
    )
    assert apart.effect == pytest.approx(together.effect)
    assert apart.p < 0.001
    assert together.p > 0.05
    assert together.interval.high - together.interval.low > 2 * (
        apart.interval.high - apart.interval.low
    )


def test_other_protocols_are_refused_with_both_values():
    a = made_run("a", {"m": answers(0.5, 50, 1)}, protocol={"num_fewshot": 0, "filter": "none"})
    b = made_run("b", {"m": answers(0.5, 50, 2)}, protocol={"num_fewshot": 5, "filter": "none"})
    with pytest.raises(ValueError, match="protocol num_fewshot: 0 against 5") as caught:
        compare_runs([b, a], Asked())
    assert "filter" not in str(caught.value)


def test_other_data_are_refused_unless_taken_as_two_samples():
    a = made_run("a", {"m": answers(0.9, 200, 1)}, data={"test": "aa" * 32})
    b = made_run("b", {"m": answers(0.5, 200, 2)}, data={"test": "bb" * 32}, first_item=500)
    with pytest.raises(ValueError, match=r'data test: "b.* against "a'):
        compare_runs([a, b], Asked())
    found = only([b, a], unpaired=True)
    assert not found.paired
    assert (found.n, found.unmatched) == (0, (200, 200))
    assert found.interval.low > 0.2
    assert found.p < 1e-6


def test_only_what_the_records_scored_must_be_the_same_data():
    a = made_run("a", {"m": answers(0.9, 60, 1)}, data={"test": "aa", "train": "bb"})
    b = made_run("b", {"m": answers(0.5, 60, 2)}, data={"test": "aa", "train": "cc"})
    assert only([b, a]).n == 60


def test_items_that_fail_or_that_one_lacks_are_left_out_and_counted():
    a = made_run("a", {"m": [1.0, None, 1.0, 1.0, 0.0]})
    b = made_run("b", {"m": [1.0, 1.0, 0.0, 1.0]})
    found = only([b, a])
    assert (found.n, found.unmatched) == (3, (2, 1))
    assert found.effect == pytest.approx(1 / 3)


def test_no_item_in_common_is_refused():
    a, b = made_run("a", {"m": [1.0, 0.0]}), made_run("b", {"m": [1.0, 0.0]}, first_item=9)
    with pytest.raises(ValueError, match="no item has a score in both; --unpaired"):
        compare_runs([a, b], Asked())


def test_items_of_other_weights_are_not_the_same_items():
    a = made_run("a", {"m": [1.0, 0.0]}, weights=[2.0, 3.0])
    b = made_run("b", {"m": [1.0, 0.0]}, weights=[2.0, 4.0])
    with pytest.raises(ValueError, match="other weights"):
        compare_runs([a, b], Asked())


def test_the_arms_of_one_run_are_compared_with_a_named_baseline():
    arms = {"base": answers(0.5, 90, 1), "sft": answers(0.6, 90, 2), "dpo": answers(0.7, 90, 3)}
    run = made_run("a", arms)
    with pytest.raises(ValueError, match=r"one run alone: say --baseline .*\(base, dpo, sft\)"):
        compare_runs([run], Asked())
    with pytest.raises(ValueError, match="no run and no arm 'bas'; nearest: base"):
        compare_runs([run], Asked(baseline="bas"))
    found = compare_runs([run], Asked(baseline="base")).comparisons
    assert [one.arm for one in found] == ["toy/a: sft", "toy/a: dpo"]
    assert only([run], baseline="base", arm="sft").p == found[0].p


def test_p_is_corrected_over_all_comparisons_as_statsmodels_does():
    arms = {name: answers(rate, 200, seed) for seed, (name, rate) in enumerate(
        {"base": 0.5, "x": 0.55, "y": 0.6, "z": 0.65}.items()
    )}  # fmt: skip
    found = compare_runs([made_run("a", arms)], Asked(baseline="base")).comparisons
    expected = statsmodels.stats.multitest.multipletests([one.p for one in found], method="holm")
    assert [one.p_corrected for one in found] == pytest.approx(expected[1].tolist())
    assert any(one.p_corrected > one.p for one in found)


def test_arms_of_one_name_meet_and_unlike_single_arms_too():
    arms = {"trained": answers(0.7, 60, 1), "untrained": answers(0.5, 60, 2)}
    a, b = made_run("a", arms), made_run("b", arms)
    found = compare_runs([a, b], Asked()).comparisons
    assert [(one.arm, one.baseline) for one in found] == [
        ("toy/b: trained", "toy/a: trained"), ("toy/b: untrained", "toy/a: untrained"),
    ]  # fmt: skip
    assert {one.effect for one in found} == {0.0}
    c, d = made_run("c", {"gpt": answers(0.7, 60, 3)}), made_run("d", {"llama": arms["trained"]})
    assert only([c, d]).arm == "toy/d: llama"
    with pytest.raises(ValueError, match="has the arms trained, untrained and the other run gpt"):
        compare_runs([a, c], Asked())


def test_a_baseline_in_several_runs_must_be_named_by_its_run():
    a = made_run("a", {"base": answers(0.5, 40, 1)})
    b = made_run("b", {"base": answers(0.5, 40, 2)})
    c = made_run("c", {"mine": answers(0.5, 40, 3)})
    with pytest.raises(ValueError, match="base is in several runs"):
        compare_runs([a, b, c], Asked(baseline="base"))


def test_runs_that_differ_in_seed_alone_are_one_arm_with_a_mean():
    shares = {1: 0.60, 2: 0.66, 3: 0.63}
    values = {s: [float(i < 100 * share) for i in range(100)] for s, share in shares.items()}
    runs = [made_run(f"s{seed}", {"m": values[seed]}, seed=seed) for seed in shares]
    compared = compare_runs(runs, Asked())
    assert compared.comparisons == ()
    mean = compared.means[0]
    expected = scipy.stats.t.interval(
        0.95, 2, loc=np.mean(list(shares.values())),
        scale=scipy.stats.sem(list(shares.values())),
    )  # fmt: skip
    assert mean.mean == pytest.approx(0.63)
    assert (mean.interval.low, mean.interval.high) == pytest.approx(expected)
    assert mean.seeds == (1, 2, 3)
    assert "m 0.6300 ± 0.0745" in lines(compared)[0]


def test_a_seed_that_runs_again_is_no_further_seed():
    runs = [made_run(name, {"m": answers(0.5, 30, 1)}, seed=1) for name in ("a", "b")]
    compared = compare_runs(runs, Asked())
    assert compared.means == ()
    assert compared.comparisons[0].effect == 0.0


def test_other_settings_are_other_arms_and_meet_seed_by_seed():
    base = [made_run(f"b{s}", {"m": answers(0.5, 200, s)}, seed=s) for s in (1, 2, 3)]
    more = {"config": {"size": 2}}
    big = [made_run(f"a{s}", {"m": answers(0.7, 200, 10 + s)}, seed=s, **more) for s in (1, 2, 3)]
    compared = compare_runs([*base, *big], Asked())
    (found,) = compared.comparisons
    assert (found.seeds, found.n) == (3, 600)
    values = [np.mean(answers(0.7, 200, 10 + s)) - np.mean(answers(0.5, 200, s)) for s in (1, 2, 3)]
    assert found.effect == pytest.approx(np.mean(values))
    assert len(compared.means) == 2


def test_all_arms_stand_in_one_table_with_their_controls():
    a = made_run("a", {"trained": answers(0.7, 60, 1), "untrained": answers(0.5, 60, 2)})
    b = made_run("b", {"trained": answers(0.8, 60, 3)}, dev=True)
    text = tables([a, b])
    assert len([line for line in text if line.startswith("accuracy")]) == 1
    assert [line.split()[0] + line.split()[1] for line in text[1:]] == [
        "toy/b:trained", "toy/a:trained", "toy/a:untrained",
    ]  # fmt: skip
    assert "control" in text[-1]
    assert "dev" in text[1]


def test_a_metric_without_items_names_those_that_have_some():
    run = made_run("a", {"m": answers(0.5, 30, 1)})
    with pytest.raises(ValueError, match="has no items of 'acuracy'; nearest: accuracy"):
        compare_runs([run, run], Asked(metric="acuracy"))
    bare = create_run("toy", "bare", config={"seed": 1}, manifest={"created": 1.0}, unique=False)
    with pytest.raises(ValueError, match="toy/bare has no items"):
        compare_runs([bare, run], Asked())


def test_items_without_a_record_have_no_protocol():
    run = made_run("a", {"m": answers(0.5, 30, 1)})
    run.results().replace("evaluate", [])
    with pytest.raises(ValueError, match="no record that says under which protocol"):
        compare_runs([run, run], Asked())


def test_the_perplexitys_record_speaks_for_its_items():
    """Per-token numbers of two tokenizers differ in protocol; the NLL per word is compared."""

    def run(name: str, tokenizer: str, shift: float) -> Run:
        made = made_run(name, {"m": [3.0 + shift, 4.0, 5.0, 4.5]}, metric="nll_per_word")
        records = [
            make_record(run=made.reference, arm="m", at={"split": "test"}, metric=metric, **more)
            for metric, more in (
                ("word_perplexity", {"protocol": {"window": 8}}),
                ("token_perplexity", {"protocol": {"tokenizer": tokenizer}}),
            )
        ]
        made.results().replace("evaluate", records)
        return made

    found = only([run("a", "one", 0.0), run("b", "two", 0.4)])
    assert found.effect == pytest.approx(0.1)
    assert found.better == "lower"


def test_an_arm_that_two_parts_have_is_two_arms():
    run = made_run("a", {"trained": answers(0.7, 40, 1)})
    for part, share in (("sft", 0.5), ("dpo", 0.9)):
        other = made_run(part, {"trained": answers(share, 40, 2)})
        items = [
            Item(**{**row, "part": part, "at": {"split": "test"}, "error": None})
            for row in read_items(other.results().items_path("accuracy")).to_dict("records")
        ]
        write_items(run.results().items_path(part), items)
        records = [replace(one, part=part) for one in other.results().records()]
        run.results().replace(part, [*records, *run.results().records()])
    run.results().items_path("accuracy").unlink()
    found = only([run], baseline="sft: trained")
    assert (found.arm, found.n) == ("toy/a: dpo: trained", 40)
    assert found.effect > 0.2
