"""What the starts of a run said: each start and each job of SLURM's has a file of its own."""

from collections.abc import Iterator
from pathlib import Path

from lmlab.engine.run import Run, read_json


def follow(run: Run) -> Iterator[str]:
    """What the newest start said; then, each turn, what is new, of later starts and jobs too.

    Raises ValueError where none has said anything.
    """
    logs = _logs(run)
    if not logs:
        raise ValueError(f"{run.reference} has no log yet: lmlab status {run.reference} says why")
    newest = logs[-1]
    read = {path: path.stat().st_size for path in logs} | {newest: 0}
    while True:
        # The other kind of file says the same.
        alike = [path for path in _logs(run) if path.suffix == newest.suffix]
        yield "".join(_new(path, read) for path in alike)


def _new(path: Path, read: dict[Path, int]) -> str:
    with path.open("rb") as file:
        file.seek(read.get(path, 0))
        text = file.read()
        read[path] = file.tell()
    return text.decode(errors="replace")


def _logs(run: Run) -> list[Path]:
    """The oldest first."""
    own = run.folder / "logs"
    found = [*own.glob("*.log"), *own.glob("slurm-*.out")]
    # A sweep's array has its files beside the sweep.
    for job in {entry["job_id"] for entry in read_json(run.jobs_path).values()}:
        found += (run.root / "sweeps").glob(f"*/logs/slurm-{job}.out")
    return sorted(found, key=_age)


def _age(path: Path) -> tuple[int, bool, int]:
    """A job's file has every line of its start's own file a moment later, and a crash besides."""
    written = path.stat().st_mtime_ns
    return written // 10**9, path.suffix == ".out", written
