"""A bucket of a real S3 server on loopback, behind a network that fails."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fault_proxy import Faults, fault_proxy

from lmlab.engine.objects import Storage
from lmlab.engine.storage import open_storage

SECRET = "open-sesame-0123456789"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Bucket:
    """An empty bucket: directly, and through a proxy that fails as it is told."""

    name: str
    client: Any
    direct: str
    faults: Faults

    @property
    def to(self) -> str:
        """As `storage.to` says it."""
        return f"s3://{self.name}/pre/fix"

    def open(self, *, patience_seconds: float = 30.0, faulty: bool = True) -> Storage:
        """The storage, through the proxy or past it."""
        url = self.faults.url if faulty else self.direct
        return open_storage(self.to, endpoint_url=url, patience_seconds=patience_seconds)

    def visible(self) -> list[str]:
        """All that is visible, past the proxy."""
        return self.open(faulty=False).keys("")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """A bucket of the test's own."""
    import boto3

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3", endpoint_url=server)
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    client.create_bucket(Bucket=name)
    with fault_proxy(int(server.rpartition(":")[2])) as faults:
        yield Bucket(name, client, server, faults)


def until(condition: Callable[[], bool], *, process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for it, while a process lives."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            said = process.communicate()[0] if process is not None and ended else ""
            pytest.fail(f"it did not come true: {said}")
        time.sleep(0.02)
