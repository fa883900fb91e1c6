"""Which presets there are and which question each answers, read without Hydra or torch."""

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONF = Path(__file__).parents[1] / "conf"
# Folders of conf/ that hold values shared by presets rather than presets of a study.
SHARED = {
    "model", "data", "stages", "position", "optim", "launch", "size", "decisions", "gates",
    "groups",
}  # fmt: skip


@dataclass(frozen=True)
class PresetFile:
    """A preset's file: `name` is what people type, the question is its first line."""

    name: str
    study: str
    path: Path
    question: str


def list_presets() -> list[PresetFile]:
    """Every preset of the repository, by study and name."""
    files = sorted(CONF.glob("*/*.yaml"))
    return [_read(path, path.parent.name) for path in files if path.parent.name not in SHARED]


def find_preset(name: str) -> PresetFile:
    """The preset `study/name`. Raises ValueError with the nearest names where there is none."""
    study, _, rest = name.partition("/")
    path = CONF / study / f"{rest}.yaml"
    if rest and study not in SHARED and ".." not in name and path.is_file():
        return _read(path, study)
    if rest and (outside := _outside(study, rest)):
        return outside
    raise ValueError(f"no preset {name!r}{nearest(name, [one.name for one in list_presets()])}")


def nearest(name: str, options: Sequence[str]) -> str:
    """The end of an error sentence that lists the nearest of the valid names, or all of a few."""
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.4) or list(options)[:8]
    return f"; nearest: {', '.join(close)}" if close else ""


def _outside(package: str, name: str) -> PresetFile | None:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        return None
    conf = Path(next(iter(spec.submodule_search_locations))) / "conf"
    path = conf / f"{name}.yaml"
    return _read(path, package) if path.is_file() else None


def _read(path: Path, study: str) -> PresetFile:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return PresetFile(f"{study}/{path.stem}", study, path, first.removeprefix("#").strip())
