"""A run's mirror: objects named by their sha256, and numbered indexes that say which file is which.

`<study>/<name>/objects/<sha256>` is written when it is not there yet, `index/<number>.json` last,
and only where that number is free: nothing half-written is ever referred to, nothing that is
referred to is overwritten, and of two writers one is refused.
"""

import hashlib
import json
import logging
import shutil
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lmlab.engine.mirrored_files import (
    checkpoint_step,
    copied,
    open_checkpoints,
    paths,
    sha256_of,
    stamp,
)
from lmlab.engine.objects import Storage
from lmlab.engine.run import Run, check_name, read_json, write_json

log = logging.getLogger(__name__)

FORMAT = 1
KEPT_INDEXES = 2
_SHA256_LETTERS = 64


class MirrorError(RuntimeError):
    """A mirror that cannot be used, and what to do."""


class MirrorTakenError(MirrorError):
    """Another process writes this run's mirror."""


class DamagedError(MirrorError):
    """An index or object that is missing, or not what its name says."""


@dataclass(frozen=True)
class Index:
    """One state of a run's folder: relative path -> (sha256, size).

    `writer` is the token of the folder that it was made from.
    """

    number: int
    writer: str
    host: str
    files: Mapping[str, tuple[str, int]]

    @property
    def step(self) -> int | None:
        """The greatest step of which it has a checkpoint."""
        steps = (checkpoint_step(path) for path in self.files)
        return max((step for step in steps if step is not None), default=None)

    def encoded(self) -> bytes:
        """As it is stored."""
        content = {"format": FORMAT, **asdict(self)}
        return _json(content | {"sha256": _sha256(_json(content))})

    @classmethod
    def decoded(cls, stored: bytes, *, number: int) -> "Index":
        """Read back. Raises DamagedError for what was not written by `encoded`."""
        try:
            content = json.loads(stored)
            sha256 = content.pop("sha256")
            whole = content["format"] == FORMAT and sha256 == _sha256(_json(content))
            files = {
                str(path): (str(one[0]), int(one[1])) for path, one in content["files"].items()
            }
            index = cls(content["number"], content["writer"], content["host"], files)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise DamagedError(f"index {number} is damaged") from None
        safe = all(_is_safe(path, sha256) for path, (sha256, _) in files.items())
        if not (whole and safe and index.number == number):
            raise DamagedError(f"index {number} is damaged, or not of format {FORMAT}")
        return index


