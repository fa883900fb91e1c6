"""Where a mirror can lie, as `storage.to` names it: an S3 bucket or a folder."""

import os
import re
import shutil
import uuid
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from lmlab.engine.objects import Storage, StorageError
from lmlab.engine.s3 import PATIENCE_SECONDS, S3

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_UNFINISHED = ".tmp-"
_COPY_BYTES = 8 * 2**20


def open_storage(
    to: str, *, endpoint_url: str | None = None, patience_seconds: float = PATIENCE_SECONDS
) -> Storage:
    """The place that `storage.to` names. Raises ValueError for what is none.

    Nothing is connected to yet.
    """
    if "://" not in to:
        if not to.strip():
            raise ValueError("storage.to is empty; give s3://bucket/prefix or a folder")
        return Folder(Path(to).expanduser().resolve())
    # What was written is not repeated where it may hold a password.
    scheme, _, rest = to.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3":
        raise ValueError(
            f"storage.to: {scheme}:// is not known; give s3://bucket/prefix or a folder"
        )
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            "storage.to: after s3:// comes a bucket's name (3 to 63 of a-z, 0-9, '.', '-') and "
            "nothing else; credentials belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if endpoint_url is not None:
        _check_endpoint(endpoint_url)
    return S3(
        bucket, prefix.strip("/"), endpoint_url=endpoint_url, patience_seconds=patience_seconds
    )


class Folder:
    """A folder as storage: on another disk, or shared by machines."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def put(self, key: str, file: BinaryIO) -> None:
        """Written under a temporary name, flushed, renamed."""
        self._write(key, file).replace(self.root / key)

    def create(self, key: str, content: bytes) -> bool:
        """The link fails where there is something already; it never shows half of the content."""
        written = self._write(key, BytesIO(content))
        try:
            os.link(written, self.root / key)
        except FileExistsError:
            return self.read(key) == content
        except OSError as error:
            raise StorageError(
                f"{self.root} has no hard links ({error.strerror}), without which two writers "
                "could both win; set storage.to to another folder, or to s3://bucket/prefix"
            ) from error
        finally:
            written.unlink()
        return True

    def read(self, key: str) -> bytes | None:
        """The file's bytes."""
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, key: str, path: Path, *, size: int) -> bool:
        """A copy of the file; a longer one is told from a whole one by its sha256."""
        try:
            shutil.copyfile(self.root / key, path)
        except FileNotFoundError:
            return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """Every file but unfinished ones."""
        return [key for key in self._files(prefix) if not _is_unfinished(key)]

    def folders(self, prefix: str) -> list[str]:
        """The sub-folders."""
        return sorted(path.name for path in (self.root / prefix).glob("*") if path.is_dir())

    def delete(self, key: str) -> None:
        """Remove the file."""
        (self.root / key).unlink(missing_ok=True)

    def remove_unfinished(self, prefix: str) -> None:
        """Remove temporary files."""
        for key in self._files(prefix):
            if _is_unfinished(key):
                self.delete(key)

    def _files(self, prefix: str) -> list[str]:
        top = self.root / prefix.rpartition("/")[0]
        paths = (Path(folder) / name for folder, _, names in os.walk(top) for name in names)
        keys = (path.relative_to(self.root).as_posix() for path in paths)
        return sorted(key for key in keys if key.startswith(prefix))

    def _write(self, key: str, file: BinaryIO | BytesIO) -> Path:
        final = self.root / key
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
        file.seek(0)
        try:
            with temporary.open("wb") as written:
                shutil.copyfileobj(file, written, _COPY_BYTES)
                written.flush()
                os.fsync(written.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)  # what fills a disk is taken away again
            raise
        return temporary


def _check_endpoint(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(
            "storage.endpoint_url is to be http(s)://host[:port] without a user or password; "
            "credentials belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def _is_unfinished(key: str) -> bool:
    return key.rpartition("/")[2].startswith(_UNFINISHED)
