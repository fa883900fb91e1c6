"""A run and its parts on disk. The only file that knows where things lie."""

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from lmlab.engine.lock import is_alive, read_holder
from lmlab.engine.preempt import Notice
from lmlab.engine.records import Record, read_records, write_records

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
MIRROR_STATE = "mirror.json"


@runtime_checkable
class Mirrors(Protocol):
    """What takes a run away from its machine, in the background (see `engine.mirroring`)."""

    def request(self) -> None:
        """The run's folder has changed; returns at once."""
        ...


@dataclass(frozen=True)
class Run:
    """`$LMLAB_RUNS/<study>/<name>/`; methods say what lies in it."""

    root: Path
    study: str
    name: str
    notice: Notice = field(default_factory=Notice, compare=False)
    mirror: Mirrors | None = field(default=None, compare=False)

    @property
    def folder(self) -> Path:
        """Where everything of the run lies."""
        return self.root / self.study / self.name

    @property
    def reference(self) -> str:
        """What people type to mean this run."""
        return f"{self.study}/{self.name}"

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def lock_path(self) -> Path:
        """The lock of whoever works on the run."""
        return self.folder / "lock"

    @property
    def cloud(self) -> Path:
        """What is rented for the run, and what watches it."""
        return self.folder / "cloud"

    @property
    def jobs_path(self) -> Path:
        """Which jobs of a cluster work on the run."""
        return self.folder / "jobs.json"

    @property
    def mirror_path(self) -> Path:
        """What this machine knows of the run's mirror: state, number, step, error."""
        return self.folder / MIRROR_STATE

    @property
    def report_path(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def notes_path(self) -> Path:
        """What people wrote about the run: {time, text} a line."""
        return self.folder / "notes.jsonl"

    @property
    def provenance(self) -> Path:
        """The texts behind the manifest's hashes: `<sha256>.diff`, `<sha256>.txt`."""
        return self.folder / "provenance"

    def part(self, name: str) -> "Part":
        """A training inside the run; its folder is made."""
        if not all(_NAME.fullmatch(piece) for piece in name.split("/")):
            raise ValueError(f"{name!r} is no name of a part of {self.reference}")
        part = Part(self, name)
        part.checkpoints.mkdir(parents=True, exist_ok=True)
        return part

    def parts(self) -> list["Part"]:
        """Every training that has begun."""
        begun = self.folder.glob("**/checkpoints")
        found = sorted(path for path in begun if self.folder / "redone" not in path.parents)
        return [Part(self, path.parent.relative_to(self.folder).as_posix()) for path in found]

    def results(self, name: str | None = None) -> "Results":
        """The result set of the run's own configuration, or of another evaluation by its hash."""
        return Results(self.folder if name is None else self.folder / "evaluations" / name)

    def all_results(self) -> list["Results"]:
        """The run's own result set first, then every other evaluation."""
        others = sorted((self.folder / "evaluations").glob("*"))
        return [self.results(), *(Results(one) for one in others)]

    def records(self) -> list[Record]:
        """Every record of the run, of every evaluation."""
        return [record for results in self.all_results() for record in results.records()]

    def manifest(self) -> dict[str, Any]:
        """What made the run: commit, command, versions, hardware, attempts."""
        return read_json(self.folder / "manifest.json")

    def fingerprints(self) -> dict[str, str]:
        """step -> fingerprint when the run was made; a file of the user's may differ since."""
        return self.manifest().get("fingerprints", {})

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Replace the manifest."""
        write_json(self.folder / "manifest.json", values)

    def status(self) -> dict[str, Any]:
        """step -> {state, fingerprint, times, host, attempt} under `steps`."""
        return read_json(self.folder / "status.json") or {"steps": {}}

    def forget_step(self, step: str, *, parts: Iterable[str]) -> None:
        """The step and its evaluations count as never done; its trainings are put aside."""
        with _alone(self.folder):
            status = self.status()
            for name, entry in status["steps"].items():
                if name.split("@")[0] == step:
                    status["steps"][name] = {"state": "pending", "attempt": entry["attempt"]}
            write_json(self.folder / "status.json", status)
        for name in parts:
            aside = self.folder / "redone" / f"{name}-{time.time_ns()}"
            if (self.folder / name).exists():
                aside.parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).rename(aside)

    def set_status(self, step: str, **values: Any) -> None:
        """Change what `status.json` says of a step."""
        with _alone(self.folder):
            status = self.status()
            status["steps"][step] = status["steps"].get(step, {}) | values
            status |= {"host": socket.gethostname(), "pid": os.getpid(), "updated": time.time()}
            write_json(self.folder / "status.json", status)

    def log_path(self, attempt: int) -> Path:
        """What one start of the run said."""
        path = self.folder / "logs" / f"{attempt}.log"
        path.parent.mkdir(exist_ok=True)
        return path

    def is_running(self) -> bool:
        """Whether a living process holds the run."""
        holder = read_holder(self.lock_path)
        return holder is not None and is_alive(self.lock_path, holder)


@dataclass(frozen=True)
class Part:
    """A training inside a run, with its own checkpoints and metrics."""

    run: Run
    name: str

    @property
    def folder(self) -> Path:
        """Where the part lies."""
        return self.run.folder / self.name

    @property
    def checkpoints(self) -> Path:
        """`step_00000500/` and so on."""
        return self.folder / "checkpoints"

    @property
    def decided_path(self) -> Path:
        """Precision, threads, micro-batch: what was decided at the training's start."""
        return self.folder / "decided.json"

    def has_checkpoint(self) -> bool:
        """Whether anything was ever saved."""
        return any(self.checkpoints.glob("step_*"))

    @property
    def metrics_path(self) -> Path:
        """One JSON object an event."""
        return self.folder / "metrics.jsonl"

    @property
    def system_path(self) -> Path:
        """What the machine did meanwhile."""
        return self.folder / "system.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "tensorboard"

    def of_rank(self, rank: int) -> "Part":
        """Where another process than the main one keeps its metrics and figures."""
        own = Part(self.run, f"{self.name}/rank_{rank}")
        own.folder.mkdir(parents=True, exist_ok=True)
        return own

    def status(self) -> dict[str, Any]:
        """State, step, total, last save, attempt."""
        return read_json(self.folder / "status.json")

    def write_status(self, values: Mapping[str, Any]) -> None:
        """Replace the part's status."""
        write_json(self.folder / "status.json", values)


@dataclass(frozen=True)
class Results:
    """A set of records, the items behind them, and the files made from them."""

    folder: Path

    def records(self) -> list[Record]:
        """All records of the set."""
        return read_records(self.folder / "results.jsonl")

    def replace(self, step: str, records: Iterable[Record]) -> None:
        """The records of `step` become these; a step that runs twice leaves one set, not two."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder):
            kept = [record for record in self.records() if record.step != step]
            write_records(self.folder / "results.jsonl", [*kept, *records])

    def items_path(self, name: str) -> Path:
        """The items of one metric (see `engine.items`)."""
        path = self.folder / "items" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def export(self, name: str) -> Path:
        """A file in the form that somebody else reads."""
        path = self.folder / "exports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def runs_root() -> Path:
    """LMLAB_RUNS, else `runs/` here."""
    return Path(os.environ.get("LMLAB_RUNS", "runs")).resolve()


def cache_folder() -> Path:
    """LMLAB_CACHE, else the user's cache: what was measured of this machine."""
    folder = Path(os.environ.get("LMLAB_CACHE", "~/.cache/lmlab")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sweep_folder(name: str) -> Path:
    """Where a sweep keeps its table, its summary, and what its cells said."""
    folder = runs_root() / "sweeps" / check_name(name)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder


def find_runs(study: str | None = None) -> list[Run]:
    """Every run, the newest first."""
    found = runs_root().glob(f"{study or '*'}/*/config.yaml")
    whole = [path for path in found if not path.parent.name.startswith(".")]
    newest = sorted(whole, key=lambda path: path.parent.stat().st_ctime_ns, reverse=True)
    by_start = sorted(newest, key=_created, reverse=True)
    return [Run(runs_root(), path.parent.parent.name, path.parent.name) for path in by_start]


def create_run(
    study: str,
    name: str,
    *,
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    unique: bool,
) -> Run:
    """Make a run with its configuration and manifest; with `unique` a taken name gets a number.

    It is made under another name and renamed: a run that exists is whole, wherever this is killed.
    """
    check_name(name)
    made = runs_root() / study / f".new-{uuid.uuid4().hex}"
    made.mkdir(parents=True)
    write_text(made / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    write_json(made / "manifest.json", manifest)
    for attempt in range(1, 1000):
        run = Run(runs_root(), study, name if attempt == 1 else f"{name}-{attempt}")
        try:
            made.rename(run.folder)
        except OSError as error:
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
            if taken and unique:
                continue
            shutil.rmtree(made)
            why = "exists already" if taken else f"cannot be made: {error.strerror}"
            raise ValueError(f"{run.folder} {why}; take another name") from None
        else:
            return run
    raise AssertionError("a thousand runs of one name in one second")


def check_name(name: str) -> str:
    """The name itself. Raises ValueError for what is no plain folder name, such as `../x`."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} is no name for a run: letters, digits, '.', '_' and '-' only, "
            "beginning with a letter or digit, at most 120"
        )
    return name


def default_name(data: str, model: str, special: str, *, now: datetime | None = None) -> str:
    """`{data}_{model}_{what is special}_{UTC seconds}`."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    pieces = [
        re.sub(r"[^A-Za-z0-9.-]+", "-", piece).strip("-.") for piece in (data, model, special)
    ]
    return "_".join([*filter(None, pieces), moment])


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Written whole under a temporary name, then renamed."""
    write_text(path, json.dumps(values, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Written whole under a temporary name, then renamed: a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Plain values of a file; empty where there is none. Raises ValueError for what is no JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); it was cut or edited") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; it was edited")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time reads a file and writes it anew: phases that run at once share some."""
    with (folder / ".guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _created(path: Path) -> float:
    """When the run was made: its manifest says, since folders change their times when copied."""
    try:
        return float(read_json(path.parent / "manifest.json")["created"])
    except (ValueError, TypeError, KeyError):
        # None, or damaged: `lmlab status` says so, and the other runs are found all the same.
        return path.stat().st_mtime
