"""What the verdicts of a study's gates allow to be claimed, and what to do next.

The decision tree is data (`conf/decisions/<gates>.yaml`, or `<gates>.decisions.yaml` beside a gate
file of one's own): rules over verdicts. What no rule speaks of is said all the same: what failed,
what says nothing, what was not run, and how much more it would take.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from lmlab.engine.presets import CONF, nearest
from lmlab.engine.references import resolve
from lmlab.engine.run import Run, find_runs, read_json, runs_root, write_json
from lmlab.engine.schema import Values
from lmlab.evidence.gates.amount import distance
from lmlab.evidence.gates.audit import audit_gate
from lmlab.evidence.gates.grammar import Gate, GateFile, gate_path, load_gates
from lmlab.evidence.pages.judged import ShownGate, read_judged

DECISIONS = CONF / "decisions"
Standing = Literal[
    "pass", "fail", "not_enough_evidence", "not_run", "unattainable", "cannot_fail", "underpowered"
]
Standings = Standing | tuple[Standing, ...]


class When(Values):
    """Gates (a name, or a pattern such as p2_*) and the verdicts, theirs or the audit's, they have.

    `all`: every gate named; `any`: at least one; `none`: not one.
    """

    all: dict[str, Standings] = Field(default_factory=dict)
    any: dict[str, Standings] = Field(default_factory=dict)
    none: dict[str, Standings] = Field(default_factory=dict)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every gate or pattern that is named."""
        return (*self.all, *self.any, *self.none)


class Claim(Values):
    """A sentence that may be published; about language unless it says that a method is its all."""

    text: str
    about: Literal["language", "method"] = "language"


class Rule(Values):
    """When it holds, this is to be done, claimed and watched."""

    id: str
    when: When
    actions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    concerns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _rests_on_something(self) -> "Rule":
        if not self.when.patterns:
            raise ValueError(f"the rule {self.id} rests on no gate")
        return self