class Mirror:
    """The mirror of one run in one storage."""

    def __init__(self, storage: Storage, run: Run) -> None:
        self.storage, self.run = storage, run
        self._top = f"{run.study}/{run.name}"
        # Objects that are there, and the sha256 of files that have not changed since.
        self._there: set[str] | None = None
        self._hashes: dict[tuple[int, int, int], str] = {}

    def __str__(self) -> str:
        return f"{self.storage}/{self._top}"

    def exists(self) -> bool:
        """Whether anything was ever pushed."""
        return bool(self._numbers())

    def next_number(self) -> int:
        """Of the index that this folder may write now.

        Raises MirrorTakenError where the newest is neither of this folder nor what it was pulled
        from.
        """
        newest, state = max(self._numbers(), default=0), self.state()
        if newest > state["number"]:
            # Ours where the process was killed after the index was written, before it was noted.
            index = self._index(newest)
            if index.writer != state["writer"]:
                raise self._taken(index)
        return max(newest, state["number"]) + 1

    def push(self) -> Index:
        """Make the mirror equal to the run's folder as it is now; the index that says so."""
        number, writer = self.next_number(), self.state()["writer"]
        index = Index(number, writer, socket.gethostname(), self._store_all())
        if not self.storage.create(self._index_key(number), index.encoded()):
            raise self._taken(self._index(number))
        self.note(state="ok", number=number, step=index.step, error=None, distrusted=[])
        return index

    def tidy(self) -> None:
        """Keep the newest indexes and what they refer to.

        Raises MirrorTakenError where another writer's index has come since: what that one needs is
        not ours to judge.
        """
        self.next_number()
        numbers = self._numbers()
        for number in numbers[:-KEPT_INDEXES]:
            self.storage.delete(self._index_key(number))
        kept = [self._index(number) for number in numbers[-KEPT_INDEXES:]]
        needed = {sha256 for index in kept for sha256, _ in index.files.values()}
        for sha256 in self._objects() - needed:
            self.storage.delete(self._object_key(sha256))
        self._there = (self._there or set()) & needed
        self.storage.remove_unfinished(f"{self._top}/")

    def pull(self) -> None:
        """Restore the newest whole index as the run's folder, which does not exist yet.

        It is fetched under another name and renamed: a run that exists is whole. Raises
        MirrorError where there is nothing, or nothing whole.
        """
        check_name(self.run.name)
        numbers = self._numbers()
        temporary = self.run.folder.with_name(f".pulled-{uuid.uuid4().hex}")
        try:
            distrusted = self._restore_newest(numbers, temporary)
            # Of the newest index, even if an older one was restored: the number after it is free.
            state = _fresh_state() | {"number": numbers[-1], "distrusted": sorted(distrusted)}
            write_json(temporary / self.run.mirror_path.name, state)
            temporary.rename(self.run.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def manifest(self) -> dict[str, Any] | None:
        """The run's manifest.json in the newest whole index; None where there is none."""
        for number in reversed(self._numbers()):
            try:
                sha256, _ = self._index(number).files["manifest.json"]
                content = self.storage.read(self._object_key(sha256))
            except (DamagedError, KeyError) as error:
                log.warning("%s: %s", self, error)
                continue
            if content is not None and _sha256(content) == sha256:
                return json.loads(content)
            log.warning("%s: manifest.json of index %d is damaged", self, number)
        return None

    def state(self) -> dict[str, Any]:
        """What the folder says of its mirror; its writer's token is made when first asked for."""
        found = read_json(self.run.mirror_path)
        if not found:
            found = _fresh_state()
            write_json(self.run.mirror_path, found)
        return found

    def note(self, **values: Any) -> None:
        """Change what the folder says of its mirror."""
        new = self.state() | values | {"updated": time.time()}
        write_json(self.run.mirror_path, new)

    def _store_all(self) -> dict[str, tuple[str, int]]:
        """path -> (sha256, size) of every file, each stored.

        First what says that a step is done, then checkpoints, then what grows: where a training is
        done its last checkpoint is there, and metrics reach to where a checkpoint goes on from.
        """
        if self._there is None:
            self._there = self._objects() - set(self.state()["distrusted"])
        folder = self.run.folder
        statuses = [one for one in paths(folder) if PurePosixPath(one).name == "status.json"]
        found = self._store_paths(statuses)
        with open_checkpoints(folder) as opened:
            found |= {path: self._store(file, grows=False) for path, file in opened.items()}
        rest = [one for one in paths(folder) if one not in found and checkpoint_step(one) is None]
        return found | self._store_paths(rest)

    def _store_paths(self, names: Sequence[str]) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for name in names:
            try:
                with (self.run.folder / name).open("rb") as file:
                    found[name] = self._store(file, grows=True)
            except FileNotFoundError:
                continue  # deleted since it was listed
        return found

    def _store(self, file: BinaryIO, *, grows: bool) -> tuple[str, int]:
        assert self._there is not None
        mark = stamp(file)
        known = self._hashes.get(mark)
        if known in self._there:
            return known, mark[1]
        with copied(file, self.run.folder, needed=grows) as frozen:
            sha256, size = sha256_of(frozen), frozen.tell()
            if sha256 not in self._there:
                self.storage.put(self._object_key(sha256), frozen)
                self._there.add(sha256)
        if size == mark[1]:
            self._hashes[mark] = sha256
        return sha256, size

    def _restore_newest(self, numbers: Sequence[int], folder: Path) -> set[str]:
        """Fetch the newest index that is whole; the objects that only indexes after it name."""
        reasons: list[str] = []
        suspects: set[str] = set()
        for number in reversed(numbers):
            try:
                index = self._index(number)
                suspects |= {sha256 for sha256, _ in index.files.values()}
                self._restore(index, folder)
            except DamagedError as error:
                log.warning("%s: %s; the index before it is tried", self, error)
                reasons.append(str(error))
                shutil.rmtree(folder, ignore_errors=True)
            else:
                log.info("%s: restored from index %d", self, number)
                return suspects - {sha256 for sha256, _ in index.files.values()}
        said = "; ".join(reasons) or "there is no index"
        raise MirrorError(
            f"nothing in {self} can be restored: {said}. Put an intact copy there, or start "
            "another run with --new"
        )

    def _restore(self, index: Index, folder: Path) -> None:
        folder.mkdir(parents=True)
        for path, (sha256, size) in index.files.items():
            final = folder / path
            final.parent.mkdir(parents=True, exist_ok=True)
            if not self.storage.fetch(self._object_key(sha256), final, size=size):
                raise DamagedError(f"{path} of index {index.number} is missing")
            with final.open("rb") as file:
                if sha256_of(file) != sha256:
                    raise DamagedError(f"{path} of index {index.number} is damaged")

    def _numbers(self) -> list[int]:
        names = (PurePosixPath(key).stem for key in self.storage.keys(f"{self._top}/index/"))
        return sorted(int(name) for name in names if name.isdigit())

    def _index(self, number: int) -> Index:
        stored = self.storage.read(self._index_key(number))
        if stored is None:
            raise DamagedError(f"index {number} is missing")
        return Index.decoded(stored, number=number)

    def _objects(self) -> set[str]:
        return {PurePosixPath(key).name for key in self.storage.keys(f"{self._top}/objects/")}

    def _index_key(self, number: int) -> str:
        return f"{self._top}/index/{number:08d}.json"

    def _object_key(self, sha256: str) -> str:
        return f"{self._top}/objects/{sha256}"

    def _taken(self, index: Index) -> MirrorTakenError:
        return MirrorTakenError(
            f"another process, on {index.host}, writes {self} (index {index.number}). Let that one "
            f"go on; or, when it has stopped, move {self.run.folder} away and run the same command "
            "to go on from the mirror; or start another run with --new"
        )


def mirrored_runs(storage: Storage, study: str) -> dict[str, dict[str, Any]]:
    """name -> manifest of every run of a study that can be pulled."""
    found: dict[str, dict[str, Any]] = {}
    for name in storage.folders(f"{study}/"):
        manifest = Mirror(storage, Run(Path(), study, name)).manifest()
        if manifest is not None:
            found[name] = manifest
    return found


def _fresh_state() -> dict[str, Any]:
    """Of a folder that has pushed nothing.

    `distrusted` are objects that are there and were not seen to be whole: they are written again.
    """
    facts = {"state": "pending", "number": 0, "step": None, "error": None, "distrusted": []}
    return facts | {"writer": uuid.uuid4().hex}


def _is_safe(path: str, sha256: str) -> bool:
    """Whether a name from a bucket stays below the run's folder, and an object's below its own."""
    inside = not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
    return inside and len(sha256) == _SHA256_LETTERS and sha256.isalnum()


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
