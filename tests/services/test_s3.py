"""The mirror in a real S3 server, behind a network that fails (check T6)."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from s3_bucket import DEADLINE_SECONDS, Bucket, until

from lmlab.engine.mirror import Mirror, MirrorTakenError, mirrored_runs
from lmlab.engine.mirroring import Mirroring
from lmlab.engine.objects import Storage, StorageError, StorageUnreachableError
from lmlab.engine.run import Run
from lmlab.engine.s3 import S3
from lmlab.engine.storage import open_storage

pytestmark = pytest.mark.s3

MEGABYTE = 2**20
PUSH = """
import sys
from pathlib import Path
from lmlab.engine.mirror import Mirror
from lmlab.engine.run import Run
from lmlab.engine.storage import open_storage
storage = open_storage(sys.argv[1], endpoint_url=sys.argv[2])
Mirror(storage, Run(Path(sys.argv[3]), "study", "one")).push()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a checkpoint of several pieces."""
    made = Run(tmp_path / "here", "study", "one")
    (made.folder / "train/checkpoints/step_00000010").mkdir(parents=True)
    (made.folder / "config.yaml").write_text("study: study\n")
    (made.folder / "empty").touch()
    made.write_manifest({"created": 1.0})
    model(made).write_bytes(random.Random(1).randbytes(20 * MEGABYTE))
    return made


def test_a_bucket_keeps_what_a_folder_keeps(bucket: Bucket, tmp_path: Path):
    storage = bucket.open(faulty=False)
    (tmp_path / "a").write_bytes(b"abc")
    for key in ("x/one/objects/a", "x/two/objects/a", "xy"):
        with (tmp_path / "a").open("rb") as file:
            storage.put(key, file)
    assert storage.keys("x/") == ["x/one/objects/a", "x/two/objects/a"]
    assert storage.folders("x/") == ["one", "two"]
    assert storage.keys("") == ["x/one/objects/a", "x/two/objects/a", "xy"]
    assert (storage.read("xy"), storage.read("none")) == (b"abc", None)
    assert storage.fetch("xy", tmp_path / "b", size=3)
    assert (tmp_path / "b").read_bytes() == b"abc"
    assert not storage.fetch("none", tmp_path / "b", size=3)
    storage.delete("xy")
    storage.delete("xy")
    assert storage.read("xy") is None


def test_a_listing_of_many_pages_is_whole(bucket: Bucket):
    storage = bucket.open(faulty=False)
    for number in range(1001):
        bucket.client.put_object(Bucket=bucket.name, Key=f"pre/fix/x/{number:04d}", Body=b"")
    assert storage.keys("x/") == [f"x/{number:04d}" for number in range(1001)]


def test_a_run_goes_to_the_bucket_and_comes_back(bucket: Bucket, run: Run, tmp_path: Path):
    storage = bucket.open()
    Mirror(storage, run).push()
    assert all(key.startswith("study/one/") for key in bucket.visible())
    assert mirrored_runs(storage, "study") == {"one": {"created": 1.0}}
    assert pulled(storage, tmp_path / "there") == pushed(run)


def test_a_server_may_be_named_by_the_environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.direct)
    assert open_storage(bucket.to).create("a", b"a")
    assert bucket.visible() == ["a"]


@pytest.mark.parametrize("by", ["configuration", "environment"])
def test_a_server_of_ones_own_is_not_asked_for_as_bucket_dot_host(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, by: str
):
    url = "https://store.example"
    if by == "environment":
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    storage = open_storage(bucket.to, endpoint_url=url if by == "configuration" else None)
    assert isinstance(storage, S3)
    asked = storage._client.generate_presigned_url("get_object", Params=storage._at("a"))
    assert asked.startswith(f"{url}/{bucket.name}/pre/fix/a?")


def test_of_many_that_create_one_object_one_wins(bucket: Bucket):
    storage = bucket.open(faulty=False)
    won: list[bool] = []

    def create(number: int) -> None:
        won.append(storage.create("index", str(number).encode()))

    together([lambda number=number: create(number) for number in range(16)])
    assert sorted(won) == [False] * 15 + [True]


def test_of_two_writers_exactly_one_wins(bucket: Bucket, run: Run, tmp_path: Path):
    storage = bucket.open(faulty=False)
    Mirror(storage, run).push()
    for attempt in range(3):
        runs = [Run(tmp_path / f"{attempt}-{number}", "study", "one") for number in range(3)]
        for number, one in enumerate(runs):
            Mirror(storage, one).pull()
            (one.folder / "own").write_text(f"{attempt} {number}")
        outcomes: list[str] = []

        def push(one: Run, outcomes: list[str] = outcomes) -> None:
            try:
                Mirror(storage, one).push()
            except MirrorTakenError:
                outcomes.append("refused")
            else:
                outcomes.append("won")

        together([lambda one=one: push(one) for one in runs])
        assert sorted(outcomes) == ["refused", "refused", "won"]


def test_a_process_killed_in_mid_upload_leaves_nothing_visible(
    bucket: Bucket, run: Run, tmp_path: Path
):
    bucket.faults.bytes_per_second = 8 * MEGABYTE
    child = subprocess.Popen(push_command(bucket, run, program=PUSH))
    until(lambda: bucket.faults.passed > 12 * MEGABYTE)
    child.send_signal(signal.SIGKILL)
    assert child.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    assert not [key for key in bucket.visible() if "/index/" in key]
    assert mirrored_runs(bucket.open(), "study") == {}
    assert unfinished(bucket) == 1

    bucket.faults.bytes_per_second = None
    mirror = Mirror(bucket.open(), run)
    mirror.push()
    mirror.tidy()
    assert unfinished(bucket) == 0
    assert pulled(bucket.open(), tmp_path / "there") == pushed(run)


@pytest.mark.parametrize("after", [100, 5 * MEGABYTE])
def test_when_every_request_is_cut_once_all_arrives(
    bucket: Bucket, run: Run, tmp_path: Path, after: int
):
    bucket.faults.cut_after = after
    Mirror(bucket.open(), run).push()
    assert pulled(bucket.open(), tmp_path / "there") == pushed(run)


def test_an_upload_that_somebody_else_ended_is_an_error_and_is_made_anew(bucket: Bucket, run: Run):
    """A second writer's tidying does so, before it is told apart from the first."""
    storage = bucket.open(patience_seconds=1.0, faulty=False)

    class Ended(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            piece = super().read(size)
            if not piece:
                storage.remove_unfinished("")
            return piece

    with Ended(io.FileIO(model(run))) as file, pytest.raises(StorageError):
        storage.put("object", file)
    assert bucket.visible() == []
    with model(run).open("rb") as file:
        storage.put("object", file)
    assert storage.read("object") == model(run).read_bytes()


@pytest.mark.parametrize("lost", [{0}, {0, 1}])
def test_a_lost_answer_does_not_make_a_writer_refuse_itself(bucket: Bucket, lost: set[int]):
    storage = bucket.open()
    bucket.faults.lose = frozenset(lost)
    assert storage.create("index", b"mine")
    assert bucket.faults.answers > max(lost)
    assert storage.read("index") == b"mine"
    assert not storage.create("index", b"another's")


# The upload's id, two pieces, its completion.
@pytest.mark.parametrize("lost", range(4))
def test_an_upload_that_loses_any_answer_is_whole(bucket: Bucket, tmp_path: Path, lost: int):
    content = random.Random(2).randbytes(9 * MEGABYTE)
    (tmp_path / "a").write_bytes(content)
    bucket.faults.lose = frozenset({lost})
    with (tmp_path / "a").open("rb") as file:
        bucket.open().put("object", file)
    assert bucket.faults.answers > 4
    assert bucket.open().read("object") == content


@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_an_outage_is_outlived(bucket: Bucket, run: Run, tmp_path: Path, seconds: float):
    bucket.faults.refuse = True
    end = threading.Timer(seconds, lambda: setattr(bucket.faults, "refuse", False))
    end.start()
    Mirror(bucket.open(patience_seconds=120.0), run).push()
    end.join()
    assert pulled(bucket.open(), tmp_path / "there") == pushed(run)


def test_an_outage_without_end_is_an_error_that_the_run_survives(bucket: Bucket, run: Run):
    before = pushed(run)
    bucket.faults.refuse = True
    mirroring = Mirroring(Mirror(bucket.open(patience_seconds=1.0), run))
    assert not mirroring.finish(DEADLINE_SECONDS)
    state = json.loads(run.mirror_path.read_text())
    assert state["state"] == "failed"
    assert "did not answer for 1 s" in state["error"]
    assert pushed(run) == before
    bucket.faults.refuse = False
    assert mirroring.finish(DEADLINE_SECONDS)
    assert json.loads(run.mirror_path.read_text())["state"] == "ok"


def test_a_hang_is_noticed_and_given_up(bucket: Bucket):
    bucket.faults.hang = True
    with pytest.raises(StorageUnreachableError, match="Read"):
        bucket.open(patience_seconds=1.0).read("x")


def test_a_slow_network_is_no_failure(bucket: Bucket, run: Run, tmp_path: Path):
    # A piece takes longer than any time-out of a connection.
    bucket.faults.bytes_per_second = 1.5 * MEGABYTE
    model(run).write_bytes(random.Random(1).randbytes(8 * MEGABYTE))
    Mirror(bucket.open(patience_seconds=1.0), run).push()
    bucket.faults.bytes_per_second = None
    assert pulled(bucket.open(), tmp_path / "there") == pushed(run)


@pytest.mark.parametrize("damage", ["another content", "shorter", "missing"])
def test_an_object_that_is_not_what_its_name_says_is_refused(
    bucket: Bucket, run: Run, tmp_path: Path, damage: str
):
    storage = bucket.open(faulty=False)
    Mirror(storage, run).push()
    old = pushed(run)
    model(run).write_bytes(b"step 11")
    sha256, _ = Mirror(storage, run).push().files[model(run).relative_to(run.folder).as_posix()]
    key = f"pre/fix/study/one/objects/{sha256}"
    body = {"another content": b"step 12", "shorter": b"step 1"}.get(damage)
    if body is None:
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    else:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
    assert pulled(storage, tmp_path / "there") == old


def test_faults_leave_the_random_numbers_of_a_training_alone(bucket: Bucket, run: Run):
    """In a process of its own: the shape checks of the tests draw from python's generator too."""
    bucket.faults.cut_after = 100
    program = f"import random; random.seed(7); before = random.getstate()\n{PUSH}"
    subprocess.run(
        push_command(bucket, run, program=program + "sys.exit(random.getstate() != before)"),
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    assert [key for key in bucket.visible() if "/index/" in key]


def test_what_waiting_does_not_mend_is_said_at_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    absent = open_storage("s3://no-such-bucket/x", endpoint_url=bucket.direct)
    with pytest.raises(StorageError, match="there is no bucket no-such-bucket; make it"):
        absent.create("a", b"")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    with pytest.raises(StorageError, match="check that AWS_ACCESS_KEY_ID"):
        bucket.open().keys("")
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    with pytest.raises(StorageError, match=r"pip install 'lmlab\[s3\]'"):
        bucket.open()


def push_command(bucket: Bucket, run: Run, *, program: str) -> list[str]:
    """A program that pushes the run, in a process of its own."""
    return [sys.executable, "-c", program, bucket.to, bucket.faults.url, str(run.root)]


def model(run: Run) -> Path:
    """The large file of its checkpoint."""
    return run.folder / "train/checkpoints/step_00000010/model.safetensors"


def pushed(run: Run) -> dict[str, str]:
    """What is to arrive."""
    found = tiny.contents(run.folder)
    found.pop("mirror.json", None)
    return found


def pulled(storage: Storage, root: Path) -> dict[str, str]:
    """What arrives on a bare machine."""
    run = Run(root, "study", "one")
    Mirror(storage, run).pull()
    return pushed(run)


def unfinished(bucket: Bucket) -> int:
    """Uploads that were begun and not ended."""
    return len(bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))


def together(work: list[Callable[[], None]]) -> None:
    """All at once, each in a thread."""
    barrier = threading.Barrier(len(work))

    def begin(one: Callable[[], None]) -> None:
        barrier.wait(DEADLINE_SECONDS)
        one()

    threads = [threading.Thread(target=begin, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
