"""Stop a run wherever it works: its jobs, what is rented for it, its process on this machine."""

import os
import signal
import socket

from lmlab.engine.lock import is_alive, read_holder
from lmlab.engine.run import Run
from lmlab.launch import cloud, slurm


def cancel(run: Run) -> list[str]:
    """What was stopped, in lines; the same `lmlab run` goes on from the last save.

    Raises ValueError where nothing works on the run, or a process of another machine does.
    """
    done = slurm.cancel(run)
    if run.cloud.exists():
        done += cloud.cancel(run)
    return done or [_stop_process(run)]


def _stop_process(run: Run) -> str:
    holder = read_holder(run.lock_path)
    if holder is None or not is_alive(run.lock_path, holder):
        raise ValueError(f"{run.reference} is not running: there is nothing to cancel")
    if holder.host != socket.gethostname():
        raise ValueError(f"{run.reference} runs on {holder.host}: cancel it there")
    os.kill(holder.pid, signal.SIGTERM)
    return f"asked process {holder.pid} to save and stop"
