"""Rented machines: against a market in a file, through stand-ins for `vastai`, `ssh` and `sky`.

The tests of the real client speak to the same market over HTTP.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import tiny
import yaml
from moto.server import ThreadedMotoServer
from services import fake_vast
from services.fake_vast import KEY, Market, serve

from lmlab import cli
from lmlab.engine.config import load_preset
from lmlab.engine.lock import is_alive, read_holder
from lmlab.engine.mirror import Mirror
from lmlab.engine.run import Run, read_json
from lmlab.engine.storage import open_storage
from lmlab.launch import cloud, remote, rental, sky, vast, watcher
from lmlab.launch.job import Job, make_job
from lmlab.launch.local import Options
from lmlab.launch.rental import State

GOLDEN = Path(__file__).parents[1] / "golden" / "cloud" / "task.yaml"
RTX_4090 = {
    "id": 42,
    "machine_id": 7,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "disk_space": 100.0,
    "min_bid": 0.16,
    "dph_total": 0.18,
    "total_flops": 80.0,
}
DEARER = RTX_4090 | {"id": 43, "machine_id": 8, "min_bid": 0.24, "dph_total": 0.26}
JOB = Job(
    study="scratch",
    name="rented",
    command=("lmlab", "run", "scratch/demo", "--name", "rented"),
    environment={},
    secrets=(),
    setup=("true",),
    gpu="RTX_4090",
    num_gpus=1,
    disk_gb=50,
    image="pytorch/pytorch:latest",
    mirror="s3://bucket/runs",
    endpoint_url=None,
    max_usd_per_hour=0.5,
    budget_usd=None,
)
UNMIRRORED = JOB.model_copy(update={"mirror": None})
NEW = State(provider="vast", label="lmlab-rented", state="renting")
VAST = (
    *tiny.OVERRIDES,
    "launch.cloud.provider=vast",
    "launch.cloud.gpu=RTX_4090",
    "launch.cloud.max_usd_per_hour=0.5",
    "launch.cloud.install=':'",
)
COMMAND = ("run", "scratch/demo", *VAST, "--name", "rented", "--on", "cloud")
PATIENCE_SECONDS = 60
# In SkyPilot's own environment.
READ_TASK = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(one,) = task.resources
recover = one.job_recovery["recover_on_exit_codes"]
found = {"spot": one.use_spot, "accelerators": one.accelerators, "most": one.max_hourly_cost}
print(json.dumps(found | {"recover": recover, "mounts": [*task.storage_mounts], "run": task.run}))
"""
# Records its arguments, leaves a run behind, and waits while there is a file `hold`.
STAND_IN = """#!/bin/sh
mkdir -p "$LMLAB_RUNS/scratch/rented/cloud"
for one in "$@"; do printf '%s\\n' "$one"; done > "$LMLAB_RUNS/scratch/rented/arguments"
echo '{"of": "the machine"}' > "$LMLAB_RUNS/scratch/rented/cloud/state.json"
while [ -e "$HOME/../hold" ]; do sleep 0.05; done
"""


@pytest.fixture(
    params=["stand-in", pytest.param("vastai", marks=pytest.mark.parity)],
)
def market(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Market]:
    """Two offers; `vastai` is a stand-in, or the real client sent to a local server."""
    made = Market(tmp_path / "market.json").open(RTX_4090, DEARER)
    real = request.param == "vastai"
    programs = ["ssh"] if real else ["ssh", "vastai"]
    if real and shutil.which("vastai") is None:
        pytest.skip("vastai is not installed here; `make test-all` has it")
    for program in programs:
        text = f'#!/bin/sh\nexec {sys.executable} -S {fake_vast.__file__} {program} "$@"\n'
        add_program(tmp_path / "bin", program, text)
    add_program(tmp_path / "bin", "lmlab", STAND_IN)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VAST", str(made.path))
    monkeypatch.setenv("VAST_API_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DEV_MODE", raising=False)
    with serve(made) if real else nullcontext("") as address:
        monkeypatch.setenv("LMLAB_VAST_URL", address)
        yield made
    # No watcher outlives its test, whatever became of it.
    for lock in (tmp_path / "runs").glob("*/*/lock"):
        holder = read_holder(lock)
        if holder is not None and is_alive(lock, holder):
            psutil.Process(holder.pid).kill()


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


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """scratch/rented, of which there is only its folder."""
    made = Run(tmp_path / "runs", "scratch", "rented")
    made.cloud.mkdir(parents=True)
    return made


