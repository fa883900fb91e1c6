"""SkyPilot: the task file, and managed jobs through a stand-in for `sky`."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import tiny
import yaml
from cloud_toys import add_program, files, make_job_of, read
from commands import type_command
from moto.server import ThreadedMotoServer
from services.fake_vast import KEY

from lmlab.engine.config import load_preset
from lmlab.engine.mirror import Mirror
from lmlab.engine.run import Run
from lmlab.engine.storage import open_storage
from lmlab.launch import cloud, sky
from lmlab.launch.job import Job

GOLDEN = Path(__file__).parents[1] / "golden" / "cloud" / "task.yaml"
# In SkyPilot's own environment.
READ_TASK = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(one,) = task.resources
recover = one.job_recovery["recover_on_exit_codes"]
found = {"spot": one.use_spot, "accelerators": one.accelerators, "most": one.max_hourly_cost}
print(json.dumps(found | {"recover": recover, "mounts": [*task.storage_mounts], "run": task.run}))
"""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place on an S3 server of our own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="lmlab")
    yield "s3://lmlab/runs"
    server.stop()


def test_the_task_file_is_the_golden_one():
    text = sky.render(golden_job())
    if os.environ.get("LMLAB_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "look at the difference; `make golden`"


@pytest.mark.parity
def test_skypilot_reads_the_task_file():
    program = shutil.which("sky")
    if program is None:
        pytest.skip("skypilot is not installed here; `make test-all` has it")
    python = Path(program).parent / "python"
    done = subprocess.run(
        [python, "-c", READ_TASK, GOLDEN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout.splitlines()[-1])
    assert shlex.split(task.pop("run")) == list(golden_job().command)
    assert task == {
        "spot": True,
        "accelerators": {"A100": 2},
        "most": 1.5,
        "recover": [75],
        "mounts": [sky.MOUNT_AT],
    }


@pytest.mark.s3
def test_a_managed_job_is_launched_once_given_secrets_by_name_and_brought_back(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    record = tmp_path / "arguments"
    text = f'#!/bin/sh\nfor one in "$@"; do printf "%s\\n" "$one"; done > {record}\n'
    add_program(tmp_path / "bin", "sky", text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    mirrored = (*tiny.OVERRIDES, "launch.cloud.gpu=H100", f"storage.to={bucket}")
    command = ("run", "scratch/demo", *mirrored, "--name", "managed", "--on", "cloud")
    run = Run(tmp_path / "runs", "scratch", "managed")
    assert type_command(monkeypatch, *command) == 64
    assert not record.exists()
    assert not run.folder.exists()
    assert type_command(monkeypatch, *command, "--yes", "--detach") == 0
    launched = ["jobs", "launch", "--yes", "--name", "scratch-managed"]
    launched += ["--secret", "AWS_ACCESS_KEY_ID", "--secret", "AWS_SECRET_ACCESS_KEY"]
    task = run.cloud / "task.yaml"
    assert record.read_text().split() == [*launched, "--detach-run", str(task)]
    assert set(yaml.safe_load(task.read_text())["secrets"].values()) == {None}
    assert KEY not in capsys.readouterr().out + "".join(map(read, files(run.folder)))
    leave_in_bucket(bucket, run, tmp_path)
    assert type_command(monkeypatch, *command, "--yes") == 0
    assert record.read_text().split() == ["jobs", "logs", "--name", "scratch-managed"]
    assert (run.folder / "results.jsonl").read_text() == "of the machine"
    cloud.cancel(run)
    assert record.read_text().split() == ["jobs", "cancel", "--yes", "--name", "scratch-managed"]


def test_what_a_managed_job_made_takes_the_place_of_what_only_began_here(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(run.root))
    (run.cloud / "state.json").write_text("{}")
    resolved = load_preset("scratch/demo", [f"storage.to={tmp_path / 'bucket'}"], dev=False)
    with pytest.raises(ValueError, match="nothing of it is in its mirror"):
        cloud._pull(resolved, run)
    leave_in_bucket(str(tmp_path / "bucket"), run, tmp_path)
    cloud._pull(resolved, run)
    assert (run.folder / "results.jsonl").read_text() == "of the machine"
    assert (run.cloud / "state.json").exists()
    assert [path.name for path in run.folder.parent.iterdir()] == ["rented"]


def test_a_managed_job_without_a_bucket_is_refused():
    with pytest.raises(ValueError, match=r"storage\.to=s3://"):
        make_job_of("launch.cloud.gpu=H100", "storage.to=/some/folder", check=True)
    with pytest.raises(ValueError, match="no GPU is chosen"):
        make_job_of("storage.to=s3://bucket/runs")


def leave_in_bucket(to: str, run: Run, tmp_path: Path) -> None:
    """What the run's machine would have mirrored."""
    there = Run(tmp_path / "there", run.study, run.name)
    there.folder.mkdir(parents=True)
    (there.folder / "results.jsonl").write_text("of the machine")
    Mirror(open_storage(to, endpoint_url=None), there).push()


def golden_job() -> Job:
    """Every key of a task file."""
    overrides = ("launch.cloud.gpu=A100", "launch.processes=2", "storage.to=s3://bucket/runs")
    limits = ("launch.cloud.max_usd_per_hour=1.5", "launch.setup=['export HF_HUB_OFFLINE=1']")
    return make_job_of(*overrides, *limits)
