"""W&B gets the numbers of metrics.jsonl, keeps its run, and may be down."""

import http.server
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from lmlab.engine import boards
from lmlab.engine.checkpoint import checkpoints
from lmlab.engine.run import Part, Run, read_json
from lmlab.engine.schema import WandbConfig
from lmlab.engine.tracker import Tracker

TWO_STEPS = """
import sys
from pathlib import Path
from lmlab.engine import boards
from lmlab.engine.run import Run
from lmlab.engine.schema import WandbConfig
from lmlab.engine.tracker import Tracker

boards._START_SECONDS = boards._FINISH_SECONDS = 2.0
part = Run(Path(sys.argv[1]), "toy", "run").part("train")
online = WandbConfig(project="lmlab")
tracking = Tracker(part, offset=0, step=0, tensorboard=False, wandb=online)
tracking.log({"train/loss": 0.5}, step=1)
print("first step", flush=True)
sys.stdin.readline()
tracking.log({"train/loss": 0.25}, step=2)
tracking.close()
"""
# As long as a real one; it opens nothing.
KEY = "0123456789" * 4
COMMAND = ("run", tiny.PRESET, *tiny.OVERRIDES, "pretrain.max_steps=90", "--name", "tiny")
PATIENCE_SECONDS = 60


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """A training that begins."""
    return Run(tmp_path, "toy", "run").part("train")


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    """What of W&B's server a run needs to begin, on this machine."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving
    stop(serving)


def test_a_killed_and_resumed_training_is_one_run_with_the_numbers_of_metrics_jsonl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    run = Run(tmp_path, "scratch", "tiny")
    part = Part(run, "pretrain")
    arguments = (*COMMAND, "tracker.wandb={project: lmlab, mode: offline}")
    process = tiny.start(*arguments, runs=tmp_path)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not checkpoints(part.checkpoints):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    process = tiny.start(*arguments, runs=tmp_path)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said

    begun = read_json(part.folder / "wandb.json")
    assert begun["project"] == "lmlab"
    paths = sorted(part.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert [path.name for path in paths] == [f"run-{begun['id']}.wandb"] * 2
    first, second = (history(path) for path in paths)
    expected: dict[int, dict[str, float]] = {}
    for line in part.metrics_path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected.setdefault(row["step"], {}).update(numbers(row))
    assert {step: numbers(row) for step, row in (first | second).items()} == expected
    assert min(second) > 3, "it went on, and did not begin again"
    leaked = [path for path in tmp_path.rglob("*") if path.is_file() and KEY in text(path)]
    assert not leaked


def test_it_gets_the_configuration_of_the_run_after_a_resume_too(part: Part):
    settings = {"study": "toy", "train": {"betas": [0.9, 0.99], "path": None}, "seed": 3}
    part.run.config_path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    for _ in range(2):
        write(part, WandbConfig(project="lmlab", mode="offline"))
    paths = list(part.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert paths
    assert all(configuration(path) == settings for path in paths)


def test_a_run_id_from_elsewhere_is_continued(part: Part):
    given = WandbConfig(project="lmlab", mode="offline", id="begun-elsewhere")
    write(part, given)
    assert read_json(part.folder / "wandb.json")["id"] == "begun-elsewhere"
    write(part, WandbConfig(project="lmlab", mode="offline"))
    paths = part.folder.glob("wandb/offline-run-*/run-*.wandb")
    assert {path.name for path in paths} == {"run-begun-elsewhere.wandb"}


def test_without_the_package_it_says_what_to_install(part: Part, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'lmlab\[wandb\]'"):
        boards.Wandb(part, WandbConfig(project="lmlab"))


def test_a_server_that_is_down_at_the_start_is_a_warning(
    part: Part, server: http.server.HTTPServer
):
    stop(server)
    process = begin(part, server)
    said, _ = process.communicate("go on\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert steps(part) == [1, 2]
    assert "W&B is off: " in said


def test_a_server_that_goes_down_later_holds_nobody_up(part: Part, server: http.server.HTTPServer):
    process = begin(part, server)
    assert process.stdout is not None
    assert "first step\n" in iter(process.stdout.readline, "")
    stop(server)
    said, _ = process.communicate("go on\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert steps(part) == [1, 2]
    assert "W&B is incomplete: not all was sent in 2 s" in said


def begin(part: Part, server: http.server.HTTPServer) -> subprocess.Popen[str]:
    """Two steps in a process of its own: wandb reads where its server is once a process."""
    address = f"http://127.0.0.1:{server.server_port}"
    given = {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}
    return subprocess.Popen(
        [sys.executable, "-c", TWO_STEPS, str(part.run.root)],
        env=os.environ | given,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop(server: http.server.HTTPServer) -> None:
    """It answers no more, and its port is closed."""
    server.shutdown()
    server.server_close()


def write(part: Part, wandb: WandbConfig) -> None:
    """Three steps."""
    tracking = Tracker(part, offset=0, step=0, tensorboard=False, wandb=wandb)
    for step in (1, 2, 3):
        tracking.log({"train/loss": 0.5 / step}, step=step)
    tracking.close()


def steps(part: Part) -> list[int]:
    """Of metrics.jsonl."""
    return [json.loads(line)["step"] for line in part.metrics_path.read_text().splitlines()]


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """What was measured of the model; how long it took differs."""
    return {key: row[key] for key in row if "/" in key}


def text(path: Path) -> str:
    """Whatever the bytes are."""
    return path.read_bytes().decode("latin-1")


def history(path: Path) -> dict[int, dict[str, Any]]:
    """step -> numbers, of an offline run."""
    found: dict[int, dict[str, Any]] = {}
    for record in _records(path, "history"):
        items = record.history.item
        row = {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in items}
        found[row["_step"]] = row
    return found


def configuration(path: Path) -> dict[str, Any]:
    """key -> value of an offline run, without what wandb itself adds."""
    updates = [one for record in _records(path, "run") for one in record.run.config.update]
    found = {one.key: json.loads(one.value_json) for one in updates}
    return {key: value for key, value in found.items() if key != "_wandb"}


def _records(path: Path, kind: str) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    for content in _log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") == kind:
            yield record


def _log_records(data: bytes) -> Iterator[bytes]:
    """A LevelDB log: blocks of 32 KiB; a record has a head of 7 bytes, and may be cut in pieces."""
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if (room := 32768 - at % 32768) < 7:
            at += room
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        # 1 is a whole record, 2 a first piece, 3 a middle one, 4 the last.
        if kind in (1, 4) and at <= len(data):
            yield whole
            whole = b""


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        asked = self.rfile.read(size)
        project = {"id": "cA==", "name": "lmlab", "entity": {"id": "ZQ==", "name": "me"}}
        bucket = {"id": "Yg==", "name": "run", "config": "{}", "project": project}
        answer: dict[str, Any] = {"data": {}}
        if b"RunResumeStatus" in asked:
            answer = {"data": {"model": project | {"bucket": None}}}
        elif b"UpsertBucket" in asked:
            answer = {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        written = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""
