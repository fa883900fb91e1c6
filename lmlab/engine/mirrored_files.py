"""Which files of a run's folder are mirrored, and how they are read while the run goes on."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from lmlab.engine.run import MIRROR_STATE

_CHECKPOINT_FILE = re.compile(r"(?:.*/)?checkpoints/step_(\d{8})/[^/]+")
_TEMPORARY = ".tmp-mirror-"
_LOOKS = 100
_READ_BYTES = 2**20


def paths(folder: Path) -> list[str]:
    """Relative paths of all but locks, temporary files, and what is said of the mirror itself."""
    found: list[str] = []
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(top).relative_to(folder)
        found += [(here / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(path for path in found if not _is_of_here(path))


def checkpoint_step(path: str) -> int | None:
    """The step of a checkpoint's file; None of any other."""
    found = _CHECKPOINT_FILE.fullmatch(path)
    return int(found[1]) if found else None


@contextmanager
def open_checkpoints(folder: Path) -> Iterator[Mapping[str, BinaryIO]]:
    """Every file of every checkpoint, open, so that it can be read after retention deletes it.

    Where one is deleted between listing and opening, all is listed anew: none is taken by half.
    """
    for _ in range(_LOOKS):
        with ExitStack() as stack:
            listed = [path for path in paths(folder) if checkpoint_step(path) is not None]
            try:
                opened = {path: stack.enter_context((folder / path).open("rb")) for path in listed}
            except FileNotFoundError:
                continue
            yield opened
            return
    raise FileNotFoundError(f"the checkpoints in {folder} vanish faster than they can be opened")


@contextmanager
def copied(file: BinaryIO, folder: Path, *, needed: bool) -> Iterator[BinaryIO]:
    """The file, or where `needed` a copy of it, which has no name and vanishes with the process."""
    if not needed:
        yield file
        return
    with tempfile.TemporaryFile(dir=folder, prefix=_TEMPORARY) as copy:
        shutil.copyfileobj(file, copy)
        yield copy


def stamp(file: BinaryIO) -> tuple[int, int, int]:
    """(inode, size, time of change): equal while a file is not written to or replaced."""
    facts = os.fstat(file.fileno())
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def sha256_of(file: BinaryIO) -> str:
    """Of all its bytes; afterwards it stands at its end."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _is_of_here(path: str) -> bool:
    """Who works on this copy of the run, and what it knows of its mirror."""
    return "/" not in path and (path.startswith("lock") or path == MIRROR_STATE)
