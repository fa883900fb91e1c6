"""The state of every preset's newest run, from two small files a run: `lmlab list` starts at once.

It imports neither pydantic nor Hydra, unlike what reads a run whole.
"""

import json
import os
from collections.abc import Mapping
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
        made = (float(manifest.get("created", 0.0)), _state(path, manifest))
        found[manifest["preset"]] = max(found.get(manifest["preset"], (0.0, "")), made)
    return {preset: state for preset, (_, state) in found.items()}


def _state(path: Path, manifest: Mapping[str, Any]) -> str:
    status = _read(path.with_name("status.json"))
    if status is None:
        return "damaged"
    steps = status.get("steps", {})
    if not steps:
        return "-"
    done = "unfinished" if set(manifest.get("fingerprints", {})) - set(steps) else "done"
    state = next((one["state"] for one in steps.values() if one["state"] != "done"), done)
    return "interrupted" if state == "running" and not _is_held(path) else state


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
