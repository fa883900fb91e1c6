"""One process a run: the living are respected, the dead are followed at once."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from lmlab.engine import lock
from lmlab.engine.lock import Holder, RunIsBusyError, locked, read_holder

HOLD = """
import sys
from pathlib import Path
from lmlab.engine.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_inside_and_gone_after(tmp_path: Path):
    path = tmp_path / "lock"
    with locked(path):
        holder = read_holder(path)
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
    assert read_holder(path) is None
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert read_holder(path) is None


def test_a_second_living_process_is_refused_and_named_and_a_killed_one_followed(tmp_path: Path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(RunIsBusyError, match=rf"by process {child.pid} on "), locked(path):
            pass
        holder = read_holder(path)
        assert holder is not None
        assert holder.pid == child.pid
        child.kill()
        child.wait()
        with locked(path):
            assert _pid(path) == os.getpid()


def test_a_process_id_in_use_again_is_no_holder(tmp_path: Path):
    path = tmp_path / "lock"
    started = psutil.Process().create_time()
    _write(path, pid=os.getpid(), started=started - 500)
    with locked(path):
        assert _pid(path) == os.getpid()
    _write(path, pid=os.getpid(), started=started)
    with pytest.raises(RunIsBusyError), locked(path):
        pass


def test_on_another_host_the_heartbeat_decides(tmp_path: Path):
    path = tmp_path / "lock"
    _write(path, host="elsewhere", pid=1)
    _age(path, 59)
    with pytest.raises(RunIsBusyError, match="process 1 on elsewhere"), locked(path):
        pass
    _age(path, 61)
    with locked(path):
        assert _pid(path) == os.getpid()


def test_a_lock_file_without_sense_is_taken_over(tmp_path: Path):
    path = tmp_path / "lock"
    for text in ("", "{", "{}"):
        path.write_text(text)
        with locked(path):
            assert _pid(path) == os.getpid()


def test_of_racing_takers_of_a_dead_lock_exactly_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    judge = lock.is_alive

    def slowly(path: Path, holder: Holder) -> bool:
        alive = judge(path, holder)
        time.sleep(0.002 * (threading.get_ident() % 3))
        return alive

    monkeypatch.setattr(lock, "is_alive", slowly)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "lock"
        _write(path, host="elsewhere", pid=1)
        _age(path, 61)
        assert _race(path, takers=4) == 1
        assert not list(folder.glob("lock.*[!d]"))


def test_the_heartbeat_keeps_a_lock_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    path = tmp_path / "lock"
    with locked(path):
        _age(path, 50)
        _wait_until(lambda: time.time() - path.stat().st_mtime < 10)


def test_a_process_whose_lock_was_taken_over_leaves_and_writes_no_more(tmp_path: Path):
    path = tmp_path / "lock"
    quick = HOLD.replace(
        "with locked", "import lmlab.engine.lock as l; l.HEARTBEAT_SECONDS = 0.01\nwith locked"
    )
    with subprocess.Popen(
        [sys.executable, "-c", quick, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        _write(path, host="elsewhere", pid=1)
        assert child.wait(timeout=10) == lock.EXIT_LOST
    assert _pid(path) == 1  # another's lock is not removed


def _race(path: Path, *, takers: int) -> int:
    won: list[int] = []
    start, done = threading.Barrier(takers), threading.Barrier(takers)

    def take(number: int) -> None:
        with ExitStack() as held:
            start.wait()
            try:
                held.enter_context(locked(path))
                won.append(number)
            except RunIsBusyError:
                pass
            done.wait()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won)


def _write(path: Path, *, pid: int, host: str | None = None, started: float = 0.0) -> None:
    holder = Holder(host=host or socket.gethostname(), pid=pid, started=started, token="t")
    path.write_text(json.dumps(asdict(holder)))


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def _pid(path: Path) -> int:
    holder = read_holder(path)
    assert holder is not None
    return holder.pid


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
