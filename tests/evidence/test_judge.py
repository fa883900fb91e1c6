"""Verdicts on planted effects: what holds passes, what does not fails, the rest stays open."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_study import answers, judge, pair, plant_run, plant_seeds, verdict
from sample_records import make_record
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from lmlab.engine.run import Run


def test_superiority_passes_fails_or_stays_open(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, arms=answers(40, 10, 200, both=100))]
    assert verdict(runs, pair("superior")) == "pass"
    # The gain is .15 [.09, .21].
    assert verdict(runs, pair("superior", 0.12)) == "not_enough_evidence"
    assert verdict(runs, pair("superior", 0.3)) == "fail"


def test_noninferiority_and_superiority_are_told_apart(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, arms=answers(5, 6, 400, both=300))]
    assert verdict(runs, pair("noninferior", 0.05)) == "pass"
    assert verdict(runs, pair("superior")) == "not_enough_evidence"
    worse = [plant_run(tmp_path, "worse", arms=answers(5, 60, 400, both=300))]
    assert verdict(worse, pair("noninferior", 0.05)) == "fail"


def test_equivalence_asks_for_both_sides(tmp_path: Path) -> None:
    equal = [plant_run(tmp_path, arms=answers(10, 10, 1000, both=600))]
    better = [plant_run(tmp_path, "better", arms=answers(80, 0, 1000, both=600))]
    assert verdict(equal, pair("equivalent", 0.02)) == "pass"
    assert verdict(better, pair("equivalent", 0.02)) == "fail"
    assert verdict(equal, pair("equivalent", 0.005)) == "not_enough_evidence"


def test_where_lower_is_better_the_arm_with_less_wins(tmp_path: Path) -> None:
    low, high = [1.0 + 0.01 * i for i in range(40)], [2.0 + 0.02 * i for i in range(40)]
    runs = [plant_run(tmp_path, arms={"arm": low, "base": high}, better="lower", metric="nll")]
    found = judge(runs, pair("superior", metric="nll"))[0]
    assert (found.verdict, found.n, found.seeds) == ("pass", 40, 1)
    assert found.estimate == pytest.approx(np.mean(high) - np.mean(low))


def test_values_count_by_their_weights(tmp_path: Path) -> None:
    values = {"arm": [10.0, 1.0, 3.0, 2.5], "base": [12.0, 4.0, 3.5, 3.0]}
    run = plant_run(tmp_path, arms=values, weights=[5.0, 1.0, 2.0, 2.0], metric="nll")
    found = judge([run], pair("superior", metric="nll", better="higher"))[0]
    assert found.estimate == pytest.approx((16.5 - 22.5) / 10)


def test_items_of_one_cluster_are_not_independent(tmp_path: Path) -> None:
    # Ten clusters whose gain is their own: .27 at a deviation of .9, clear only over 1,000 items.
    gain = np.repeat([1.5, -1.0, 1.2, -0.8, 1.0, -0.6, 0.9, -0.5, 0.8, 0.2], 100)
    base = np.random.default_rng(0).normal(size=1000)
    values = {"arm": (base + gain).tolist(), "base": base.tolist()}
    clusters = [str(number // 100) for number in range(1000)]
    alone = plant_run(tmp_path, "alone", arms=values, metric="score")
    shared = plant_run(tmp_path, "shared", arms=values, metric="score", clusters=clusters)
    gate = pair("superior", metric="score")
    assert verdict([alone], gate) == "pass"
    assert verdict([shared], gate) == "not_enough_evidence"


def test_fewer_than_six_seeds_say_nothing_about_seeds(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    runs = plant_seeds(tmp_path, seeds=6, items=20, effect=2.0, generator=generator)
    for unit in ("seed", "seed_x_item"):
        gate = pair("superior", metric="score", unit=unit)
        few = judge(runs[:3], gate)[0]
        assert (few.verdict, few.p) == ("not_enough_evidence", None)
        assert "p = 0.25 at the least" in few.reason
        assert verdict(runs, gate) == "pass"
    by_item = judge(runs[:3], pair("superior", metric="score"))[0]
    assert (by_item.verdict, by_item.n, by_item.seeds) == ("pass", 60, 3)


def test_the_seed_level_p_is_that_of_all_sign_flips(tmp_path: Path) -> None:
    runs = plant_seeds(tmp_path, seeds=7, items=5, effect=3.0, generator=np.random.default_rng(2))
    assert judge(runs, pair("superior", metric="score", unit="seed"))[0].p == 1 / 2**7


def test_thresholds_hold_the_interval_against_the_number(tmp_path: Path) -> None:
    perfect = [plant_run(tmp_path, arms={"arm": [1.0] * 10})]
    least = [
        {"test": {"kind": "threshold", "at_least": number}, "arm": "arm"} for number in (0.69, 0.7)
    ]
    # 10 of 10 has an exact lower bound of .6915: 2.5 % to the power of a tenth.
    assert judge(perfect, least[0])[0].interval == (pytest.approx(0.025**0.1), 1.0)
    assert [verdict(perfect, gate) for gate in least] == ["pass", "not_enough_evidence"]
    at_most = {"test": {"kind": "threshold", "at_most": 0.5}, "arm": "arm"}
    assert verdict(perfect, at_most) == "fail"


def test_holm_over_the_file_is_statsmodels(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, arms=answers(18, 7, 100, both=60))]
    margins = (0.0, 0.02, 0.04, 0.1)
    alone = [judge(runs, pair("superior", margin))[0] for margin in margins]
    family = judge(runs, *(pair("superior", margin) for margin in margins))
    p = [one.p for one in alone if one.p is not None]
    assert [one.p for one in family] == p
    reject, expected, *_ = multipletests(p, method="holm")
    assert [one.p_corrected for one in family] == pytest.approx(np.asarray(expected).tolist())
    assert not any(reject)
    # Passes alone, and not among four.
    assert (alone[0].verdict, family[0].verdict) == ("pass", "not_enough_evidence")
    assert "after Holm" in family[0].reason


def test_too_few_items_are_no_pass(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, arms=answers(40, 10, 200, both=100))]
    found = judge(runs, pair("superior", min_n=500), pair("superior", min_seeds=2))
    assert [one.verdict for one in found] == ["not_enough_evidence"] * 2
    assert "200 were measured, 500 are needed" in found[0].reason


def test_failed_items_are_counted_and_never_wrong_answers(tmp_path: Path) -> None:
    values = answers(40, 10, 200, both=100)
    broken = {"arm": [*values["arm"], *[None] * 50], "base": [*values["base"], *[1.0] * 50]}
    found = judge([plant_run(tmp_path, arms=broken)], pair("superior"))[0]
    assert (found.verdict, found.n) == ("pass", 200)
    assert found.estimate == pytest.approx(0.15)
    assert "50 items of arm failed" in found.reason


def test_an_item_may_fail_with_one_seed_and_not_with_another(tmp_path: Path) -> None:
    generator, runs = np.random.default_rng(9), []
    for seed in range(6):
        base: list[float | None] = generator.normal(size=20).tolist()
        arm = [None if value is None else value + 2 + 0.1 * generator.normal() for value in base]
        base[3] = None if seed == 0 else base[3]
        name = f"seed_{seed}"
        runs.append(plant_run(tmp_path, name, arms={"arm": arm, "base": base}, seed=seed))
    found = judge(runs, pair("superior", 1.5, unit="seed_x_item"))[0]
    assert (found.verdict, found.n, found.seeds) == ("pass", 119, 6)


def test_a_gate_whose_items_all_failed_is_not_run(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms={"arm": [1.0, None], "base": [None, 1.0]})
    found = judge([run], pair("superior"))[0]
    assert (found.verdict, "no item of arm" in found.reason) == ("not_run", True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([100.0, 101.0, 100.5], "pass"), ([100.0, 150.0, 100.0], "fail")],
)
def test_bounded_over_exact_records(tmp_path: Path, values: list[float], expected: str) -> None:
    run = records_along(tmp_path, values, interval_method="exact")
    gate = {"test": {"kind": "bounded", "along": "length", "tolerance": 0.02}, "unit": "record"}
    found = judge([run], gate | {"arm": "arm", "metric": "bytes"})[0]
    assert found.verdict == expected
    assert found.estimate == pytest.approx(max(values) / min(values) - 1)


def test_records_without_an_interval_decide_nothing(tmp_path: Path) -> None:
    run = records_along(tmp_path, [100.0, 101.0])
    gate = {"arm": "arm", "metric": "bytes", "unit": "record"}
    bounded = {"test": {"kind": "bounded", "along": "length", "tolerance": 0.5}} | gate
    threshold = {"test": {"kind": "threshold", "at_most": 1e6}} | gate
    found = judge([run], bounded, threshold)
    assert [one.verdict for one in found] == ["not_enough_evidence"] * 2


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"kind": "trend", "direction": "decreasing"}, "pass"),
        ({"kind": "trend", "direction": "increasing"}, "fail"),
        ({"kind": "flat", "tolerance": 0.1}, "fail"),
        ({"kind": "flat", "tolerance": 5.0}, "pass"),
    ],
)
def test_trend_and_flatness_along_a_condition(
    tmp_path: Path, test: dict[str, Any], expected: str
) -> None:
    run = records_along(tmp_path, [9.0, 8.1, 7.0, 6.2, 4.9, 4.1, 3.0], interval_method="exact")
    gate = {"test": test | {"along": "length"}, "arm": "arm", "metric": "bytes", "unit": "record"}
    assert verdict([run], gate) == expected


def test_a_step_back_breaks_a_trend(tmp_path: Path) -> None:
    run = records_along(tmp_path, [9.0, 8.0, 7.0, 6.0, 5.0, 5.5, 4.0], interval_method="exact")
    test = {"kind": "trend", "along": "length", "direction": "decreasing"}
    gate = {"test": test, "arm": "arm", "metric": "bytes", "unit": "record"}
    found = judge([run], gate)[0]
    assert (found.verdict, found.p is not None and found.p < 0.01) == ("fail", True)
    assert "from length 5.000 to 6.000 it turns back" in found.reason


@pytest.mark.parametrize(
    ("amplitude", "noise", "expected"),
    [(0.0, 0.02, "pass"), (0.3, 0.1, "fail"), (0.0, 1.0, "not_enough_evidence")],
)
def test_no_oscillation_needs_a_planted_one_found(
    tmp_path: Path, amplitude: float, noise: float, expected: str
) -> None:
    x, generator = np.arange(64), np.random.default_rng(3)
    curve = 5 - 0.01 * x + amplitude * np.sin(2 * np.pi * x / 8) + noise * generator.normal(size=64)
    run = records_along(tmp_path, curve.tolist())
    test = {"kind": "no_oscillation", "along": "length", "planted": 0.1}
    gate = {"test": test, "arm": "arm", "metric": "bytes", "unit": "record"}
    assert verdict([run], gate) == expected


def test_curves_over_items_and_seeds(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    runs = []
    for seed in range(6):
        for length in (64, 128, 256, 512, 1024):
            share = 0.95 - length / 2048
            right = (generator.random(80) < share).astype(float)
            name, at = f"seed_{seed}", {"length": length}
            run = plant_run(tmp_path, name, arms={"arm": right.tolist()}, seed=seed, at=at)
        runs.append(run)
    down = {"test": {"kind": "trend", "along": "length", "direction": "decreasing"}, "arm": "arm"}
    even = {"test": {"kind": "bounded", "along": "length", "tolerance": 0.1}, "arm": "arm"}
    for unit in ("item", "seed"):
        found = judge(runs, down | {"unit": unit}, even | {"unit": unit})
        assert [one.verdict for one in found] == ["pass", "fail"]
        assert (found[0].n, found[0].seeds) == (2400, 6)


@pytest.mark.parametrize(("better", "expected"), [("higher", "pass"), ("lower", "fail")])
def test_records_are_compared_by_their_own_intervals(
    tmp_path: Path, better: str, expected: str
) -> None:
    run = Run(tmp_path, "toy", "speed")
    run.folder.mkdir(parents=True)
    base = {"run": run.reference, "metric": "tokens_per_second", "better": better}
    ends = {"arm": (95.0, 105.0), "base": (70.0, 80.0)}
    records = [
        make_record(
            **(base | {"arm": arm, "value": sum(found) / 2, "interval": found}),
            weights={"model": arm},
        )
        for arm, found in ends.items()
    ]
    run.results().replace("evaluate", records)
    found = judge([run], pair("superior", 10.0, metric="tokens_per_second", unit="record"))[0]
    assert found.verdict == expected
    signed = (15.0, 35.0) if better == "higher" else (-35.0, -15.0)
    assert found.interval == signed


def test_a_ranking_needs_every_step(tmp_path: Path) -> None:
    arms = {
        "first": [1.0] * 90 + [0.0] * 10,
        "second": [1.0] * 60 + [0.0] * 40,
        "third": [1.0] * 59 + [0.0] * 41,
    }
    runs = [plant_run(tmp_path, arms=arms)]

    def ranked(*order: str) -> str:
        return verdict(runs, {"test": {"kind": "ranking", "order": order}})

    assert ranked("first", "second") == "pass"
    assert ranked("first", "second", "third") == "not_enough_evidence"
    assert ranked("second", "first", "third") == "fail"


def test_what_exists_passes_whatever_its_value(tmp_path: Path) -> None:
    for length in (128, 256):
        runs = [plant_run(tmp_path, arms={"arm": [0.0, 0.0]}, at={"length": length})]
    gate = {"test": {"kind": "exists"}, "arm": "arm", "min_n": 2}
    assert verdict(runs, gate) == "pass"
    assert verdict(runs, gate | {"min_n": 3}) == "not_enough_evidence"
    assert verdict(runs, gate | {"metric": "nothing"}) == "not_run"


def test_dev_numbers_decide_nothing(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=answers(40, 10, 200), record={"dev": True})
    found = judge([run], pair("superior"))[0]
    assert (found.verdict, found.reason[:3]) == ("not_run", "dev")


def test_generated_and_imported_rows_are_marked(tmp_path: Path) -> None:
    changes = {"data_kind": "generated", "imported": True, "weights": {}}
    run = plant_run(tmp_path, arms=answers(40, 10, 200), record=changes)
    found = judge([run], pair("superior"))[0]
    assert (found.verdict, found.marks) == ("pass", ("generated", "imported", "weights unknown"))


def test_equal_arms_are_never_a_pass(tmp_path: Path) -> None:
    same = {"model": "ab" * 32}
    values = [1.0, 0.0] * 100
    run = plant_run(tmp_path, arms={"arm": values, "base": values}, record={"weights": same})
    found = judge([run], pair("noninferior", 0.1))[0]
    assert (found.verdict, found.audit) == ("not_run", "unattainable")


def test_a_probe_that_finds_arms_equal_stops_the_gate(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=answers(40, 10, 200, both=50))
    probe = {arm: {"logits_sha256": "ab", "trainable": []} for arm in ("arm", "base")}
    (run.folder / "probe.json").write_text(json.dumps(probe))
    assert verdict([run], pair("superior")) == "not_run"


def test_a_gate_that_cannot_be_met_or_cannot_fail_is_never_a_pass(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=answers(40, 10, 200, both=100))
    met = {"range": {"lowest": "0.01", "highest": "1 - baseline"}}
    unmet = {"range": {"highest": "-0.1"}}
    found = judge([run], pair("superior") | met, pair("superior") | unmet)
    assert [one.verdict for one in found] == ["not_run", "not_run"]
    assert [one.audit for one in found] == ["cannot_fail", "unattainable"]


def test_judging_again_gives_the_same_numbers(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    runs = plant_seeds(tmp_path, seeds=8, items=30, effect=0.1, generator=generator)
    gates = [pair("superior", metric="score", unit=unit) for unit in ("item", "seed_x_item")]
    assert judge(runs, *gates) == judge(runs, *gates)


def test_evidence_names_records_and_files(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=answers(40, 10, 200))
    found = judge([run], pair("superior"))[0]
    assert {one.id for one in run.records()} < set(found.evidence)
    assert len(found.evidence) == 3


def test_type_one_errors_stay_nominal_and_power_is_reached(tmp_path: Path) -> None:
    """Non-inferiority by .1 on 124 items: truly at the margin, and truly equal (power .87)."""
    generator, times, arms = np.random.default_rng(7), 24, {}
    for number in range(times):
        for gains in (0.025, 0.075):
            draw = generator.random(124)
            arm, base = (draw < gains) | (draw > 0.6), draw > gains
            base &= (draw < 0.15) | (draw > 0.6)
            arms[f"arm {gains} {number}"] = arm.astype(float).tolist()
            arms[f"base {gains} {number}"] = base.astype(float).tolist()
    gates = [
        pair("noninferior", 0.1, id=f"{gains}_{number}")
        | {"arm": f"arm {gains} {number}", "baseline": f"base {gains} {number}"}
        for gains in (0.025, 0.075)
        for number in range(times)
    ]
    found = judge([plant_run(tmp_path, arms=arms)], *gates)
    alone = [one.p is not None and one.p <= 0.05 for one in found]
    assert sum(alone[:times]) <= binom.ppf(0.99, times, 0.05)
    assert sum(alone[times:]) >= binom.ppf(0.01, times, 0.87)
    # Together they are a family, in which no false claim passes.
    assert not any(one.verdict == "pass" for one in found[:times])


def records_along(tmp_path: Path, values: list[float], **changes: Any) -> Run:
    """A run with a record of `bytes` at each length 1, 2, 3 ..."""
    run = Run(tmp_path, "toy", "along")
    run.folder.mkdir(parents=True)
    run.config_path.write_text("study: toy\n")
    base = {"run": run.reference, "arm": "arm", "metric": "bytes", "interval": None}
    records = [
        make_record(**(base | {"at": {"length": number}, "value": value} | changes))
        for number, value in enumerate(values, start=1)
    ]
    run.results().replace("evaluate", records)
    return run
