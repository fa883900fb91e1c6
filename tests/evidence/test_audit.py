"""The audit on gate files that it has never seen."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from lmlab.evidence.gates.audit import Audit, audit_file, audit_gate, audit_lines
from lmlab.evidence.gates.grammar import Gate, load_gates
from lmlab.evidence.gates.selection import Measured

DISTINCT = Measured(
    arms=frozenset({"new", "old"}),
    weights={"new": frozenset({"a"}), "old": frozenset({"b"})},
)


def gate(**changes) -> Gate:
    """A sound non-inferiority gate on shares; the changes replace its fields."""
    values = {
        "id": "one",
        "claim": "The new arm is no worse.",
        "metric": "accuracy",
        "better": "higher",
        "arm": "new",
        "baseline": "old",
        "test": {"kind": "noninferior", "margin": 0.05},
        "planned": {"items": 200, "discordant": 0.05},
        "range": {"data": {"baseline": 0.5}},
    }
    return Gate.model_validate(values | changes)


def verdict(known: Measured | None = DISTINCT, **changes) -> str:
    return audit_gate(gate(**changes), known=known).verdict


def alone(test: dict, **changes) -> Gate:
    """A gate of one arm beside its control, judged on records."""
    return gate(test=test, baseline=None, controls=("old",), unit="record", planned=None, **changes)


def finding(audit: Audit, check: str):
    return next(one for one in audit.findings if one.check == check)


def test_a_sound_gate_is_sound():
    assert verdict() == "sound"


@pytest.mark.parametrize(
    ("test", "lowest", "highest", "expected"),
    [
        ({"kind": "superior", "margin": 0.3}, "-1", "0.29", "unattainable"),
        ({"kind": "superior", "margin": 0.3}, "0.3", "1", "cannot_fail"),
        ({"kind": "superior", "margin": 0.3}, "-1", "0.3", "not_audited"),
        ({"kind": "superior"}, "-1", "0", "unattainable"),
        ({"kind": "superior"}, "0", "0", "unattainable"),
        ({"kind": "noninferior", "margin": 0.1}, "-0.09", "1", "cannot_fail"),
        ({"kind": "noninferior", "margin": 0.1}, "-0.1", "1", "not_audited"),
        ({"kind": "noninferior", "margin": 0.1}, "-1", "-0.1", "unattainable"),
        ({"kind": "equivalent", "margin": 0.1}, "-0.09", "0.09", "cannot_fail"),
        ({"kind": "equivalent", "margin": 0.1}, "0.1", "1", "unattainable"),
        ({"kind": "equivalent", "margin": 0.1}, "-1", "-0.1", "unattainable"),
        ({"kind": "equivalent", "margin": 0.1}, "-0.2", "0.05", "not_audited"),
        ({"kind": "threshold", "at_least": 5}, "0", "4.9", "unattainable"),
        ({"kind": "threshold", "at_least": 5}, "5", "9", "cannot_fail"),
        ({"kind": "threshold", "at_most": 5}, "5.1", "9", "unattainable"),
        ({"kind": "threshold", "at_most": 5}, "0", "5", "cannot_fail"),
        ({"kind": "bounded", "along": "length", "tolerance": 0.1}, "0.2", "9", "unattainable"),
        ({"kind": "bounded", "along": "length", "tolerance": 0.1}, "0", "0.1", "cannot_fail"),
        ({"kind": "flat", "along": "length", "tolerance": 1}, "1", "2", "unattainable"),
        ({"kind": "flat", "along": "length", "tolerance": 1}, "-0.5", "0.5", "cannot_fail"),
        ({"kind": "trend", "along": "n", "direction": "increasing"}, "-1", "0", "unattainable"),
    ],
)
def test_a_range_says_whether_a_gate_can_be_met_and_can_fail(test, lowest, highest, expected):
    ends = {"lowest": lowest, "highest": highest}
    audit = audit_gate(gate(test=test, planned=None, range=ends, unit="record"))
    assert audit.verdict == expected
    reach = {one.verdict for one in audit.findings if one.check in ("attainable", "able_to_fail")}
    assert ("sound" in reach and len(reach) == 1) == (expected == "not_audited")


def test_one_end_of_a_range_is_enough_to_condemn_but_not_to_acquit():
    test = {"kind": "superior", "margin": 0.3}
    assert verdict(test=test, planned=None, range={"highest": "0.1"}) == "unattainable"
    audit = audit_gate(gate(test=test, planned=None, range={"highest": "0.9"}), known=DISTINCT)
    assert finding(audit, "attainable").verdict == "sound"
    assert finding(audit, "able_to_fail").verdict == "not_audited"


def test_the_best_arm_there_can_be_decides_once_the_baseline_is_measured():
    asked = {
        "test": {"kind": "superior", "margin": 0.3},
        "planned": {"items": 2000, "discordant": 0.55, "effect": 0.5},
        "range": None,
    }
    before = audit_gate(gate(**asked))
    assert finding(before, "attainable").figures["baseline_to"] == pytest.approx(0.7)
    for baseline, expected in ((0.69, "sound"), (0.7, "sound"), (0.72, "unattainable")):
        known = dataclasses.replace(DISTINCT, baseline=baseline)
        assert finding(audit_gate(gate(**asked), known=known), "attainable").verdict == expected


def test_where_lower_is_better_the_best_arm_is_at_the_low_end():
    asked = {
        "better": "lower",
        "test": {"kind": "superior", "margin": 0.5},
        "planned": None,
        "range": {"data": {"bounds": (0, 10), "baseline": 0.4}},
    }
    assert verdict(**asked) == "unattainable"
    asked["range"] = {"data": {"bounds": (0, 10), "baseline": 9.8}}
    assert finding(audit_gate(gate(**asked)), "attainable").verdict == "sound"


def test_the_worst_arm_there_can_be_passes_where_the_baseline_is_at_the_floor():
    assert verdict(range={"data": {"baseline": 0.04}}) == "cannot_fail"
    assert verdict(known=dataclasses.replace(DISTINCT, baseline=0.04)) == "cannot_fail"


def test_too_few_items_for_even_the_best_arm_are_told_by_simulation():
    """At n=10 a perfect arm against .5 has 5 wins of 10 on average; the 5 % bound is then .3."""
    asked = {"test": {"kind": "superior", "margin": 0.3}, "range": {"data": {"baseline": 0.5}}}
    planned = {"discordant": 0.55, "effect": 0.5}
    few = audit_gate(gate(**asked, planned=planned | {"items": 10}), known=DISTINCT)
    many = audit_gate(gate(**asked, planned=planned | {"items": 500}), known=DISTINCT)
    assert finding(few, "best_arm").verdict == "underpowered"
    assert finding(many, "best_arm").verdict == "sound"
    assert finding(many, "best_arm").figures["worst_passes"] == 0


def test_measured_values_replace_expected_ones_in_an_expression():
    ends = {"lowest": "-baseline", "highest": "1 - baseline", "data": {"baseline": 0.1}}
    asked = {"test": {"kind": "superior", "margin": 0.3}, "planned": None, "range": ends}
    assert finding(audit_gate(gate(**asked)), "attainable").verdict == "sound"
    known = dataclasses.replace(DISTINCT, baseline=0.9)
    assert audit_gate(gate(**asked), known=known).verdict == "unattainable"


def test_a_range_over_what_is_not_measured_yet_is_not_audited_and_a_slip_is_an_error():
    ends = {"lowest": "-arm", "highest": "arm / 2"}
    assert finding(audit_gate(gate(range=ends)), "range").verdict == "not_audited"
    with pytest.raises(ValueError, match=r"gate one: .*basline"):
        audit_gate(gate(range={"highest": "1 - basline"}))
    with pytest.raises(ValueError, match=r"gate one: .*2 numbers"):
        audit_gate(gate(range={"highest": "x", "data": {"x": (1, 2)}}))
    with pytest.raises(ValueError, match=r"gate one: .*below its beginning"):
        audit_gate(gate(range={"lowest": "1", "highest": "0"}))


def test_existence_cannot_fail_unless_it_asks_for_an_amount():
    exists = {"test": {"kind": "exists"}, "baseline": None, "planned": None}
    assert verdict(**exists) == "cannot_fail"
    assert verdict(**exists, min_n=50) == "sound"
    exists["planned"] = {"items": 10}
    assert verdict(**exists, min_n=50) == "underpowered"


@pytest.mark.parametrize(("discordant", "items"), [(0.02, 1237), (0.05, 3091), (0.1, 6183)])
def test_one_point_of_non_inferiority_takes_thousands_of_items(discordant, items):
    """(1.645 + .842)² d / .01², as in the guide's audit."""
    asked = {"test": {"kind": "noninferior", "margin": 0.01}}
    planned = {"items": items - 100, "discordant": discordant}
    audit = audit_gate(gate(**asked, planned=planned), known=DISTINCT)
    assert audit.verdict == "underpowered"
    assert audit.figures["items.items_needed"] == pytest.approx(items, abs=1.5)
    planned["items"] = items + 100
    assert verdict(**asked, planned=planned) == "sound"


