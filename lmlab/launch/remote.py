"""The inside of a rented machine: the script that it starts with, and ssh to look and to fetch.

Everything lies in `~/lmlab` there: `runs/`, `log` (what the installation and the command said) and,
once the command has ended, `exit` (its exit code).
"""

import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lmlab.engine.run import Run, write_text
from lmlab.launch.job import Job
from lmlab.launch.vast import Address

CALL_SECONDS = 60
CONNECT = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")
# Of this side: what the machine says about itself must not replace them.
OURS = ("cloud", "lock")


class UnreachableError(RuntimeError):
    """ssh did not get through."""


def start_script(job: Job) -> str:
    """What the machine runs at every start; at the second one the run resumes.

    In the background, since ssh may only come up when the script has ended.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    lines = [
        "cd && mkdir -p lmlab && cd lmlab || exit 1",
        "rm -f exit",
        'export LMLAB_RUNS="$PWD/runs"',
        *exports,
        "{",
        "(",
        "set -e",
        *job.setup,
        job.shell_command,
        ") > log 2>&1",
        "echo $? > exit.new; mv exit.new exit",
        "} &",
    ]
    return "\n".join(lines) + "\n"


def host_name(job: Job) -> str:
    """What the machine is called in an ssh configuration."""
    return f"lmlab-{job.study}-{job.name}"


def host_block(job: Job, address: Address, run: Run) -> str:
    """The lines for ~/.ssh/config: with them `ssh`, rsync and an editor's Remote-SSH find it.

    Machines come and go under one address, so their keys are remembered for this run alone.
    """
    known = str(run.cloud / "known_hosts").replace("%", "%%")
    lines = [
        f"Host {host_name(job)}",
        f"    HostName {address.host}",
        f"    Port {address.port}",
        "    User root",
        "    StrictHostKeyChecking accept-new",
        f'    UserKnownHostsFile "{known}"',
    ]
    return "\n".join(lines) + "\n"


def remember(job: Job, address: Address, run: Run) -> None:
    """Keep the Host block as `cloud/ssh_config`; another address is another machine."""
    block = host_block(job, address, run)
    path = _config(run)
    if not path.exists() or path.read_text(encoding="utf-8") != block:
        (run.cloud / "known_hosts").unlink(missing_ok=True)
        write_text(path, block)


def exit_code(job: Job, run: Run) -> int | None:
    """What the command ended with; None while it runs. Raises UnreachableError."""
    try:
        done = subprocess.run(
            _ssh(job, run, "cat lmlab/exit 2>/dev/null || echo running"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"no answer within {CALL_SECONDS} s") from None
    if done.returncode != 0:
        raise UnreachableError(done.stderr.strip() or f"ssh answered {done.returncode}")
    # Logins may greet: the answer is the last word.
    said = done.stdout.split()[-1:]
    return int(said[0]) if said and said[0].isdigit() else None


def fetch(job: Job, run: Run) -> None:
    """Copy the run's folder here, and the machine's log to `cloud/machine.log`."""
    folder = shlex.quote(f"lmlab/runs/{job.study}/{job.name}")
    packed = f"mkdir -p {folder} && tar -C {folder} -cf - ."
    with _answer(job, run, packed) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        # `data` refuses links and paths that lead out of the folder.
        archive.extractall(run.folder, members=_theirs(archive), filter="data")
    with _answer(job, run, "cat lmlab/log") as stream:
        (run.cloud / "machine.log").write_bytes(stream.read())


def _theirs(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if Path(member.name).parts[:1] not in [(name,) for name in OURS]:
            yield member


@contextmanager
def _answer(job: Job, run: Run, command: str) -> Iterator[IO[bytes]]:
    """What a command on the machine writes. Raises UnreachableError where it did not end well."""
    process = subprocess.Popen(
        _ssh(job, run, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    except tarfile.TarError as error:
        raise UnreachableError(f"what came cannot be unpacked: {error}") from None
    finally:
        process.stdout.close()
        code = process.wait()
    if code != 0:
        raise UnreachableError(f"ssh answered {code}")


def _ssh(job: Job, run: Run, command: str) -> list[str]:
    return ["ssh", "-F", str(_config(run)), *CONNECT, host_name(job), command]


def _config(run: Run) -> Path:
    return run.cloud / "ssh_config"
