"""A laboratory for language-model experiments whose results can be trusted.

`lmlab.run("scratch/demo", "pretrain.max_steps=10")` runs a preset as the command line does;
`lmlab.open("scratch/demo")` gives its records, its model and its configuration.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmlab.engine.run import Run
    from lmlab.launch.notebook import Opened

__all__ = ["open", "run"]


def run(preset: str, *overrides: str, name: str | None = None, new: bool = False) -> "Opened":
    """Run a preset with overrides as on the command line, or go on with its run; then open it."""
    from lmlab.launch import notebook

    return notebook.run(preset, *overrides, name=name, new=new, failing=_failing_gates)


def open(reference: str) -> "Opened":
    """A run by `study/name[:part][@N|best|last]`: records(), model(), config."""
    from lmlab.launch import notebook

    return notebook.open_reference(reference)


def _failing_gates(run: "Run", phases: "Sequence[str]") -> list[str]:
    from lmlab.evidence.gates.phases import failing_gates

    return failing_gates(run, phases)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"lmlab has no {name!r}; it offers {', '.join(__all__)}")