def test_measured_items_and_discordance_replace_the_planned_ones():
    known = dataclasses.replace(
        DISTINCT, n=100, deviation=0.5, discordant=0.25, baseline=0.5, better="higher"
    )
    audit = audit_gate(gate(), known=known)
    assert audit.verdict == "underpowered"
    assert audit.figures["items.items"] == 100
    assert audit.figures["items.items_needed"] == pytest.approx(6.1826 * 0.25 / 0.05**2, abs=1.5)


@pytest.mark.parametrize(
    ("seeds", "smallest", "expected"),
    [(3, 0.25, "underpowered"), (5, 0.0625, "underpowered"), (6, 0.03125, "sound")],
)
def test_a_test_over_seeds_needs_six_of_them(seeds, smallest, expected):
    audit = audit_gate(gate(unit="seed", planned={"seeds": seeds, "discordant": 0.05}))
    assert finding(audit, "seeds").verdict == expected
    assert audit.figures["seeds.smallest_p"] == smallest
    assert audit.figures["seeds.seeds_needed"] == 6


def test_a_full_cell_of_ten_items_shows_little():
    """The exact bounds of 10 of 10 and 0 of 10 are .025 ** .1 and 1 minus it."""
    share = {"data": {"bounds": (0, 1)}}
    full = {"test": {"kind": "threshold", "at_least": 0.9}, "range": share, "baseline": None}
    audit = audit_gate(gate(**full, planned={"items": 10}))
    assert audit.figures["best_arm.perfect_bound"] == pytest.approx(0.025**0.1)
    assert audit.verdict == "underpowered"
    empty = full | {"test": {"kind": "threshold", "at_most": 0.1}}
    audit = audit_gate(gate(**empty, planned={"items": 10}))
    assert audit.figures["best_arm.perfect_bound"] == pytest.approx(1 - 0.025**0.1)
    enough = audit_gate(gate(**full, planned={"items": 50}))
    assert finding(enough, "best_arm").verdict == "sound"


