"""The audit on the π-Spiral guide's own gates."""

import pytest

from lmlab.evidence.gates.audit import Audit, audit_file, audit_gate
from lmlab.evidence.gates.grammar import GateFile, load_gates
from lmlab.evidence.gates.selection import Measured

# What the guide's own gates come to (A15).
UNATTAINABLE = {
    "p2_flat_memory_full_attention",
    "p7_periodic_artefacts",
    "p7_flat_spectrum",
    "p7_flat_spectrum_prng",
}
CANNOT_FAIL = {
    "p0_installs",
    "p1_constant_state",
    "p2_hybrid_4k",
    "p2_hybrid_8k",
    "p2_flat_memory_window",
    "p3_flat_memory",
}
UNDERPOWERED = {
    "p2_hybrid_16k",
    "p2_hybrid_32k",
    "p2_pi_spiral",
    "p3_deep_niah",
    "p3_cell",
    "p3_no_needle",
    "p3_no_oscillation",
    "p6_ranking",
    "p6_pi_beats_prng",
    "p6_pi_equals_prng_phase",
    "p6_pi_equals_prng_freq",
    "p6_attractor",
    "p6_decay",
    "p6_hybrid_k",
    "p8_three_seeds",
}


@pytest.fixture(scope="module")
def guide() -> GateFile:
    return load_gates("pispiral_guide")


@pytest.fixture(scope="module")
def audits(guide: GateFile) -> dict[str, Audit]:
    return {one.gate: one for one in audit_file(guide)}


def test_the_guides_gates_have_these_verdicts(guide, audits):
    def having(wanted: str) -> set[str]:
        return {name for name, audit in audits.items() if audit.verdict == wanted}

    assert having("unattainable") == UNATTAINABLE
    assert having("cannot_fail") == CANNOT_FAIL
    assert having("underpowered") == UNDERPOWERED
    assert not having("sound")
    phases = {gate.phase for gate in guide.gates}
    assert phases == {str(phase) for phase in range(10)}


@pytest.mark.parametrize(
    ("name", "figure", "value"),
    [
        ("p7_flat_spectrum", "attainable.highest", 7.7e-5),
        # against the .56 of random phases
        ("p7_flat_spectrum_prng", "attainable.highest", 7.7e-5 - 0.5615),
        ("p7_periodic_artefacts", "attainable.lowest", -4522),
        ("p2_hybrid_16k", "items.items_needed", 3091),
        ("p6_pi_beats_prng", "seeds.smallest_p", 0.25),
        ("p8_three_seeds", "seeds.seeds_needed", 6),
        ("p3_deep_niah", "items.items_needed", 47),
        ("p3_deep_niah", "attainable.baseline_to", 0.7),
        ("p3_cell", "best_arm.perfect_bound", 0.69),
        ("p3_no_needle", "best_arm.perfect_bound", 0.31),
        ("p3_no_oscillation", "points.points", 6),
        ("p2_flat_memory_full_attention", "attainable.lowest", 14.625),
        ("p2_flat_memory_window", "able_to_fail.highest", 0),
        ("p2_hybrid_8k", "able_to_fail.lowest", -3.35e-4),
    ],
)
def test_the_guides_gates_have_these_figures(audits, name, figure, value):
    assert audits[name].figures[figure] == pytest.approx(value, rel=0.005)


def test_hybrid_is_rope_by_construction_up_to_12k(guide):
    """Its blend is sigmoid((12000 - 16000) / 1000) there, just below .018."""
    gate = next(one for one in guide.gates if one.id == "p2_hybrid_8k")
    further = gate.range.model_copy(update={"data": gate.range.data | {"length": 12000}})
    audit = audit_gate(gate.model_copy(update={"range": further}))
    assert 0.0179 < audit.figures["able_to_fail.highest"] < 0.018


def test_thirty_points_over_rope_are_unattainable_above_seventy(guide):
    gate = next(one for one in guide.gates if one.id == "p3_deep_niah")
    for baseline, expected in ((0.65, False), (0.71, True)):
        audit = audit_gate(gate, known=Measured(baseline=baseline))
        assert (audit.verdict == "unattainable") is expected


def test_forty_points_of_gain_take_four_times_the_items_of_fifty(guide):
    gate = next(one for one in guide.gates if one.id == "p3_deep_niah")
    planned = gate.planned.model_copy(update={"effect": 0.4, "discordant": 0.45})
    audit = audit_gate(gate.model_copy(update={"planned": planned}))
    assert audit.figures["items.items_needed"] == pytest.approx(180, rel=0.005)


def test_no_verdict_and_no_figure_is_written_in_the_guides_file(guide):
    words = {"unattainable", "cannot_fail", "cannot fail", "underpowered", "impossible"}
    for gate in guide.gates:
        said = f"{gate.claim} {gate.note}".lower()
        assert not any(word in said for word in words), gate.id
        assert not any(figure in said for figure in ("7.7e-5", ".56", "3,091", ".25", "14.6"))
