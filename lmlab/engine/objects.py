"""What a place for a mirror offers: objects by key, whole or not at all, and one creator a key."""

from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable


class StorageError(RuntimeError):
    """The storage refuses, and what to do."""


class StorageUnreachableError(StorageError):
    """The storage did not answer for as long as was waited."""


@runtime_checkable
class Storage(Protocol):
    """Objects by key; a key is a path with '/', below what `storage.to` names."""

    def put(self, key: str, file: BinaryIO) -> None:
        """Write a file's bytes, from its beginning; a reader sees all of them or none."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write only where there is nothing yet; whether the object there is this one."""
        ...

    def read(self, key: str) -> bytes | None:
        """The whole object; None where there is none."""
        ...

    def fetch(self, key: str, path: Path, *, size: int) -> bool:
        """The first `size` bytes of an object into a file; whether there is such an object."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """The names right below `prefix` that have keys below them, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def remove_unfinished(self, prefix: str) -> None:
        """Remove what killed writers left below `prefix`; it was never visible."""
        ...
