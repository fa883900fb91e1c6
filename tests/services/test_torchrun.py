"""Two processes on one machine: the loss of one, the state of each, and how they end together."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny
import toys

from lmlab.engine import checkpoint
from lmlab.engine.lock import read_holder
from lmlab.engine.preempt import EXIT_CODE
from lmlab.engine.run import Part, Run
from lmlab.engine.weights import weights_hash

pytestmark = pytest.mark.torchrun

SCRIPT = Path(__file__).parents[1] / "spread_toys.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.parametrize(
    ("objective", "shard"),
    [
        ("quiet", "none"),
        ("pairs", "none"),
        ("label", "none"),
        ("quiet", "zero2"),
        ("quiet", "zero3"),
    ],
)
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path, objective: str, shard: str):
    alone = train(tmp_path / "one", "--objective", objective, "--micro", "8", processes=1)
    for micro in ("1", "4"):
        together = train(
            tmp_path / micro, "--objective", objective, "--micro", micro, "--shard", shard
        )
        assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
        assert tokens(together) == tokens(alone), "units are counted over both processes"
        assert samples(together) == samples(alone)
        assert norms(together) == pytest.approx(norms(alone), rel=1e-4)


def test_what_is_unfrozen_in_mid_training_is_trained_by_both(tmp_path: Path):
    freeze = ("--objective", "label", "--freeze", '{"tower.inner": 6}')
    alone = train(tmp_path / "one", *freeze, "--micro", "8", processes=1)
    together = train(tmp_path / "two", *freeze, "--micro", "4")
    assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
    assert norms(together) == pytest.approx(norms(alone), rel=1e-4)


@pytest.mark.parametrize("shard", ["none", "zero3"])
def test_a_killed_process_ends_both_and_the_same_command_ends_as_an_unbroken_run(
    tmp_path: Path, shard: str
):
    unbroken = train(tmp_path / "unbroken", "--shard", shard)
    killed = start(tmp_path / "killed", "--shard", shard, "--die", "1:SIGKILL@21")
    assert killed.returncode != 0
    assert "exitcode  : -9" in killed.stderr
    resumed = train(tmp_path / "killed", "--shard", shard)
    assert toys.differences(unbroken, resumed) == set()
    for name in ("rng_1.safetensors", "state_1.json"):
        assert_same_file(unbroken, resumed, name)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_notice_to_one_process_stops_both_at_one_step(tmp_path: Path, rank: int):
    part = toys.make_part(tmp_path / "stopped")
    start(tmp_path / "stopped", "--die", f"{rank}:SIGTERM@13")
    stopped = part.status()
    assert stopped["state"] == part.of_rank(1).status()["state"] == "preempted"
    assert stopped["step"] == part.of_rank(1).status()["step"] == stopped["last_saved"]
    unbroken = train(tmp_path / "unbroken")
    assert toys.differences(unbroken, train(tmp_path / "stopped")) == set()


def test_each_process_gets_its_own_random_numbers_back(tmp_path: Path):
    part = train(tmp_path)
    newest = checkpoint.find(part.checkpoints, "last")
    first, second = (checkpoint.load(newest, rank=rank) for rank in (0, 1))
    assert set(first.tensors["rng"]) == set(second.tensors["rng"])
    unequal = {k for k, v in first.tensors["rng"].items() if not v.equal(second.tensors["rng"][k])}
    assert unequal == {"torch", "numpy", "generator"}
    assert weights_hash(first.tensors["model"]) == weights_hash(second.tensors["model"])


def test_a_sharded_checkpoint_is_whole_where_it_is_read(tmp_path: Path):
    part = train(tmp_path, "--objective", "quiet", "--shard", "zero3")
    newest = checkpoint.find(part.checkpoints, "last")
    assert len(list(newest.glob("model-0000?-of-00002.safetensors"))) == 2
    snapshot = checkpoint.load(newest)
    assert snapshot.tensors["model"]["tower.narrow.weight"].shape == (1, 8)
    assert snapshot.tensors["optimizer"]["tower.embed.weight/exp_avg"].shape == (toys.VOCAB, 8)
    assert weights_hash(snapshot.tensors["model"]) == snapshot.identity["weights"]


def test_another_number_of_processes_is_refused(tmp_path: Path):
    train(tmp_path)
    alone = start(tmp_path, processes=1)
    assert alone.returncode != 0
    assert "by 2 processes" in alone.stderr


def test_the_command_stops_goes_on_and_names_the_process_that_died(tmp_path: Path):
    command = ("run", tiny.PRESET, *tiny.OVERRIDES, "pretrain.max_steps=200")
    command = (*command, "launch.processes=2", "--on", "torchrun", "--name", "two")
    run = Run(tmp_path / "runs", "scratch", "two")
    stopped = begin(command, run, until_saved=3)
    stopped.send_signal(signal.SIGTERM)
    said, _ = stopped.communicate(timeout=120)
    assert stopped.returncode == EXIT_CODE, said
    saved = Part(run, "pretrain").status()["last_saved"]
    assert f"SIGTERM at step {saved}" in run.status()["steps"]["pretrain"]["error"]

    killed = begin(command, run, until_saved=saved + 3)
    holder = read_holder(run.lock_path)
    assert holder is not None
    siblings = psutil.Process(holder.pid).parent().children()
    (second,) = (one for one in siblings if one.environ().get("RANK") == "1")
    second.kill()
    said, _ = killed.communicate(timeout=120)
    assert killed.returncode == 1
    assert "process 1 was the first to end, by SIGKILL" in said

    ended = tiny.start(*command, runs=run.root)
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 0, said
    unbroken = tiny.start(*command, runs=tmp_path / "unbroken")
    unbroken.communicate(timeout=120)
    last = "pretrain/checkpoints/step_00000200/"
    files = tuple(last + name for name in ("model", "optimizer", "rng"))
    found = tiny.contents(run.folder, *files)
    assert len(found) == 4
    assert found == tiny.contents(tmp_path / "unbroken" / "scratch" / "two", *files)


def begin(command: tuple[str, ...], run: Run, *, until_saved: int) -> subprocess.Popen[str]:
    """The command, once it has saved that far."""
    process = tiny.start(*command, runs=run.root)
    deadline = time.monotonic() + 120
    part = Part(run, "pretrain")
    while part.status().get("last_saved", 0) < until_saved or read_holder(run.lock_path) is None:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def train(folder: Path, *arguments: str, processes: int = 2) -> Part:
    """A training that ends well."""
    done = start(folder, *arguments, processes=processes)
    assert done.returncode == 0, done.stderr
    return toys.make_part(folder)


def start(folder: Path, *arguments: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """A training by torchrun, or without it for one process."""
    launcher = TORCHRUN if processes == 2 else ()
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rows(part: Part) -> list[dict[str, Any]]:
    """The training rows of metrics.jsonl."""
    read = [json.loads(line) for line in part.metrics_path.read_text().splitlines()]
    return [row for row in read if "train/loss" in row]


def losses(part: Part) -> list[float]:
    """Loss of each step."""
    return [row["train/loss"] for row in rows(part)]


def norms(part: Part) -> list[float]:
    """Gradient norm of each step."""
    return [row["train/grad_norm"] for row in rows(part)]


def tokens(part: Part) -> list[int]:
    """Units so far at each step."""
    return [row["tokens"] for row in rows(part)]


def samples(part: Part) -> int:
    """Samples that the whole training saw."""
    saved = checkpoint.find(part.checkpoints, "last") / "state.json"
    return json.loads(saved.read_text())["counters"]["samples"]


def assert_same_file(one: Part, other: Part, name: str) -> None:
    """Equal bytes in the two newest checkpoints."""
    a, b = (checkpoint.find(part.checkpoints, "last") / name for part in (one, other))
    if name.endswith(".json"):
        left, right = (json.loads(path.read_text()) for path in (a, b))
        # Time stamps vary in length, and with them the offset of equal rows.
        assert {**left, "metrics_offset": 0} == {**right, "metrics_offset": 0}
    else:
        assert a.read_bytes() == b.read_bytes()