def test_points_along_a_condition_are_counted():
    lengths = {"select": {"length": (1, 2, 3)}}
    trend = {"kind": "trend", "along": "length", "direction": "decreasing"}
    assert audit_gate(alone(trend, **lengths)).verdict == "underpowered"
    peaks = {"kind": "no_oscillation", "along": "length", "planted": 0.1}
    audit = audit_gate(alone(peaks, **lengths))
    assert audit.figures["points.points"] == 3
    assert audit.figures["points.points_needed"] == 64


def test_controls_are_named_before_and_measured_after():
    assert finding(audit_gate(gate(controls=("untrained",))), "controls").verdict == "sound"
    assert verdict(controls=("untrained",)) == "not_audited"
    there = dataclasses.replace(DISTINCT, arms=frozenset({"new", "old", "untrained"}))
    assert verdict(there, controls=("untrained",)) == "sound"
    lonely = gate(test={"kind": "threshold", "at_least": 0.1}, baseline=None)
    assert finding(audit_gate(lonely), "controls").verdict == "not_audited"


def test_two_arms_that_are_the_same_cannot_be_compared():
    def arms(**known) -> str:
        return finding(audit_gate(gate(), known=Measured(**known)), "arms").verdict

    same, other = frozenset({"a"}), frozenset({"b"})
    assert verdict(baseline="new") == "unattainable"
    assert arms(probe={"new": {"logits_sha256": "1"}, "old": {"logits_sha256": "1"}}) == (
        "unattainable"
    )
    assert arms(
        probe={"new": {"logits_sha256": "1"}, "old": {"logits_sha256": "2"}},
        weights={"new": same, "old": same},
    ) == ("sound")
    assert arms(weights={"new": same, "old": same}) == "unattainable"
    assert arms(weights={"new": same, "old": same}, deviation=0.0, n=9) == "unattainable"
    assert arms(weights={"new": same, "old": same}, deviation=0.4, n=9) == "sound"
    assert arms(weights={"new": same, "old": same}, arm=0.9, baseline=0.5, n=1) == "sound"
    assert arms(weights={"new": same, "old": same}, arm=0.5, baseline=0.5, n=1) == "unattainable"
    assert arms(weights={"new": same, "old": other}) == "sound"
    assert arms(weights={"new": same}, weightless=frozenset({"old"})) == "sound"
    assert arms(weights={"new": same}) == "not_audited"
    assert finding(audit_gate(gate()), "arms").verdict == "not_audited"


