"""Where a run comes from: commit, uncommitted changes, versions, command, host. No torch."""

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("lmlab", "torch", "transformers", "tokenizers", "safetensors", "datasets", "numpy")


def provenance(command: list[str]) -> dict[str, Any]:
    """Facts for a manifest. Environment variables are left out: some are secrets."""
    return {
        **code_state(),
        "command": command,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def code_state() -> dict[str, str]:
    """The commit of the code that runs, and the hash of what differs from it; empty outside git."""
    folder = Path(__file__).parents[2]
    commit = _git("rev-parse", "HEAD", folder=folder)
    if not commit or not (folder / ".git").exists():
        return {"commit": "", "diff_sha256": ""}
    diff = _git("diff", "HEAD", folder=folder)
    digest = hashlib.sha256(diff.encode()).hexdigest() if diff else ""
    return {"commit": commit.strip(), "diff_sha256": digest}


def command_line() -> list[str]:
    """What was typed, with the program's own name in place of its path."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def _git(*arguments: str, folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=20
        )
    except FileNotFoundError:
        return ""  # no git on this machine: the manifest says so by an empty commit
    return done.stdout if done.returncode == 0 else ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
