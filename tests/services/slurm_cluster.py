"""A SLURM of our own for the tests: real daemons on loopback, thrown away at the end.

Two nodes on this host with pretended GPUs, two partitions of which `high` takes what `low` runs on,
no accounting. It needs Debian's slurmctld, slurmd, slurm-client and munge (`make services`), and
neither systemd nor cgroups.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
START_SECONDS = 30
# Whatever becomes of the tests, no daemon outlives this.
LIFETIME_SECONDS = 1800

_CONFIGURATION = """\
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits before it starts again: 5 is the least, 120
# the default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PropagateResourceLimits=NONE
# The nodes may claim more than this host has.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[1]} CPUs=4 RealMemory=8000 Gres=gpu:2
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[2]} CPUs=4 RealMemory=8000 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def running_cluster() -> Iterator[dict[str, str]]:
    """Start it; yields the environment that makes SLURM's commands speak to it."""
    with ExitStack() as stack:
        # Not pytest's folder: a socket's path may have 107 letters.
        folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        environment = {"SLURM_CONF": str(_configure(folder))}
        stack.enter_context(_daemon("munged", *_munge(folder), environment=environment))
        wait_until((folder / "munge.socket").exists, what="munged")
        stack.enter_context(_daemon("slurmctld", "-D", "-i", "-c", environment=environment))
        for node in NODES:
            stack.enter_context(_daemon("slurmd", "-D", "-c", "-N", node, environment=environment))
        wait_until(lambda: _idle(environment) == len(NODES), what="the nodes")
        stack.callback(_end_every_job, environment)
        yield environment


def wait_until(
    holds: Callable[[], bool], *, what: str, seconds: float = START_SECONDS, every: float = 0.1
) -> None:
    """Look again and again until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(every)


def _configure(folder: Path) -> Path:
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    # No device is opened: SLURM only looks whether the file is there.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    path = folder / "slurm.conf"
    values = {"folder": folder, "host": _host(), "user": getpass.getuser(), "ports": _free_ports(3)}
    path.write_text(_CONFIGURATION.format(**values))
    return path


def _munge(folder: Path) -> list[str]:
    places = {
        "key-file": "munge.key",
        "socket": "munge.socket",
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "munge.seed",
    }
    return ["-F", "--force", *(f"--{name}={folder / place}" for name, place in places.items())]


@contextmanager
def _daemon(program: str, *arguments: str, environment: dict[str, str]) -> Iterator[None]:
    """A daemon in the foreground of a child process, which `timeout` ends at the latest."""
    path = _program(program)
    assert path is not None
    process = subprocess.Popen(
        ["timeout", "--kill-after=10", str(LIFETIME_SECONDS), path, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_every_job(environment: dict[str, str]) -> None:
    """Nothing may start any more, so that no job that asks for its requeue outlives its daemons."""
    every = os.environ | environment
    for partition in ("low", "high"):
        closing = ["scontrol", "update", f"PartitionName={partition}", "State=INACTIVE"]
        subprocess.run(closing, env=every, check=True, timeout=30)
    subprocess.run(["scancel", "--full", "--me"], env=every, check=True, timeout=30)
    working = ["squeue", "--noheader", "--states=RUNNING,COMPLETING"]
    wait_until(lambda: not _say(working, environment), what="the jobs to end")


def _idle(environment: dict[str, str]) -> int:
    return _say(["sinfo", "-h", "-N", "-p", "low", "-o", "%T"], environment).split().count("idle")


def _say(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=30
    )
    return done.stdout


def _program(name: str) -> str | None:
    """Its path; Debian's daemons lie where an ordinary PATH does not look."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
