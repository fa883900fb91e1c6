"""A real run that goes on from the bucket, on one bare machine after another (check T6)."""

import json
import signal
from pathlib import Path

import pytest
import tiny
from s3_bucket import DEADLINE_SECONDS, SECRET, Bucket, until

import lmlab
from lmlab.engine.config import load_preset
from lmlab.engine.run import Run
from lmlab.launch.local import Options, describe

pytestmark = pytest.mark.s3


def test_a_run_goes_on_from_the_bucket_on_a_bare_machine_to_the_same_bits(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DEV_MODE", raising=False)
    # Enough of them that none of the machines is done before it is stopped.
    steps = "pretrain.max_steps=600"
    places = (f"storage.to={bucket.to}", f"storage.endpoint_url={bucket.faults.url}")
    grace = "pretrain.checkpoint.grace_seconds=5.0"
    command = ("run", tiny.PRESET, *tiny.OVERRIDES, steps, grace, *places)

    # The first machine vanishes without notice, with a step in the bucket.
    first = tiny.start(*command, "--name", "tiny", runs=tmp_path / "first")
    until(lambda: mirrored_step(bucket) >= 3, process=first)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=DEADLINE_SECONDS)
    at = mirrored_step(bucket)
    assert 3 <= at < 600

    # The second is told to go while the storage hangs: it leaves in time, and says so.
    second = tiny.start(*command, runs=tmp_path / "second")
    until(lambda: mirrored_step(bucket) > at, process=second)
    bucket.faults.hang = True
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate(timeout=DEADLINE_SECONDS)
    assert second.returncode == 75, said
    assert "is not up to date" in said
    bucket.faults.hang = False

    third = tiny.start(*command, runs=tmp_path / "third")
    said, _ = third.communicate(timeout=DEADLINE_SECONDS)
    assert third.returncode == 0, said
    # Found by its fingerprint, not by its name.
    resumed = Run(tmp_path / "third", "scratch", "tiny")
    assert {step["state"] for step in resumed.status()["steps"].values()} == {"done"}

    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "unbroken"))
    unbroken = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, steps, name="tiny").reference.run
    ends = ("pretrain/checkpoints/step_00000600/model.safetensors", "tokenizer/", "items/")
    assert tiny.contents(resumed.folder, *ends) == tiny.contents(unbroken.folder, *ends)
    assert [(one.id, one.value) for one in resumed.records()] == [
        (one.id, one.value) for one in unbroken.records()
    ]
    no_secret(bucket, tmp_path)


def mirrored_step(bucket: Bucket) -> int:
    """The step up to which the newest index reaches; -1 where there is none."""
    keys = [key for key in bucket.visible() if "/index/" in key]
    if not keys:
        return -1
    stored = bucket.open(faulty=False).read(keys[-1])
    if stored is None:  # tidied away since
        return -1
    files = json.loads(stored)["files"]
    steps = [path.split("step_")[1][:8] for path in files if "/step_" in path]
    return max(map(int, steps), default=0)


def no_secret(bucket: Bucket, runs: Path) -> None:
    """Neither in the runs nor in the bucket."""
    storage = bucket.open(faulty=False)
    kept = [path.read_bytes() for path in runs.rglob("*") if path.is_file()]
    assert len(kept) > 20
    for content in [*kept, *(storage.read(key) for key in bucket.visible())]:
        assert content is not None
        assert SECRET.encode() not in content


def test_a_dry_run_asks_a_storage_that_is_down_but_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DEV_MODE", raising=False)
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    places = (f"storage.to={bucket.to}", f"storage.endpoint_url={bucket.faults.url}")
    resolved = load_preset(tiny.PRESET, [*tiny.OVERRIDES, *places])
    assert describe(resolved, Options())[0] == "run: a new one"
    bucket.faults.refuse = True
    first, *others = describe(resolved, Options())
    assert first.startswith("run: a new one, unless it lies in the mirror: s3://bucket-")
    assert "did not answer for 1 s" in first
    assert others[0] == "step prepare: pending"
    assert list(tmp_path.iterdir()) == []
