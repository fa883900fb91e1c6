"""A small run, and a folder to mirror it to that does something at each write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import tiny

from lmlab.engine.mirror import Mirror
from lmlab.engine.run import Run
from lmlab.engine.storage import Folder

PATIENCE_SECONDS = 20.0


class Hooked(Folder):
    """A folder that does something before each write."""

    def __init__(self, root: Path, before: Callable[[str], None]) -> None:
        super().__init__(root)
        self.before = before

    def put(self, key: str, file: BinaryIO) -> None:
        self.before(key)
        super().put(key, file)

    def create(self, key: str, content: bytes) -> bool:
        self.before(key)
        return super().create(key, content)


def make_run(root: Path, name: str = "one") -> Run:
    """A run whose training is at step 10."""
    run = Run(root, "study", name)
    (run.folder / "train/checkpoints").mkdir(parents=True)
    (run.folder / "config.yaml").write_text("study: study\n")
    run.write_manifest({})
    (run.folder / "train/metrics.jsonl").write_text('{"step": 1}\n')
    (run.folder / "empty").touch()
    save(run, 10)
    write_status(run, "running")
    return run


def save(run: Run, step: int) -> None:
    """A checkpoint, as the engine writes one: under another name, then renamed."""
    size = (run.folder / "train/metrics.jsonl").stat().st_size
    folder = run.folder / f"train/checkpoints/.tmp-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(str(step).encode() * 1000)
    (folder / "state.json").write_text(json.dumps({"step": step, "metrics_offset": size}))
    (folder / "manifest.json").write_text(json.dumps({"identity": step}))
    folder.rename(folder.with_name(f"step_{step:08d}"))


def write_status(run: Run, state: str) -> None:
    """What `status.json` says of the training."""
    path = run.folder / "status.json"
    path.with_name(".status").write_text(json.dumps({"steps": {"train": {"state": state}}}))
    path.with_name(".status").replace(path)


def pull(storage: Folder, root: Path) -> Run:
    """The run on another machine."""
    run = Run(root, "study", "one")
    Mirror(storage, run).pull()
    return run


def without_state(run: Run) -> dict[str, str]:
    """Everything but what the folder says of its mirror."""
    found = tiny.contents(run.folder)
    found.pop("mirror.json", None)
    return found


def do_damage(path: Path, how: str) -> None:
    """Something that disks and people do."""
    whole = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole if how == "flipped" else whole[:-1])