def test_two_arms_of_a_ranking_that_are_the_same_are_found():
    asked = {"test": {"kind": "ranking", "order": ("x", "y", "z")}, "arm": None, "baseline": None}
    probe = {arm: {"logits_sha256": sha} for arm, sha in (("x", "1"), ("y", "2"), ("z", "1"))}
    audit = audit_gate(gate(**asked, range=None, planned=None), known=Measured(probe=probe))
    assert audit.verdict == "unattainable"
    assert "x and z" in audit.reason


def test_a_gate_that_cannot_be_run_here_is_not_audited():
    audit = audit_gate(gate(not_run="no such machine", range={"highest": "0"}))
    assert (audit.verdict, audit.reason) == ("not_audited", "no such machine")


def test_a_file_that_nobody_has_seen_is_audited_from_its_path(tmp_path: Path):
    """A bench of solar cells: no more light than there is, and an efficiency below the limit."""
    path = tmp_path / "solar.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "study": "solar",
                "question": "Which cell?",
                "gates": [
                    {
                        "id": "beyond_the_limit",
                        "claim": "The new cell turns half of the light into power.",
                        "metric": "efficiency",
                        "arm": "cell",
                        "controls": ["dark"],
                        "unit": "record",
                        "test": {"kind": "threshold", "at_least": 0.5},
                        "range": {
                            "lowest": "0",
                            "highest": "max(gap * flux) / sum(flux)",
                            "data": {"gap": [0.1, 0.9, 0.6], "flux": [1, 2, 3]},
                        },
                    }
                ],
            }
        )
    )
    file = load_gates(str(path))
    audits = audit_file(file)
    # 0.6 * 3 of 6
    assert audits[0].verdict == "unattainable"
    assert audits[0].figures["attainable.highest"] == pytest.approx(0.3)
    lines = audit_lines(file, audits)
    assert lines[0].split() == ["unattainable", "beyond_the_limit:", *file.gates[0].claim.split()]
    assert lines[-1] == "1 unattainable"