def test_the_first_bid_is_a_quarter_above_the_lowest_of_the_cheapest_offer(
    market: Market, run: Run
):
    state = watcher.turn(run, JOB, NEW, now=0.0)
    (asked,) = market.calls("create")
    assert (asked["offer"], asked["price"]) == (42, 0.2)
    assert (asked["image"], asked["disk"]) == ("pytorch/pytorch:latest", 50.0)
    assert (state.state, state.instance, state.bid_usd_per_hour) == ("starting", 701, 0.2)


def test_bid_and_disk_together_stay_within_the_price(market: Market, run: Run):
    watcher.turn(run, JOB.model_copy(update={"max_usd_per_hour": 0.19}), NEW, now=0.0)
    (asked,) = market.calls("create")
    assert asked["price"] == 0.17
    with pytest.raises(ValueError, match=r"launch\.cloud\.max_usd_per_hour"):
        make_job_of("launch.cloud.provider=vast", "launch.cloud.gpu=H100", check=True)


def test_the_next_offer_is_taken_where_the_cheapest_is_gone(market: Market, run: Run):
    with market.edit() as values:
        values["offers"][0]["taken"] = True
    watcher.turn(run, JOB, NEW, now=0.0)
    assert [one["offer"] for one in market.calls("create")] == [42, 43]
    assert len(market.instances) == 1


def test_a_gpu_that_nobody_offers_is_said_before_anything_is_rented(market: Market, run: Run):
    state = watcher.turn(run, JOB.model_copy(update={"gpu": "H100"}), NEW, now=0.0)
    assert state.state == "failed"
    assert "nobody offers 1 x H100 with 50 GB of disk for 0.5 USD an hour" in state.message
    assert market.instances == {}


def test_an_outbid_machine_gets_higher_bids_and_then_another_machine_goes_on(
    market: Market, run: Run
):
    state = started(market, run, JOB)
    market.outbid(701, min_bid=0.3)
    state = watcher.turn(run, JOB, state, now=20.0)
    assert market.calls("change bid") == [{"id": 701, "price": 0.375}]
    market.outbid(701, min_bid=0.45)
    state = watcher.turn(run, JOB, state, now=30.0)
    assert len(market.calls("change bid")) == 1, "the last bid is given time to win"
    state = watcher.turn(run, JOB, state, now=230.0)
    assert market.calls("change bid")[1:] == [{"id": 701, "price": 0.48}], "0.5 less the disk"
    market.outbid(701, min_bid=0.48)
    state = watcher.turn(run, JOB, state, now=500.0)
    assert market.calls("destroy") == [{"id": 701}]
    state = watcher.turn(run, JOB, state, now=501.0)
    assert list(market.instances) == [702]
    assert market.calls("create")[-1]["offer"] == 43, "another machine than the one that lost"
    assert (state.machines, state.failed_starts) == (2, 0)


