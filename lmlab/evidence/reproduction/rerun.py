"""How a run is made again: its commands, its code, its versions, and what was decided for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmlab.engine.run import Run, read_json
from lmlab.evidence.reproduction.cleaning import Cleaner


@dataclass(frozen=True)
class Rerun:
    """One run; without commands `why_not` says why it cannot be made again."""

    run: Run
    manifest: dict[str, Any]
    commands: tuple[tuple[str, ...], ...] = ()
    commit: str = ""
    diff: str = ""
    environment: str = ""
    threads: int | None = None
    why_not: str = ""
    # Different code in the starts of one run: the last one's is what the kit has.
    note: str = ""

    @property
    def reference(self) -> str:
        """The run's name."""
        return self.run.reference

    @property
    def dev(self) -> bool:
        """Whether it was a dev run."""
        return bool(self.manifest.get("dev"))


def plan_rerun(run: Run, cleaner: Cleaner) -> Rerun:
    """From its manifest; the last start's code and versions count."""
    manifest = run.manifest()
    attempts = manifest.get("attempts") or []
    last = attempts[-1] if attempts else {}
    decided = _decided(run)
    why_not = _why_not(run, manifest, last)
    if why_not:
        return Rerun(run, manifest, why_not=why_not)
    settings = dict.fromkeys(tuple(one["overrides"]) for one in attempts)
    # The run's own configuration first: the others are evaluations of what it makes.
    ordered = dict.fromkeys([tuple(manifest["overrides"]), *settings])
    return Rerun(
        run,
        manifest,
        commands=tuple(_command(run, one, manifest, decided, cleaner) for one in ordered),
        commit=last["commit"],
        diff=last["diff_sha256"],
        environment=last["environment_sha256"],
        threads=decided.get("threads"),
        note=_note(attempts),
    )


def _why_not(run: Run, manifest: dict[str, Any], last: dict[str, Any]) -> str:
    if manifest.get("preset") is None:
        return "its numbers were imported; whoever made them can make them again"
    if not last.get("commit"):
        return "it was made by an installed package outside git, whose code is unknown"
    texts = {"diff_sha256": ".diff", "environment_sha256": ".txt"}
    for what, ending in texts.items():
        digest = last.get(what)
        if digest != "" and not (run.provenance / f"{digest}{ending}").is_file():
            return f"what its {what} stands for was not kept when it was made"
    return ""


def _note(attempts: Sequence[dict[str, Any]]) -> str:
    states = {(one["commit"], one["diff_sha256"]) for one in attempts}
    if len(states) == 1:
        return ""
    return f"it was continued with {len(states)} states of the code; the last one is here"


def _command(
    run: Run,
    overrides: Sequence[str],
    manifest: dict[str, Any],
    decided: dict[str, Any],
    cleaner: Cleaner,
) -> tuple[str, ...]:
    pinned = _pinned(decided)
    keys = {one.partition("=")[0] for one in pinned}
    given = [one for one in cleaner.arguments(overrides) if one.partition("=")[0] not in keys]
    spread = decided.get("processes", 1) > 1
    where = ["--on", "torchrun", f"launch.processes={decided['processes']}"] if spread else []
    return ("run", manifest["preset"], *given, *pinned, "--name", run.name, *where)


def _pinned(decided: dict[str, Any]) -> list[str]:
    """What `auto` was decided to be: on it the last bits depend."""
    if not decided:
        return []
    found = [
        f"device.{key}={str(decided[key]).lower()}" for key in ("precision", "compile", "threads")
    ]
    # A GPU is chosen where there is one; without one the numbers are made all the same.
    return [*(["device.kind=cpu"] if decided["device"] == "cpu" else []), *found]


def _decided(run: Run) -> dict[str, Any]:
    """Of the run's first training; empty where it has none."""
    parts = run.parts()
    return read_json(parts[0].decided_path) if parts else {}
