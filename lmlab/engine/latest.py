"""The state of every preset's newest run, from two small files a run: `lmlab list` starts at once.

It imports neither pydantic nor Hydra, unlike what reads a run whole.
"""

import json
import os
from pathlib import Path
from typing import Any

from lmlab.engine.lock import is_alive, read_holder


def latest_states() -> dict[str, str]:
    """preset -> done, running, interrupted, ...; `damaged` where the newest run cannot be read."""
    root = Path(os.environ.get("LMLAB_RUNS", "runs"))
    found: dict[str, tuple[float, str]] = {}
    for path in root.glob("*/*/manifest.json"):
        manifest = _read(path)
        if manifest is None or "preset" not in manifest:
            continue
        made = (float(manifest.get("created", 0.0)), _state(path))
        found[manifest["preset"]] = max(found.get(manifest["preset"], (0.0, "")), made)
    return {preset: state for preset, (_, state) in found.items()}


def _state(manifest: Path) -> str:
    status = _read(manifest.with_name("status.json"))
    if status is None:
        return "damaged"
    states = [step["state"] for step in status.get("steps", {}).values()]
    state = next((one for one in states if one != "done"), "done" if states else "-")
    return "interrupted" if state == "running" and not _is_held(manifest) else state


def _read(path: Path) -> dict[str, Any] | None:
    """None for what is no JSON object; empty where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_held(manifest: Path) -> bool:
    path = manifest.with_name("lock")
    holder = read_holder(path)
    return holder is not None and is_alive(path, holder)
