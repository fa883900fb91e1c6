"""Atomic, verified save and load of all that a training needs to go on.

A checkpoint is a folder `step_00000500/`: safetensors, one JSON file of plain values, and a
manifest with the sha256 of each. It is written under a temporary name and renamed, so a folder with
the right name is whole; loading verifies every byte all the same. Nothing in it is pickled.

Of several processes each writes its own random numbers and place in the data (`rng_1`, `state_1`,
the first without a number). Where a model is sharded, each writes its part of every tensor
(`model-00001-of-00002.safetensors`), and `model.index.json` says which tensors are to be joined.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lmlab.engine.distributed import ALONE, Meeting, is_sharded, local_part, share_like
from lmlab.engine.weights import state_tensors, weights_hash

FORMAT = 1
_NAME = re.compile(r"step_(\d{8})")
# Tensors of all processes together: `model.safetensors`, or `model.index.json` where sharded.
_SHARED = re.compile(r"(?!rng)([a-z]+)\.(?:safetensors|index\.json)")
PINNED = "pinned"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be loaded, and why."""


@dataclass(frozen=True)
class Snapshot:
    """Everything of one moment: tensors by file, plain values, and what identifies it."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """A loadable checkpoint, and the newer ones that are not, each with its reason."""

    path: Path
    skipped: tuple[str, ...]


def save(folder: Path, snapshot: Snapshot, *, step: int, meeting: Meeting | None = None) -> Path:
    """Write `folder/step_<step>`: files first, flushed, the manifest last, then one rename.

    With a `meeting` every process of it calls this, with what it holds. On a full disk the
    unfinished files are removed, older checkpoints stay, and OSError says so.
    """
    meeting = meeting or Meeting(ALONE)
    final = folder / f"step_{step:08d}"
    temporary = folder / f".tmp-{final.name}"

    def begin() -> None:
        _remove_leftovers(folder)
        temporary.mkdir()

    def finish() -> None:
        _write_manifest(temporary, snapshot.identity, step=step)
        replaced = folder / f".tmp-old-{final.name}"
        if final.exists():
            final.rename(replaced)
        temporary.rename(final)
        _flush_folder(folder)
        shutil.rmtree(replaced, ignore_errors=True)

    try:
        _together(begin, meeting, main_only=True)
        _together(lambda: _write(temporary, snapshot, meeting=meeting), meeting, main_only=False)
        _together(finish, meeting, main_only=True)
    except (OSError, SafetensorError) as error:
        if meeting.world.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
        raise _unsaved(error, folder=folder, step=step) from error
    return final


def load(path: Path, *, rank: int = 0) -> Snapshot:
    """Read a checkpoint and verify every file; sharded tensors are joined.

    Random numbers and plain values are those of `rank`. Raises CheckpointError naming what is
    wrong.
    """
    manifest = verify(path)
    numbered = f"_{rank}" if rank else ""
    if f"state{numbered}.json" not in manifest["files"]:
        raise CheckpointError(f"{path} holds nothing of a process of rank {rank}")
    shared = {found[1] for name in manifest["files"] if (found := _SHARED.fullmatch(name))}
    tensors = {name: _load_tensors(path, name) for name in sorted(shared)}
    if f"rng{numbered}.safetensors" in manifest["files"]:
        tensors["rng"] = _load_tensors(path, f"rng{numbered}")
    state = json.loads((path / f"state{numbered}.json").read_text(encoding="utf-8"))
    return Snapshot(tensors=tensors, state=state, identity=manifest["identity"])


def load_weights(path: Path, modules: Mapping[str, nn.Module]) -> str:
    """Put a checkpoint's weights into modules, strictly; the weights' hash, for every result."""
    snapshot = load(path)
    assign_weights(modules, snapshot.tensors["model"], where=str(path))
    return str(snapshot.identity["weights"])


def module_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every module's tensors under `module.name`, tied ones once."""
    return {
        f"{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in state_tensors(module).items()
    }