def test_without_a_mirror_an_outbid_machine_is_kept_and_waited_for(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    market.outbid(701, min_bid=0.6)
    for now in (20.0, 2000.0, 200_000.0):
        state = watcher.turn(run, UNMIRRORED, state, now=now)
    assert (state.state, list(market.instances)) == ("outbid", [701])
    assert "storage.to" in state.message
    market.set(701, actual_status="running")
    assert watcher.turn(run, UNMIRRORED, state, now=200_001.0).state == "running"


def test_machines_that_do_not_start_are_given_back_and_the_third_is_the_last(
    market: Market, run: Run
):
    with market.edit() as values:
        values["offers"].append(RTX_4090 | {"id": 44, "machine_id": 9, "min_bid": 0.3})
        values["offers"].append(RTX_4090 | {"id": 45, "machine_id": 10, "min_bid": 0.31})
    state, now = NEW, 0.0
    for number in (701, 702, 703):
        state = watcher.turn(run, JOB, state, now=now)
        market.set(number, actual_status="loading", status_msg="no such image")
        for waited in (1.0, rental.START_SECONDS - 1.0):
            state = watcher.turn(run, JOB, state, now=now + waited)
            assert list(market.instances) == [number], "an image takes its time"
        now += rental.START_SECONDS + 2.0
        state = watcher.turn(run, JOB, state, now=now)
        assert market.instances == {}
    assert state.state == "failed"
    assert "3 machines did not start" in state.message
    assert "no such image" in state.message
    assert [one["offer"] for one in market.calls("create")] == [42, 43, 44]


def test_a_machine_that_is_gone_is_replaced_where_another_can_go_on(market: Market, run: Run):
    state = started(market, run, JOB)
    lose_all(market)
    state = watcher.turn(run, JOB, state, now=20.0)
    assert market.instances == {}, "a list may be late"
    state = watcher.turn(run, JOB, state, now=200.0)
    assert watcher.turn(run, JOB, state, now=201.0).instance == 702


def test_a_machine_that_is_gone_with_the_only_copy_is_not_begun_anew(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    lose_all(market)
    for now in (20.0, 200.0):
        state = watcher.turn(run, UNMIRRORED, state, now=now)
    assert (state.state, len(market.calls("create"))) == ("failed", 1)


def test_what_ended_is_fetched_and_the_machine_given_back(market: Market, run: Run):
    state = started(market, run, UNMIRRORED)
    leave_results(market, 701, exit_code=0)
    state = watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert (state.state, state.exit_code, state.instance) == ("done", 0, None)
    assert market.instances == {}
    assert (run.folder / "results.jsonl").read_text() == "{}\n"
    assert (run.cloud / "machine.log").read_text() == "all is well\n"


@pytest.mark.parametrize(("code", "state"), [(75, "preempted"), (1, "failed"), (127, "failed")])
def test_another_exit_code_is_kept(market: Market, run: Run, code: int, state: str):
    before = started(market, run, JOB)
    leave_results(market, 701, exit_code=code)
    after = watcher.turn(run, JOB, before, now=20.0)
    assert (after.state, after.exit_code, market.instances) == (state, code, {})


def test_what_could_not_be_fetched_and_lies_nowhere_else_is_not_destroyed(
    market: Market, run: Run, monkeypatch: pytest.MonkeyPatch
):
    state = started(market, run, UNMIRRORED)
    leave_results(market, 701, exit_code=0)
    monkeypatch.setattr(remote, "fetch", unreachable)
    after = watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert market.calls("stop") == [{"id": 701}]
    assert list(market.instances) == [701]
    assert "lmlab cancel scratch/rented" in after.message
    rental.write_state(run, after)
    with pytest.raises(ValueError, match="instance 701 still keeps"):
        cloud._begin(run, "vast")
    # With a mirror it is in the bucket, and the disk need not be paid.
    market.set(701, actual_status="running")
    after = watcher.turn(run, JOB, state, now=30.0)
    assert "s3://bucket/runs" in after.message
    assert market.instances == {}


def test_a_machine_cannot_write_outside_its_run_nor_into_what_watches_it(
    market: Market, run: Run, tmp_path: Path
):
    state = started(market, run, UNMIRRORED)
    folder = leave_results(market, 701, exit_code=0)
    (folder / "cloud").mkdir()
    (folder / "cloud" / "state.json").write_text("{}")
    (folder / "lock").write_text("{}")
    run.lock_path.write_text("mine")
    watcher.turn(run, UNMIRRORED, state, now=20.0)
    assert run.lock_path.read_text() == "mine"
    assert not (run.cloud / "state.json").exists()
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(remote.UnreachableError, match="cannot be unpacked"):
        fetch_again(market, run)


def test_the_budget_ends_the_rental(market: Market, run: Run):
    job = JOB.model_copy(update={"budget_usd": 1.0})
    state = started(market, run, job)
    leave_results(market, 701, exit_code=None)
    state = watcher.turn(run, job, state, now=10.0 + 4 * 3600)
    assert state.spent_usd == pytest.approx(4 * 0.22)
    assert state.state == "running"
    state = watcher.turn(run, job, state, now=10.0 + 5 * 3600)
    assert (state.state, market.instances) == ("over budget", {})
    assert "1.10 USD of 1.0 are spent" in state.message
    assert (run.folder / "results.jsonl").exists()


def test_a_second_machine_of_a_rental_that_was_cut_short_is_given_back(market: Market, run: Run):
    state = started(market, run, JOB)
    market.create(43, price=0.3, label=NEW.label, onstart="true")
    market.create(43, price=0.3, label="somebody-else", onstart="true")
    watcher.turn(run, JOB, state, now=20.0)
    assert market.calls("destroy") == [{"id": 702}]
    assert list(market.instances) == [701, 703]


def test_a_refusal_is_an_error_though_the_client_answers_0(market: Market, run: Run):
    state = started(market, run, JOB)
    rental.write_state(run, state)
    with market.edit() as values:
        values["stubborn"] = True
    with pytest.raises(vast.VastError, match="not now") as refused:
        cloud.cancel(run)
    assert KEY not in str(refused.value)
    assert rental.read_state(run) == state, "it may still cost"
    with market.edit() as values:
        values["stubborn"] = False
    assert cloud.cancel(run) == ["scratch/rented: gave instance 701 back"]
    found = rental.read_state(run)
    assert found is not None
    assert (found.state, market.instances) == ("cancelled", {})
    assert cloud.cancel(run) == []


def test_a_dry_run_rents_nothing_and_neither_does_a_command_without_yes(
    market: Market, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run.cloud.rmdir()
    run.folder.rmdir()
    assert type_command(monkeypatch, *COMMAND, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "price: 0.220 USD an hour now (offer 42: bid 0.2, disk 0.020)" in said
    assert "at most 0.5 USD an hour" in said
    assert "USD for 0.00 h of training, at 40% of the offer's 80 TFLOPS" in said
    assert "without notice" in said
    assert "storage.to=s3://" in said
    assert type_command(monkeypatch, *COMMAND) == 64
    assert "nothing is rented without --yes" in capsys.readouterr().out
    assert market.calls("create") == []
    assert not run.folder.exists()


def test_a_price_that_cannot_be_asked_for_is_unknown(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert type_command(monkeypatch, *COMMAND, "--dry-run") == 0
    assert "price: unknown (vastai is not installed" in capsys.readouterr().out


def test_detached_it_outlives_the_command_and_the_same_command_attaches(
    market: Market, run: Run, tmp_path: Path
):
    hold(market, run, tmp_path)
    said = start_command("--yes", "--detach")
    assert "Host lmlab-scratch-rented\n    HostName 127.0.0.1\n    Port 20701\n" in said
    watching = psutil.Process(read_json(run.lock_path)["pid"])
    assert os.getsid(watching.pid) == watching.pid, "a log-out ends its session, not others"

    # A watcher that dies leaves the machine; the same command finds it by its label.
    watching.kill()
    until(lambda: not run.is_running())
    start_command("--yes", "--detach")
    assert len(market.calls("create")) == 1
    assert "Host lmlab-scratch-rented" in start_command("--detach"), "to follow costs nothing"

    (tmp_path / "hold").unlink()
    assert "done: the command ended with 0" in start_command("--yes")
    assert market.instances == {}
    assert (run.folder / "arguments").read_text().split("\n")[:-1] == list(COMMAND[:-2])
    state = rental.read_state(run)
    assert state is not None
    assert (state.state, state.machines) == ("done", 1)
    assert [path for path in files(run.root) if KEY in read(path)] == [], "a key lies nowhere"


def test_a_cancel_ends_the_watcher_too(market: Market, run: Run, tmp_path: Path):
    hold(market, run, tmp_path)
    start_command("--yes", "--detach")
    assert cloud.cancel(run) == ["scratch/rented: gave instance 701 back"]
    (tmp_path / "hold").unlink()
    until(lambda: not run.is_running())
    assert (market.instances, len(market.calls("create"))) == ({}, 1)


def test_nothing_typed_is_run_by_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hostile = ["x; touch y", "$(touch y)", "`touch y`", "'\"; touch y #", "a: b\n- c"]
    command = ("lmlab", "run", *hostile, "--name", "rented")
    add_program(tmp_path / "bin", "lmlab", STAND_IN)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    job = JOB.model_copy(update={"command": command, "environment": {"DEV_MODE": "x; touch y"}})
    task = yaml.safe_load(sky.render(job))
    for script in (task["run"], remote.start_script(job)):
        home = tmp_path / str(len(script))
        (home / "lmlab").mkdir(parents=True)
        environment = {"HOME": str(home), "PATH": path, "LMLAB_RUNS": str(home / "lmlab" / "runs")}
        subprocess.run(["sh", "-c", script], cwd=home, env=environment, check=True)
        written = home / "lmlab" / "runs" / "scratch" / "rented" / "arguments"
        until(written.exists)
        until(lambda written=written: written.read_text().endswith("--name\nrented\n"))
        assert written.read_text() == "\n".join([*command[1:], ""])
    assert list(tmp_path.rglob("y")) == []
    for gpu in ("H100 num_gpus=8; x", "$(touch y)", "--help"):
        with pytest.raises(ValueError, match="no name of a GPU"):
            make_job_of(f"launch.cloud.gpu='{gpu}'")
    with pytest.raises(ValueError, match="is no name for a run"):
        cloud.launch(
            load_preset("scratch/demo", [*VAST]),
            Options(name="x; touch y"),
            yes=True,
            dry_run=False,
            detach=True,
            say=lambda _: None,
        )


def test_the_start_script_leaves_the_exit_code_of_what_failed_first_at_every_start(tmp_path: Path):
    job = JOB.model_copy(update={"setup": ("echo installing", "exit 3", "touch never")})
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", remote.start_script(job)], env=environment, check=True)
    until((tmp_path / "lmlab" / "exit").exists)
    assert (tmp_path / "lmlab" / "exit").read_text() == "3\n"
    assert (tmp_path / "lmlab" / "log").read_text() == "installing\n"
    assert not (tmp_path / "lmlab" / "never").exists()
    # A machine that is started again has not ended because it once did.
    (tmp_path / "hold").touch()
    job = JOB.model_copy(update={"setup": ("while [ -e ../hold ]; do sleep 0.05; done", "exit 0")})
    subprocess.run(["sh", "-c", remote.start_script(job)], env=environment, check=True)
    assert not (tmp_path / "lmlab" / "exit").exists()
    (tmp_path / "hold").unlink()
    until((tmp_path / "lmlab" / "exit").exists)
    assert (tmp_path / "lmlab" / "exit").read_text() == "0\n"


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


def add_program(folder: Path, name: str, text: str) -> None:
    """An executable to be put first on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def started(market: Market, run: Run, job: Job) -> State:
    """The first machine, running its command, at second 10."""
    watcher.turn(run, job, NEW, now=0.0)
    market.set(701, actual_status="running")
    state = watcher.turn(run, job, NEW.model_copy(update={"machines": 1}), now=10.0)
    assert (state.state, state.instance, state.ran) == ("running", 701, True)
    return state.model_copy(update={"bid_usd_per_hour": 0.2})


def lose_all(market: Market) -> None:
    """Machines vanish."""
    with market.edit() as values:
        values["instances"] = {}


def leave_results(market: Market, number: int, *, exit_code: int | None) -> Path:
    """What a command leaves on its machine; the folder of the run there."""
    home = market.machine(number) / "lmlab"
    folder = home / "runs" / "scratch" / "rented"
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("{}\n")
    (home / "log").write_text("all is well\n")
    if exit_code is not None:
        (home / "exit").write_text(f"{exit_code}\n")
    return folder


def hold(market: Market, run: Run, tmp_path: Path) -> None:
    """Machines that come up, and a command on them that waits; of the run there is nothing yet."""
    run.cloud.rmdir()
    run.folder.rmdir()
    (tmp_path / "hold").touch()
    with market.edit() as values:
        values["boots"] = True


def start_command(*more: str) -> str:
    """What the command says in a process of its own, which ends well and before the machine."""
    done = subprocess.run(
        [sys.executable, "-m", "lmlab.cli", *COMMAND, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def leave_in_bucket(to: str, run: Run, tmp_path: Path) -> None:
    """What the run's machine would have mirrored."""
    there = Run(tmp_path / "there", run.study, run.name)
    there.folder.mkdir(parents=True)
    (there.folder / "results.jsonl").write_text("of the machine")
    Mirror(open_storage(to, endpoint_url=None), there).push()


def fetch_again(market: Market, run: Run) -> None:
    """Straight from the folder of the machine that was given back."""
    market.create(43, price=0.3, label=NEW.label, onstart="true")
    market.machine(702).rmdir()
    market.machine(701).rename(market.path.parent / "machine_702")
    market.set(702, actual_status="running")
    remote.remember(JOB, vast.Address("127.0.0.1", 20702), run)
    remote.fetch(JOB, run)


def unreachable(*_: Any) -> None:
    """Instead of a fetch."""
    raise remote.UnreachableError("ssh answered 255")


def make_job_of(*overrides: str, check: bool = False) -> Job:
    """The job of scratch/demo with settings."""
    resolved = load_preset("scratch/demo", overrides, dev=False)
    job = make_job(resolved, Options(), name="rented")
    if check:
        cloud._check(job, resolved.config.launch.cloud.provider)
    return job


def golden_job() -> Job:
    """Every key of a task file."""
    overrides = ("launch.cloud.gpu=A100", "launch.processes=2", "storage.to=s3://bucket/runs")
    limits = ("launch.cloud.max_usd_per_hour=1.5", "launch.setup=['export HF_HUB_OFFLINE=1']")
    return make_job_of(*overrides, *limits)


def files(folder: Path) -> list[Path]:
    """Every file below."""
    return [path for path in folder.rglob("*") if path.is_file()]


def read(path: Path) -> str:
    """Text of any file."""
    return path.read_bytes().decode(errors="replace")


def until(true: Callable[[], bool]) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def type_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["lmlab", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    return int(leaving.value.code or 0)
