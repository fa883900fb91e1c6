"""Decisions over verdicts: every sentence rests on gates, and no claim on what did not pass."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from sample_records import make_record

from lmlab.engine.presets import CONF
from lmlab.engine.run import create_run
from lmlab.evidence.gates.auditing import audit_reference
from lmlab.evidence.gates.decide import Rules, decide, decide_target, load_rules
from lmlab.evidence.gates.grammar import GateFile, load_gates
from lmlab.evidence.gates.judging import judge_reference
from lmlab.evidence.pages.judged import ShownGate

GATES = GateFile.model_validate(
    {
        "study": "toy",
        "question": "Is it better?",
        "gates": [
            {
                "id": name,
                "claim": f"{name} holds.",
                "metric": "accuracy",
                "better": "higher",
                "arm": "new",
                "baseline": "old",
                "test": {"kind": "noninferior", "margin": 0.1},
                "planned": {"discordant": 0.2},
            }
            for name in ("short_4k", "short_8k", "long")
        ],
    }
)


def judged(gate: str, verdict: str, **changes: Any) -> ShownGate:
    values: dict[str, Any] = {
        "gate": gate,
        "claim": f"{gate} holds.",
        "verdict": verdict,
        "reason": f"{gate} was measured.",
        "estimate": 0.0,
        "interval": None,
        "n": 100,
        "seeds": 1,
        "test": "paired bootstrap",
        "p": None,
        "p_corrected": None,
        "minimum_detectable_effect": None,
        "audit": "sound",
        "audit_reason": "",
        "marks": (),
        "evidence": (),
    }
    return ShownGate(**(values | changes))


def rules(when: dict[str, Any], **sentences: Any) -> Rules:
    rule = {"id": "one", "when": when, **sentences}
    return Rules.model_validate({"question": "What now?", "rules": [rule]})


def fires(when: dict[str, Any], *verdicts: ShownGate) -> bool:
    found = decide(GATES, verdicts, rules(when, actions=["Do it."]))
    return any(one.text == "Do it." for one in found.actions)


def verdicts_of(source: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    return {"gates": source.name, "gates_sha256": sha256, "judgements": rows}


ALL_PASS = tuple(judged(gate.id, "pass") for gate in GATES.gates)


def test_a_rule_holds_by_all_any_and_none():
    failed = judged("short_8k", "fail")
    assert fires({"all": {"*": "pass"}}, *ALL_PASS)
    assert not fires({"all": {"*": "pass"}}, *ALL_PASS[:1], failed, *ALL_PASS[2:])
    assert fires({"any": {"short_*": "fail"}}, failed)
    assert not fires({"any": {"short_*": "fail"}}, *ALL_PASS)
    assert fires({"none": {"short_*": ["fail", "not_run"]}}, *ALL_PASS)
    assert not fires({"none": {"short_*": ["fail", "not_run"]}}, failed, *ALL_PASS[:1])
    assert not fires({"all": {"long": "pass"}, "none": {"short_*": "fail"}}, *ALL_PASS[2:], failed)


def test_a_gate_that_was_never_judged_counts_as_not_run():
    assert not fires({"all": {"*": "pass"}}, *ALL_PASS[:2])
    assert fires({"all": {"long": "not_run"}}, *ALL_PASS[:2])


def test_a_rule_may_speak_of_the_audit():
    idle = judged("long", "not_run", audit="cannot_fail", audit_reason="it is 0 whatever")
    assert fires({"any": {"*": ["unattainable", "cannot_fail"]}}, idle)
    found = decide(GATES, [*ALL_PASS[:2], idle], None)
    assert [one.gates for one in found.concerns] == [("long",)]
    assert "it is 0 whatever" in found.concerns[0].text


def test_every_sentence_names_the_gates_that_it_rests_on():
    when = {"all": {"long": "pass"}, "any": {"short_*": "fail"}}
    tree = rules(when, actions=["Do it."], claims=[{"text": "It is so."}], concerns=["But."])
    found = decide(GATES, [judged("short_4k", "fail"), *ALL_PASS[1:]], tree)
    assert found.claims[0].gates == ("long", "short_4k")
    assert found.claims[0].sentence == "It is so. [long, short_4k]"
    for one in (*found.actions, *found.claims, *found.concerns):
        assert one.gates


def test_a_claim_about_language_needs_real_data_and_one_about_a_method_does_not():
    generated = judged("long", "pass", marks=("generated",))
    claims = [{"text": "It holds of language."}, {"text": "It works.", "about": "method"}]
    tree = rules({"all": {"long": "pass"}}, claims=claims)
    found = decide(GATES, [*ALL_PASS[:2], generated], tree)
    assert [one.text for one in found.claims] == ["It works."]
    assert any("It holds of language." in one.text for one in found.concerns)
    found = decide(GATES, ALL_PASS, tree)
    assert [one.text for one in found.claims] == ["It holds of language.", "It works."]


def test_a_claim_rests_on_a_gate_that_passed():
    """A rule over failures may not claim anything, whatever its file says."""
    tree = rules({"all": {"long": "fail"}}, claims=[{"text": "It is so."}])
    found = decide(GATES, [*ALL_PASS[:2], judged("long", "fail")], tree)
    assert found.claims == ()
    assert any("It is so." in one.text for one in found.concerns)


def test_the_undecided_are_told_how_much_more_it_takes():
    """Variance .2, margin .1: 6.1826 * .2 / .01 = 124 items; 100 that find .15 become 225."""
    undecided = judged("long", "not_enough_evidence", n=20)
    found = decide(GATES, [*ALL_PASS[:2], undecided], None)
    assert [one.gates for one in found.actions if "124 items in place of 20" in one.text] == [
        ("long",)
    ]
    measured = judged("long", "not_enough_evidence", minimum_detectable_effect=0.15)
    found = decide(GATES, [*ALL_PASS[:2], measured], None)
    assert any("225 items in place of 100" in one.text for one in found.actions)


def test_a_test_over_too_few_seeds_is_told_how_many_it_takes():
    gates = GATES.gates[0].model_copy(update={"unit": "seed"})
    file = GATES.model_copy(update={"gates": (gates,)})
    found = decide(file, [judged("short_4k", "not_enough_evidence", seeds=3)], None)
    assert any("6 seeds in place of 3" in one.text for one in found.actions)


def test_what_failed_and_what_was_not_run_is_never_left_out():
    verdicts = [judged("short_4k", "fail"), judged("short_8k", "not_run", reason="No GPU.")]
    found = decide(GATES, verdicts, None)
    assert [one.gates for one in found.concerns] == [("short_4k",), ("short_8k",), ("long",)]
    assert found.claims == ()
    assert "Claim nothing yet." in [one.text for one in found.actions]


def test_a_rule_that_names_no_gate_there_is_is_an_error():
    with pytest.raises(ValueError, match="rule one: there is no gate lnog; nearest: long"):
        decide(GATES, ALL_PASS, rules({"all": {"lnog": "pass"}}))
    with pytest.raises(ValueError, match="rests on no gate"):
        rules({}, actions=["Do it."])


def test_every_decision_file_of_the_repository_fits_its_gates():
    files = sorted((CONF / "decisions").glob("*.yaml"))
    assert files
    for path in files:
        gates, tree = load_gates(path.stem), load_rules(path.stem)
        assert tree is not None
        decide(gates, [], tree)


def test_the_guides_tree_reframes_where_random_phases_are_as_good():
    gates, tree = load_gates("pispiral_guide"), load_rules("pispiral_guide")
    equal = [judged(f"p6_pi_equals_prng_{one}", "pass") for one in ("phase", "freq")]
    found = decide(gates, equal, tree)
    assert any("non-periodic" in one.text for one in found.actions)
    assert [one.gates for one in found.claims] == [
        ("p6_pi_equals_prng_phase", "p6_pi_equals_prng_freq")
    ]
    every = [judged(gate.id, "pass") for gate in gates.gates]
    assert any("Release" in one.text for one in decide(gates, every, tree).actions)
    every[0] = judged(gates.gates[0].id, "not_run", audit="cannot_fail")
    assert not any("Release" in one.text for one in decide(gates, every, tree).actions)


def test_the_command_reads_verdicts_and_writes_the_decision(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    source = tmp_path / "mine.yaml"
    source.write_text(yaml.safe_dump(GATES.model_dump(mode="json")))
    (tmp_path / "mine.decisions.yaml").write_text(
        yaml.safe_dump(
            {
                "question": "What now?",
                "rules": [
                    {
                        "id": "release",
                        "when": {"all": {"short_*": "pass"}},
                        "actions": ["Release it."],
                        "claims": [{"text": "It is no worse."}],
                    }
                ],
            }
        )
    )
    with pytest.raises(ValueError, match="judge it first: lmlab gate toy"):
        decide_target("toy", gates=str(source))
    folder = tmp_path / "runs" / "toy"
    folder.mkdir(parents=True)
    rows = [
        {
            "gate": name,
            "claim": f"{name}.",
            "verdict": "pass",
            "reason": "It was.",
            "audit": "sound",
        }
        for name in ("short_4k", "short_8k")
    ]
    (folder / "gates.json").write_text(json.dumps(verdicts_of(source, rows)))
    lines = decide_target("toy", gates=str(source))
    assert "actions: Release it. [short_4k, short_8k]" in lines
    with source.open("a") as file:
        file.write("# changed since\n")
    with pytest.raises(ValueError, match="judge again: lmlab gate toy --gates"):
        decide_target("toy", gates=str(source))
    stored = json.loads((folder / "decision.json").read_text())
    assert stored["claims"] == ["It is no worse. [short_4k, short_8k]"]
    assert stored["concerns"] == ["Never judged. [long]"]


def test_verdicts_over_records_that_are_gone_decide_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    source = tmp_path / "mine.yaml"
    source.write_text(yaml.safe_dump(GATES.model_dump(mode="json")))
    (tmp_path / "toy").mkdir()
    row = {
        "gate": "long",
        "claim": "It is.",
        "verdict": "pass",
        "reason": "It was.",
        "evidence": ["0123456789abcdef"],
    }
    (tmp_path / "toy" / "gates.json").write_text(json.dumps(verdicts_of(source, [row])))
    with pytest.raises(ValueError, match="not here now"):
        decide_target("toy", gates=str(source))


def test_a_run_is_judged_audited_and_decided_by_its_files(tmp_path: Path, monkeypatch):
    """RoPE at .9 leaves no room for .3 more: the judge may not pass it, nor may it be claimed."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    run = create_run("toy", "run", config={"seed": 1}, manifest={}, unique=False)
    common = {"metric": "accuracy", "better": "higher", "interval": None, "interval_method": None}
    values = {"new": 0.95, "old": 0.9}
    run.results().replace(
        "evaluate",
        [
            make_record(arm=arm, value=value, weights={"model": arm}, **common)
            for arm, value in values.items()
        ],
    )
    gain = {
        "id": "gain",
        "claim": "Thirty points more.",
        "metric": "accuracy",
        "arm": "new",
        "baseline": "old",
        "unit": "record",
        "test": {"kind": "superior", "margin": 0.3},
        "range": {"data": {"bounds": [0, 1]}},
    }
    source = tmp_path / "mine.yaml"
    source.write_text(yaml.safe_dump({"study": "toy", "question": "?", "gates": [gain]}))
    lines = audit_reference("toy/run", gates=str(source))
    assert lines[0].split()[0] == "unattainable"
    judge_reference("toy/run", gates=str(source))
    decided = decide_target("toy/run", gates=str(source))
    assert [line.split(":")[0] for line in decided] == ["actions", "concerns"]
    assert "unattainable" in decided[1]
