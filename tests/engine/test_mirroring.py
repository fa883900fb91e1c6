"""Mirroring while a run goes on, at its end, and on the machine that comes after (T6)."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mirror_toys import PATIENCE_SECONDS, Hooked, make_run, pull, save, without_state

from lmlab.engine.config import Resolved, load_preset
from lmlab.engine.mirror import Mirror, MirrorError, MirrorTakenError, mirrored_runs
from lmlab.engine.mirroring import Mirroring, mirrored
from lmlab.engine.objects import StorageError
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run
from lmlab.engine.schema import StorageConfig
from lmlab.engine.storage import Folder, open_storage
from lmlab.launch import local


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    """An empty folder to mirror to."""
    return Folder(tmp_path / "far")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in the midst of its training."""
    return make_run(tmp_path / "here")


# In the background


def test_requests_while_a_push_is_under_way_become_one(run: Run, storage: Folder):
    gate = threading.Event()
    mirroring = Mirroring(Mirror(Hooked(storage.root, lambda _: wait(gate)), run))
    for step in (20, 30, 40, 50):
        save(run, step)
        mirroring.request()
    gate.set()
    assert mirroring.finish(PATIENCE_SECONDS)
    state = json.loads(run.mirror_path.read_text())
    assert (state["state"], state["step"]) == ("ok", 50)
    assert state["number"] <= 2


def test_a_storage_that_hangs_holds_nobody_longer_than_the_grace(run: Run, storage: Folder):
    gate = threading.Event()
    mirroring = Mirroring(Mirror(Hooked(storage.root, lambda _: wait(gate)), run))
    assert not mirroring.finish(0.1)
    assert storage.keys("study/one/index/") == []
    gate.set()
    assert mirroring.finish(PATIENCE_SECONDS)


def test_a_push_that_fails_is_noted_and_tried_again_at_the_next_request(run: Run, storage: Folder):
    broken = [True]

    def refuse(key: str) -> None:
        if broken[0]:
            raise StorageError("the disk over there is full")

    mirroring = Mirroring(Mirror(Hooked(storage.root, refuse), run))
    assert not mirroring.finish(PATIENCE_SECONDS)
    state = json.loads(run.mirror_path.read_text())
    assert (state["state"], state["number"]) == ("failed", 0)
    assert state["error"] == "the disk over there is full"
    broken[0] = False
    assert mirroring.finish(PATIENCE_SECONDS)
    state = json.loads(run.mirror_path.read_text())
    assert (state["state"], state["number"], state["error"]) == ("ok", 1, None)
    assert run.notice.reason is None


def test_a_command_whose_mirror_is_behind_ends_with_an_error_and_a_whole_local_run(
    run: Run, tmp_path: Path
):
    (tmp_path / "far").write_text("a file where a folder is to be")
    before = without_state(run)
    with pytest.raises(MirrorError, match=r"is not up to date \(.*run the same command again"):
        command(run, tmp_path / "far", lambda inside: None)
    assert without_state(run) == before


def test_another_writer_stops_the_run_at_the_next_step_boundary(run: Run, storage: Folder):
    def work(inside: Run) -> None:
        Mirror(storage, make_run(run.root.parent / "elsewhere")).push()
        assert inside.mirror is not None
        inside.mirror.request()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while inside.notice.reason is None and time.monotonic() < deadline:
            time.sleep(0.002)
        raise Preempted(f"{inside.notice.reason} at step 12")

    with pytest.raises(MirrorTakenError, match="index 1"):
        command(run, storage.root, work)
    assert run.notice.reason == "another process writes this run's mirror"


def test_a_run_that_another_has_gone_on_with_does_not_start(run: Run, storage: Folder):
    Mirror(storage, make_run(run.root.parent / "elsewhere")).push()
    with pytest.raises(MirrorTakenError, match="index 1"):
        command(run, storage.root, lambda inside: pytest.fail("it started"))


@pytest.mark.parametrize("stopped", [Preempted("SIGTERM at step 20"), KeyError("broken")])
def test_a_run_that_ends_before_its_time_is_mirrored_within_its_grace(
    run: Run, storage: Folder, tmp_path: Path, stopped: BaseException
):
    def work(inside: Run) -> None:
        save(run, 20)
        inside.notice.ask("SIGTERM")
        raise stopped

    with pytest.raises(type(stopped)):
        command(run, storage.root, work)
    assert without_state(pull(storage, tmp_path / "there")) == without_state(run)


# By name and by fingerprint


def test_runs_are_listed_with_their_manifests(run: Run, storage: Folder, tmp_path: Path):
    assert mirrored_runs(storage, "study") == {}
    run.write_manifest({"created": 1.0})
    Mirror(storage, run).push()
    run.write_manifest({"created": 2.0})
    Mirror(storage, run).push()
    second = make_run(tmp_path / "other", name="two")
    Mirror(storage, second).push()
    assert mirrored_runs(storage, "study") == {"one": {"created": 2.0}, "two": {}}
    assert mirrored_runs(storage, "stud") == {}


@pytest.mark.usefixtures("outside_study")
@pytest.mark.parametrize("name", [None, "named"])
def test_a_bare_machine_goes_on_with_what_the_mirror_holds(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
):
    def resolved(*overrides: str) -> Resolved:
        given = [f"storage.to={tmp_path / 'far'}", *overrides]
        return load_preset("outside_study/small", given)

    options = local.Options(name=name)
    made = local.choose_run(resolved(), options)
    (made.run.folder / "break").touch()
    with pytest.raises(KeyError):
        local.start(resolved(), made, options)

    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "bare"))
    assert local.describe(resolved(), options)[0].startswith("run: pulled from")
    found = local.choose_run(resolved(), options)
    assert found.run == Run(tmp_path / "bare", "outside_study", made.run.name)
    assert found.state == "unfinished"
    (found.run.folder / "break").unlink()
    local.start(resolved(), found, options)
    calls = (found.run.folder / "calls").read_text().split()
    assert calls == ["dump", "train", "train", "evaluate10"]

    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "third"))
    assert local.choose_run(resolved(), options).state == "finished"
    other = resolved("source.kind=plain", "source.words=9")
    assert local.choose_run(other, local.Options()).state == "new"
    assert local.choose_run(resolved(), local.Options(new=True)).state == "new"


# Places


@pytest.mark.parametrize(
    "to", ["gs://bucket/x", "s3://", "s3://no", "s3://Upper/x", "", "file:///tmp/x"]
)
def test_what_is_no_place_is_refused(to: str):
    with pytest.raises(ValueError, match=r"^storage\.to"):
        open_storage(to)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    for to, endpoint in (
        ("s3://key:sesame@bucket/x", None),
        ("gs://key:sesame@bucket/x", None),
        ("s3://bucket/x", "https://key:sesame@host"),
    ):
        with pytest.raises(ValueError, match=r"storage\.") as raised:
            open_storage(to, endpoint_url=endpoint)
        assert "sesame" not in str(raised.value)


def command(run: Run, far: Path, work: Callable[[Run], object]) -> None:
    """Work on a run whose configuration says to mirror it."""
    with mirrored(run, StorageConfig(to=str(far)), grace_seconds=20.0) as inside:
        work(inside)


def wait(gate: threading.Event) -> None:
    """A server that answers when it is let."""
    assert gate.wait(PATIENCE_SECONDS)