class Rules(Values):
    """A study's decision tree."""

    question: str
    rules: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Advice:
    """One sentence and the gates that it rests on."""

    text: str
    gates: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The text with its gates."""
        return f"{self.text} [{', '.join(self.gates)}]"


@dataclass(frozen=True)
class Decision:
    """What to do, what may be claimed, what to watch."""

    actions: tuple[Advice, ...]
    claims: tuple[Advice, ...]
    concerns: tuple[Advice, ...]


def decide_target(target: str, *, gates: str | None = None) -> list[str]:
    """Decide over `gates.json` of a study or a run, write `decision.json` there, and tell it.

    Raises ValueError where nothing was judged, or what was judged on is gone.
    """
    study, folder, runs = _find(target)
    source = gates or study
    again = f"lmlab gate {target}" + (f" --gates {gates}" if gates else "")
    if not (folder / "gates.json").exists():
        raise ValueError(f"{target} has no verdicts yet; judge it first: {again}")
    known = {record.id for run in runs for record in run.records()}
    said: list[str] = []
    judged = read_judged(folder, records=known, said=said)
    if said:
        raise ValueError(f"{' '.join(said)} Then: {again}")
    _refuse_other_gates(read_json(folder / "gates.json"), gate_path(source), again)
    decision = decide(load_gates(source), judged.gates, load_rules(source))
    write_json(folder / "decision.json", _as_sentences(decision))
    return [
        f"{heading}: {sentence}"
        for heading, sentences in _as_sentences(decision).items()
        for sentence in sentences
    ]


def load_rules(gates: str) -> Rules | None:
    """The rules that belong to a gate file, by its name or path; None where there are none."""
    path = Path(gates)
    own = path.suffix in (".yaml", ".yml")
    path = path.with_name(f"{path.stem}.decisions.yaml") if own else DECISIONS / f"{gates}.yaml"
    if not path.is_file():
        return None
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {place}: {first['msg']}") from error


def decide(file: GateFile, judged: Sequence[ShownGate], rules: Rules | None) -> Decision:
    """Every rule that holds, then what no rule may leave unsaid."""
    verdicts = {gate.id: None for gate in file.gates} | {one.gate: one for one in judged}
    actions, claims, concerns = [], [], []
    for rule in rules.rules if rules else ():
        grounds = _grounds(rule, verdicts)
        if grounds is None:
            continue
        actions += [Advice(text, grounds) for text in rule.actions]
        concerns += [Advice(text, grounds) for text in rule.concerns]
        for claim in rule.claims:
            missing = _withheld(claim, grounds, verdicts)
            if missing is None:
                claims.append(Advice(claim.text, grounds))
            else:
                concerns.append(Advice(f"Not to be claimed, {missing}: {claim.text}", grounds))
    if not claims:
        asked = [gate for gate, one in verdicts.items() if one is None or one.applies]
        actions.append(Advice("Claim nothing yet.", tuple(asked)))
    concerns += _unsaid(verdicts)
    return Decision((*actions, *_more(file, verdicts)), tuple(claims), tuple(concerns))


Verdicts = Mapping[str, ShownGate | None]


def _grounds(rule: Rule, verdicts: Verdicts) -> tuple[str, ...] | None:
    """The gates that the rule rests on; None where it does not hold."""
    every = _matching(rule, rule.when.all, verdicts)
    some = _matching(rule, rule.when.any, verdicts)
    never = _matching(rule, rule.when.none, verdicts)
    hit = [gate for gate, holds in some if holds]
    holds = (
        all(holds for _, holds in every)
        and (not some or bool(hit))
        and not any(holds for _, holds in never)
    )
    named = [gate for gate, _ in every] + hit + [gate for gate, _ in never]
    return tuple(dict.fromkeys(named)) if holds else None


def _matching(
    rule: Rule, named: Mapping[str, Standings], verdicts: Verdicts
) -> list[tuple[str, bool]]:
    """Every gate that a pattern means, and whether it stands so."""
    found = []
    for pattern, standings in named.items():
        gates = [gate for gate in verdicts if fnmatchcase(gate, pattern)]
        if not gates:
            raise ValueError(
                f"rule {rule.id}: there is no gate {pattern}{nearest(pattern, list(verdicts))}"
            )
        wanted = (standings,) if isinstance(standings, str) else standings
        found += [(gate, bool(_standings(verdicts[gate]) & {*wanted})) for gate in gates]
    return found


def _standings(gate: ShownGate | None) -> set[str]:
    return {"not_run"} if gate is None else {gate.verdict, gate.audit}


def _withheld(claim: Claim, grounds: Sequence[str], verdicts: Verdicts) -> str | None:
    """Why the claim may not be made; None where it may."""
    passed = [one for gate in grounds if (one := verdicts[gate]) and one.verdict == "pass"]
    if not passed:
        return "since no gate that it rests on passed"
    generated = [one.gate for one in passed if "generated" in one.marks]
    if claim.about == "language" and generated:
        return f"since it is about language and {', '.join(generated)} passed on generated data"
    return None


def _unsaid(verdicts: Verdicts) -> Iterator[Advice]:
    """What failed, and what a verdict cannot be had from."""
    for gate, one in verdicts.items():
        if one is None:
            yield Advice("Never judged.", (gate,))
        elif not one.applies:
            continue
        elif one.audit in ("unattainable", "cannot_fail"):
            yield Advice(f"The gate decides nothing ({one.audit}): {one.audit_reason}.", (gate,))
        elif one.verdict == "fail":
            yield Advice(f"Failed: {one.claim} {one.reason}", (gate,))
        elif one.verdict == "not_run":
            yield Advice(f"Not run: {one.reason}", (gate,))


def _more(file: GateFile, verdicts: Verdicts) -> Iterator[Advice]:
    """What it takes to decide the undecided."""
    for gate in file.gates:
        one = verdicts[gate.id]
        if one is not None and one.verdict == "not_enough_evidence":
            yield Advice(f"Not decided yet; {_wanted(gate, one)}", (gate.id,))


def _wanted(gate: Gate, one: ShownGate) -> str:
    """Items and seeds to run, as measured so far, else as the gate file expects."""
    figures = audit_gate(gate).figures
    items, seeds = figures.get("items.items_needed"), figures.get("seeds.seeds_needed")
    if one.n and one.minimum_detectable_effect and gate.unit != "seed" and distance(gate) > 0:
        items = math.ceil(one.n * (one.minimum_detectable_effect / distance(gate)) ** 2)
    wanted = [
        f"{needed:,.0f} {name} in place of {there or 0:,}"
        for name, needed, there in (("items", items, one.n), ("seeds", seeds, one.seeds))
        if needed is not None and needed > (there or 0)
    ]
    return f"run {' and '.join(wanted)}." if wanted else f"{one.reason}"


def _refuse_other_gates(stored: Mapping[str, Any], path: Path, again: str) -> None:
    """Verdicts hold for the gates as they were; a file changed since may ask for something else."""
    if stored.get("gates_sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
        raise ValueError(
            f"the verdicts are of {stored.get('gates')}, which is not {path.name} as it is now; "
            f"judge again: {again}"
        )


def _find(target: str) -> tuple[str, Path, Collection[Run]]:
    """Study, folder of the verdicts, and the runs that they may rest on."""
    if "/" in target:
        run = resolve(target, finished=False).run
        return run.study, run.folder, [run]
    return target, runs_root() / target, find_runs(target)


def _as_sentences(decision: Decision) -> dict[str, list[str]]:
    return {
        "actions": [one.sentence for one in decision.actions],
        "claims": [one.sentence for one in decision.claims],
        "concerns": [one.sentence for one in decision.concerns],
    }