def assign_weights(
    modules: Mapping[str, nn.Module], stored: Mapping[str, Tensor], *, where: str
) -> None:
    """Copy stored tensors in. A missing, unexpected or misshapen one is an error that names it."""
    wanted = module_tensors(modules)
    missing = sorted(wanted.keys() - stored.keys())
    unexpected = sorted(stored.keys() - wanted.keys())
    misshapen = sorted(
        f"{name} {tuple(stored[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted.keys() & stored.keys()
        if stored[name].shape != wanted[name].shape or stored[name].dtype != wanted[name].dtype
    )
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
    if said:
        raise CheckpointError(f"{where} does not fit this model: {said}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            local_part(tensor).copy_(local_part(share_like(stored[name], tensor)))


def verify(path: Path) -> dict[str, Any]:
    """The manifest, when every file is there and has its sha256."""
    manifest = read_manifest(path)
    for name, expected in manifest["files"].items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path} lacks {name}")
        if _sha256(path / name) != expected:
            raise CheckpointError(f"{path}/{name} is damaged: its sha256 is not the manifest's")
    return manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, when that is whole; its files are not read."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} is no checkpoint: it has no manifest.json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}/manifest.json is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise CheckpointError(f"{path} has checkpoint format {found}; this version reads {FORMAT}")
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    if _content_sha256(content) != manifest.get("sha256"):
        raise CheckpointError(f"{path}/manifest.json is damaged: its sha256 is not its own")
    return manifest


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint, the newest first; unfinished ones have other names."""
    found = [
        (int(m[1]), path) for path in folder.glob("step_*") if (m := _NAME.fullmatch(path.name))
    ]
    return sorted(found, reverse=True)


def newest_intact(folder: Path) -> Found | None:
    """The newest checkpoint that verifies; None where none was ever saved.

    Raises CheckpointError where there are checkpoints and every one is damaged.
    """
    skipped: list[str] = []
    for _, path in checkpoints(folder):
        try:
            verify(path)
        except CheckpointError as error:
            skipped.append(str(error))
        else:
            return Found(path, tuple(skipped))
    if skipped:
        raise CheckpointError(
            f"no checkpoint in {folder} can be loaded: {'; '.join(skipped)}. "
            "Put an intact copy there, or start another run with --new"
        )
    return None


def find(folder: Path, at: str) -> Path:
    """The checkpoint `last`, `best`, or of a step.

    Raises ValueError, with those there are, for one that was never saved, and CheckpointError
    where the last ones are damaged.
    """
    found = checkpoints(folder)
    if not found:
        raise ValueError(f"{folder} holds no checkpoint yet")
    match at:
        case "last":
            newest = newest_intact(folder)
            assert newest is not None
            return newest.path
        case "best":
            ranked = _ranked(folder)
            if not ranked:
                raise ValueError(f"no checkpoint in {folder} has a score; set best_metric")
            return ranked[0]
        case _:
            by_step = dict(found)
            if int(at) not in by_step:
                steps = ", ".join(str(step) for step in sorted(by_step))
                raise ValueError(f"{folder} has no step {at}; there are: {steps}")
            return by_step[int(at)]


def apply_retention(folder: Path, *, keep_last: int, keep_best: int) -> None:
    """Remove what is neither among the newest, nor the best, nor pinned.

    The folder itself is the list, so it is right after a resume too.
    """
    kept = {path for _, path in checkpoints(folder)[:keep_last]}
    kept |= set(_ranked(folder)[:keep_best])
    for _, path in checkpoints(folder):
        if path not in kept and not (path / PINNED).exists():
            # Renamed first: a deletion cut short leaves no folder that looks like a checkpoint.
            try:
                doomed = path.rename(path.with_name(f".tmp-old-{path.name}"))
                shutil.rmtree(doomed)
            except OSError as error:
                raise OSError(
                    f"{path}, which is no longer needed, could not be removed: {error}. What is "
                    "saved is whole; make the folder writable and run the same command to go on"
                ) from error


def _together(work: Callable[[], None], meeting: Meeting, *, main_only: bool) -> None:
    """Every process, or the main one, does its part; then all wait, and all fail with one."""
    error = None
    try:
        if meeting.world.is_main or not main_only:
            work()
    except (OSError, SafetensorError) as raised:
        error = raised
    meeting.meet(error)


def _write(folder: Path, snapshot: Snapshot, *, meeting: Meeting) -> None:
    """The files of one process."""
    world = meeting.world
    numbered = f"_{world.rank}" if world.rank else ""
    for name, tensors in snapshot.tensors.items():
        if name == "rng":
            _write_tensors(folder / f"rng{numbered}.safetensors", tensors)
        elif any(map(is_sharded, tensors.values())):
            shard = f"{name}-{world.rank + 1:05d}-of-{world.size:05d}.safetensors"
            own = {key: one for key, one in tensors.items() if world.is_main or is_sharded(one)}
            _write_tensors(folder / shard, own)
            if world.is_main:
                joined = sorted(key for key, one in tensors.items() if is_sharded(one))
                index = {"joined_on_dim_0": joined, "shards": world.size}
                _write_json(folder / f"{name}.index.json", index)
        elif world.is_main:
            _write_tensors(folder / f"{name}.safetensors", tensors)
    _write_json(folder / f"state{numbered}.json", snapshot.state)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {key: local_part(one.detach()).cpu().contiguous() for key, one in tensors.items()}
    save_file(plain, path)
    _flush(path)


def _load_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    if (folder / f"{name}.safetensors").exists():
        return load_file(folder / f"{name}.safetensors")
    index = json.loads((folder / f"{name}.index.json").read_text(encoding="utf-8"))
    count = index["shards"]
    shards = [
        load_file(folder / f"{name}-{number:05d}-of-{count:05d}.safetensors")
        for number in range(1, count + 1)
    ]
    joined = {key: torch.cat([shard[key] for shard in shards]) for key in index["joined_on_dim_0"]}
    return shards[0] | joined


def _write_manifest(folder: Path, identity: Mapping[str, Any], *, step: int) -> None:
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    weights = weights_hash(_load_tensors(folder, "model"))
    manifest = {
        "format": FORMAT,
        "files": files,
        "identity": {**identity, "step": step, "weights": weights},
    }
    _write_json(folder / "manifest.json", manifest | {"sha256": _content_sha256(manifest)})
    _flush_folder(folder)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(values, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """What a killed save or deletion left; the lock makes sure that nobody else is writing it."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path)


def _ranked(folder: Path) -> list[Path]:
    """Scored checkpoints, the best first; of equals the older one."""
    scored: list[tuple[float, int, Path]] = []
    for step, path in checkpoints(folder):
        try:
            text = (path / "manifest.json").read_text(encoding="utf-8")
            identity = json.loads(text)["identity"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it has no score, and `verify` says so to whoever loads it
        if identity.get("score") is not None:
            sign = 1 if identity["score_mode"] == "min" else -1
            scored.append((sign * identity["score"], step, path))
    return [path for _, _, path in sorted(scored)]


def _unsaved(error: Exception, *, folder: Path, step: int) -> OSError:
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    free_mb = shutil.disk_usage(folder).free / 1e6
    why = f"the disk is full ({free_mb:.0f} MB free)" if full or free_mb < 1 else str(error)
    return OSError(
        f"step {step} could not be saved in {folder}: {why}. Earlier checkpoints are untouched; "
        "make room and run the same command to go on from the newest"
    )


def _content_sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
