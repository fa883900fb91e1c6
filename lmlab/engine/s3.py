"""A bucket of any S3 server as storage: patient with outages, quick to notice a hang.

Credentials come from the environment (AWS_*), as boto3 reads them; nothing here knows them.
"""

import importlib
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lmlab.engine.objects import StorageError, StorageUnreachableError

T = TypeVar("T")

# An object is sent and fetched in pieces of this size: a cut connection costs one of them.
PIECE_BYTES = 8 * 2**20
# S3 takes no more pieces of one object.
_MAX_PIECES = 10_000
# How long an outage is waited for.
PATIENCE_SECONDS = 120.0
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 8.0
_BUSY_STATUS = 409  # two conditional writes at once: S3 asks for another try
_THROTTLED_STATUS = 429
_ABSENT = ("NoSuchKey", "404", "NoSuchUpload", "InvalidRange")
_TAKEN = "PreconditionFailed"
_CREDENTIALS = (
    "check that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set, and that they may list, read, "
    "write and delete there"
)


class S3:
    """A bucket of any S3 server, from a prefix on."""

    def __init__(
        self, bucket: str, prefix: str, *, endpoint_url: str | None, patience_seconds: float
    ) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._patience = patience_seconds
        # Its own generator: what a training draws from must not depend on the network's weather.
        self._jitter = random.Random()
        try:
            session: Any = importlib.import_module("boto3.session").Session()
        except ModuleNotFoundError as error:
            raise StorageError("s3:// needs boto3: pip install 'lmlab[s3]'") from error
        self._errors: Any = importlib.import_module("botocore.exceptions")
        self._passing = (
            self._errors.ConnectionError,
            self._errors.HTTPClientError,
            self._errors.IncompleteReadError,
        )
        self._client: Any = session.client(
            "s3",
            endpoint_url=endpoint_url,
            config=_client_config(),
        )

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, key: str, file: BinaryIO) -> None:
        """One request, or pieces that become an object when the last is there."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= PIECE_BYTES:
            content = file.read()
            self._call("put_object", key, Body=content)
            return
        piece_bytes = max(PIECE_BYTES, -(-size // _MAX_PIECES))
        sent = self._unless_absent(lambda: self._put_pieces(key, file, piece_bytes))
        # No such upload any more: completed, but the answer was lost; or somebody ended it.
        if sent is None and self._unless_absent(lambda: self._call("head_object", key)) is None:
            raise StorageUnreachableError(f"{self}: an upload was ended by somebody else")

    def create(self, key: str, content: bytes) -> bool:
        """A conditional write: of two at once the server refuses one."""
        try:
            self._call("put_object", key, Body=content, IfNoneMatch="*")
        except self._errors.ClientError as error:
            if _code(error) != _TAKEN:
                raise
            # Our own, perhaps: written, but the answer was lost and it was tried again.
            return self.read(key) == content
        return True

    def read(self, key: str) -> bytes | None:
        """The body, if there is such an object."""

        def get() -> bytes:
            return self._client.get_object(**self._at(key))["Body"].read()

        return self._unless_absent(lambda: self._patiently(get))

    def fetch(self, key: str, path: Path, *, size: int) -> bool:
        """Piece by piece, so that a connection that is cut again and again still gets on."""
        with path.open("wb") as file:
            for start in range(0, size, PIECE_BYTES):
                content = self._range(key, start, min(start + PIECE_BYTES, size) - 1)
                if content is None:
                    return False
                file.write(content)
        return True

    def keys(self, prefix: str) -> list[str]:
        """All pages of the listing."""
        listed = self._pages(prefix)
        return sorted(self._key(one["Key"]) for page in listed for one in page.get("Contents", []))

    def folders(self, prefix: str) -> list[str]:
        """One listing, in which all below a name counts once."""
        listed = self._pages(prefix, Delimiter="/")
        found = (one["Prefix"] for page in listed for one in page.get("CommonPrefixes", []))
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def delete(self, key: str) -> None:
        """One request."""
        self._unless_absent(lambda: self._call("delete_object", key))

    def remove_unfinished(self, prefix: str) -> None:
        """Abort uploads that nobody will complete; they cost money and are not listed."""
        listed = self._patiently(
            lambda: self._client.list_multipart_uploads(
                Bucket=self._bucket, Prefix=self._at(prefix)["Key"]
            )
        )
        for upload in listed.get("Uploads", []):
            self._unless_absent(
                lambda upload=upload: self._call(
                    "abort_multipart_upload", self._key(upload["Key"]), UploadId=upload["UploadId"]
                )
            )

    def _put_pieces(self, key: str, file: BinaryIO, piece_bytes: int) -> dict[str, Any]:
        upload = self._call("create_multipart_upload", key)["UploadId"]
        pieces: list[dict[str, Any]] = []
        while content := file.read(piece_bytes):
            piece = {"UploadId": upload, "PartNumber": len(pieces) + 1}
            sent = self._call("upload_part", key, Body=content, **piece)
            pieces.append({"PartNumber": piece["PartNumber"], "ETag": sent["ETag"]})
        made = {"Parts": pieces}
        return self._call("complete_multipart_upload", key, UploadId=upload, MultipartUpload=made)

    def _range(self, key: str, first: int, last: int) -> bytes | None:
        def get() -> bytes:
            found = self._client.get_object(**self._at(key), Range=f"bytes={first}-{last}")
            return found["Body"].read()

        return self._unless_absent(lambda: self._patiently(get))

    def _pages(self, prefix: str, **how: str) -> Iterator[dict[str, Any]]:
        asked = {"Bucket": self._bucket, "Prefix": self._at(prefix)["Key"], **how}
        while True:
            page = self._patiently(lambda: self._client.list_objects_v2(**asked))
            yield page
            if not page["IsTruncated"]:
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _call(self, operation: str, key: str, **given: Any) -> dict[str, Any]:
        """One request on a key."""
        method = getattr(self._client, operation)
        return self._patiently(lambda: method(**self._at(key), **given))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call until it succeeds or patience ends; what no waiting mends is raised at once."""
        give_up = time.monotonic() + self._patience
        for attempt in itertools.count():
            try:
                return call()
            except self._errors.ClientError as error:
                if _code(error) in (*_ABSENT, _TAKEN):
                    raise  # an answer, which the caller reads
                if not _is_passing(error):
                    raise self._refused(error) from error
                last: Exception = error
            except self._errors.BotoCoreError as error:
                if not isinstance(error, self._passing):
                    raise StorageError(f"{self}: {error}; {_CREDENTIALS}") from error
                last = error
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
            pause = longest * self._jitter.uniform(0.5, 1.0)
            if time.monotonic() + pause > give_up:
                raise StorageUnreachableError(
                    f"{self} did not answer for {self._patience:.0f} s ({type(last).__name__})"
                ) from last
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _refused(self, error: Any) -> StorageError:
        code = _code(error)
        if code == "NoSuchBucket":
            return StorageError(f"there is no bucket {self._bucket}; make it, or mend storage.to")
        return StorageError(f"{self} refused {error.operation_name}: {code}; {_CREDENTIALS}")

    def _unless_absent(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except self._errors.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{key}".lstrip("/")}

    def _key(self, full: str) -> str:
        return full[len(self._prefix) + 1 :] if self._prefix else full


def _client_config() -> Any:
    config = importlib.import_module("botocore.config")
    return config.Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        # Its own retries outlive no outage of two seconds, and draw from python's global
        # generator, which the training's random numbers come from. `_patiently` does it all.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Every byte is checked by its sha256 here; many servers know no other checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_passing(error: Any) -> bool:
    """Whether the server may answer better later."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    passing = (_BUSY_STATUS, _THROTTLED_STATUS)
    return status >= 500 or status in passing or _code(error) == "RequestTimeout"
