"""Where a run comes from: commit, uncommitted changes, versions, command, host. No torch."""

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lmlab.engine.monitor import read_gpus

PACKAGES = ("lmlab", "torch", "transformers", "tokenizers", "safetensors", "datasets", "numpy")
# Where the code lies: a checkout, or the folder of installed packages.
ROOT = Path(__file__).parents[2]


def provenance(command: list[str]) -> dict[str, Any]:
    """Facts for a manifest. Environment variables are left out: some are secrets."""
    return {
        **code_state(),
        "command": command,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "processor": processor_name(),
        "gpus": [gpu.name for gpu in read_gpus()],
        "versions": {name: _version(name) for name in PACKAGES},
        "environment_sha256": _sha256(installed_packages()),
    }


def code_state() -> dict[str, str]:
    """The commit of the code that runs, and the hash of what differs from it; empty outside git."""
    code = _code(ROOT)
    return {"commit": code.commit, "diff_sha256": _sha256(code.diff) if code.diff else ""}


def installed_packages() -> bytes:
    """`name==version` of every installed package but this one, a line each."""
    found = {(one.metadata["Name"], one.version) for one in importlib.metadata.distributions()}
    lines = sorted(f"{name}=={version}\n" for name, version in found if name != "lmlab")
    return "".join(lines).encode()


def sources() -> dict[str, bytes]:
    """file name -> the text behind a hash of `provenance`: `<sha256>.diff` and `<sha256>.txt`."""
    packages, diff = installed_packages(), _code(ROOT).diff
    found = {f"{_sha256(packages)}.txt": packages}
    return found | ({f"{_sha256(diff)}.diff": diff} if diff else {})


def command_line() -> list[str]:
    """What was typed, with the program's own name in place of its path."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def processor_name() -> str:
    """The processor's own name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class _Code:
    """A commit, and for `git apply` what differs from it: changes, new files of the package."""

    commit: str
    diff: bytes


@cache
def _code(root: Path) -> _Code:
    """Looked at once: what runs is what was there at its start, whatever is edited meanwhile."""
    commit = _git("rev-parse", "HEAD", root=root).decode().strip()
    if not commit or not (root / ".git").exists():
        return _Code("", b"")
    listed = _git("ls-files", "--others", "--exclude-standard", "-z", "--", "lmlab", root=root)
    diffs = [_git("diff", "--binary", "HEAD", root=root)]
    for path in _split(listed.decode()):
        diffs.append(_git("diff", "--no-index", "--binary", os.devnull, path, root=root))
    return _Code(commit, b"".join(diffs))


def _git(*arguments: str, root: Path) -> bytes:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, check=False, timeout=20
        )
    except FileNotFoundError:
        return b""  # no git on this machine: the manifest says so by an empty commit
    # A diff without an index answers 1 where it found something.
    return done.stdout if done.returncode in (0, 1) else b""


def _split(listed: str) -> list[str]:
    return [one for one in listed.split("\0") if one]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
