"""The reproduction kit: a folder, and an archive of it, that make a run's numbers again elsewhere.

It holds configurations, code, pinned versions, commands, records and the tables made of them, and
neither secrets nor the user's own paths (`cleaning`). The same run gives the same bytes.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lmlab.engine.provenance import ROOT
from lmlab.engine.records import Record, write_records
from lmlab.engine.references import resolve
from lmlab.engine.run import Results, Run, find_runs, read_json, runs_root, write_json, write_text
from lmlab.evidence.gates.grammar import GATES
from lmlab.evidence.overview import read_entry
from lmlab.evidence.pages.judged import read_judged
from lmlab.evidence.pages.table_files import gate_sheets, record_sheets, write_sheets
from lmlab.evidence.reproduction.cleaning import PRIVATE, Cleaner, make_cleaner
from lmlab.evidence.reproduction.rerun import Rerun, plan_rerun
from lmlab.evidence.reproduction.texts import readme, reproduce_script

# Beyond this the items of a run are left out, and its README says so.
ITEMS_BYTES = 20 * 2**20
_MANIFEST = ("preset", "question", "seed", "dev", "created", "fingerprints", "import")
_ATTEMPT = (
    "started", "commit", "diff_sha256", "environment_sha256", "python", "system", "cpu_count",
    "processor", "gpus", "versions",
)  # fmt: skip
_STEP = ("state", "seconds", "attempt", "fingerprint")
_COMPARE = Path(__file__).parent / "templates" / "kit_compare.py"


@dataclass(frozen=True)
class Kit:
    """Where it lies, and what is not in it."""

    folder: Path
    archive: Path
    warnings: tuple[str, ...]


def make_kit(reference: str, *, to: Path) -> Kit:
    """The kit of a run, or of every finished run of a study, in `to`.

    Raises ValueError where there is nothing to make again, where a kit lies there already, and
    where something would leave this machine that must not.
    """
    runs, name = _chosen(reference)
    folder = to / name
    archive = to / f"{name}.tar.gz"
    for path in (folder, archive):
        if path.exists():
            raise ValueError(f"{path} exists; take it away, or name another folder with --to")
    made = to / f".{name}.new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        studies = [] if "/" in reference else [reference]
        warnings = _fill(made, runs, studies, make_cleaner())
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _pack(folder, archive)
    return Kit(folder, archive, tuple(warnings))


def _chosen(reference: str) -> tuple[list[Run], str]:
    if "/" in reference:
        run = resolve(reference, finished=False).run
        if not run.records():
            raise ValueError(f"{run.reference} has no records yet: there is nothing to reproduce")
        return [run], f"kit_{run.study}_{run.name}"
    runs = [run for run in find_runs(reference) if read_entry(run).state == "done"]
    if not runs:
        raise ValueError(f"no finished run of a study {reference!r} in {runs_root()}")
    return sorted(runs, key=lambda run: run.reference), f"kit_{reference}"


def _fill(folder: Path, runs: Sequence[Run], studies: Sequence[str], cleaner: Cleaner) -> list[str]:
    warnings: list[str] = []
    reruns = [plan_rerun(run, cleaner) for run in runs]
    for run in runs:
        to = folder / "runs" / run.study / run.name
        warnings += _copy_run(run, to, cleaner)
        warnings += _copy_judged(run.folder, folder, to, cleaner)
    for rerun in reruns:
        warnings += _copy_sources(rerun, folder)
    for study in studies:
        to = folder / "runs" / study
        warnings += _copy_judged(runs_root() / study, folder, to, cleaner)
    records = [record for run in runs for record in _clean_records(run.records(), cleaner)]
    write_sheets(record_sheets(records), folder / "tables")
    shutil.copyfile(_COMPARE, folder / "compare.py")
    _write(folder / "reproduce.sh", reproduce_script(reruns))
    (folder / "reproduce.sh").chmod(0o755)
    _write(folder / "README.md", readme(reruns, records, warnings))
    for path in _files(folder):
        where = path.relative_to(folder).as_posix()
        cleaner.refuse(path.read_bytes(), where=where, published=path.suffix == ".tar")
    _write(folder / "SHA256SUMS", "".join(_sums(folder)))
    return warnings


def _copy_run(run: Run, to: Path, cleaner: Cleaner) -> Iterator[str]:
    """What a reader and `compare.py` need of a run; says what was left out."""
    to.mkdir(parents=True)
    config = yaml.safe_load(run.config_path.read_text(encoding="utf-8"))
    shown = {key: value for key, value in config.items() if key not in PRIVATE}
    _write(to / "config.yaml", yaml.safe_dump(cleaner.values(shown), sort_keys=False))
    write_json(to / "manifest.json", _manifest(run.manifest(), cleaner))
    steps = {name: _only(step, _STEP) for name, step in run.status()["steps"].items()}
    write_json(to / "status.json", {"steps": steps})
    for part in run.parts():
        if part.decided_path.exists():
            (to / part.name).mkdir(parents=True)
            shutil.copyfile(part.decided_path, to / part.name / "decided.json")
    for results in run.all_results():
        yield from _copy_results(results, to / results.folder.relative_to(run.folder), run, cleaner)


def _copy_results(results: Results, to: Path, run: Run, cleaner: Cleaner) -> Iterator[str]:
    to.mkdir(parents=True, exist_ok=True)
    write_records(to / "results.jsonl", _clean_records(results.records(), cleaner))
    items = sorted(results.folder.glob("items/*.parquet"))
    size = sum(path.stat().st_size for path in items)
    if size > ITEMS_BYTES:
        yield f"{run.reference}: its {size / 1e6:.0f} MB of items were left out"
        return
    for path in items:
        (to / "items").mkdir(exist_ok=True)
        _copy_items(path, to / "items" / path.name, cleaner)


def _copy_items(path: Path, to: Path, cleaner: Cleaner) -> None:
    """Byte for byte where nothing has to be cleaned: gates name these files by their hash."""
    found = pd.read_parquet(path)
    clean = found.copy()
    for name in (one for one in found if pd.api.types.is_string_dtype(found[one])):
        clean[name] = found[name].map(cleaner.text, na_action="ignore")
    if clean.equals(found):
        shutil.copyfile(path, to)
    else:
        clean.to_parquet(to)


def _copy_judged(folder: Path, kit: Path, to: Path, cleaner: Cleaner) -> Iterator[str]:
    """Gates and decision as they were judged, the gates as tables, and the file that states them.

    Gates of somebody's own file are named by their judgements alone, and that is said.
    """
    for name in ("gates.json", "decision.json"):
        if (folder / name).exists():
            values = cleaner.values(json.loads((folder / name).read_text(encoding="utf-8")))
            _write(to / name, json.dumps(values, indent=1, sort_keys=True) + "\n")
    sheets = gate_sheets(read_judged(to, records=(), said=[]))
    if not sheets:
        return
    write_sheets(sheets, to / "tables")
    stated = read_json(to / "gates.json").get("gates_sha256")
    found = [path for path in GATES.glob("*.yaml") if _sha256(path) == stated]
    for path in found:
        _write(kit / "gates" / path.name, path.read_text(encoding="utf-8"))
    if not found:
        yield f"{to.relative_to(kit)}: its gate file is none of lmlab's own and is not here"


def _copy_sources(rerun: Rerun, folder: Path) -> Iterator[str]:
    """The archive of the commit, what was changed since it, and the pinned versions."""
    yield from (f"{rerun.reference}: {said}" for said in (rerun.why_not, rerun.note) if said)
    if not rerun.commands:
        return
    archive = folder / "code" / f"{rerun.commit}.tar"
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        done = subprocess.run(
            ["git", "archive", "--format=tar", "-o", str(archive.resolve()), rerun.commit],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ValueError(
                f"the code of {rerun.reference}, commit {rerun.commit[:12]}, is not in {ROOT}; "
                f"make its kit in a checkout that has it ({done.stderr.strip()})"
            )
    kept = {f"environment/{rerun.environment}.txt"}
    kept |= {f"code/{rerun.diff}.diff"} if rerun.diff else set()
    for path in (folder / name for name in kept):
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(rerun.run.provenance / path.name, path)


def _manifest(manifest: dict[str, Any], cleaner: Cleaner) -> dict[str, Any]:
    """Only what is known to be harmless: hosts, commands and what later versions add stay here."""
    attempts = [
        _only(one, _ATTEMPT) | {"overrides": cleaner.arguments(one.get("overrides", []))}
        for one in manifest.get("attempts", [])
    ]
    found = _only(manifest, _MANIFEST) | {
        "overrides": cleaner.arguments(manifest.get("overrides", [])),
        "attempts": attempts,
    }
    return cleaner.values(found)


def _clean_records(records: Sequence[Record], cleaner: Cleaner) -> list[Record]:
    """A command that says too much is cut; the number and its identity stay."""
    return [
        replace(one, command=cleaner.command(one.command), protocol=cleaner.values(one.protocol))
        for one in records
    ]


def _only(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sums(folder: Path) -> Iterator[str]:
    for path in _files(folder):
        yield f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pack(folder: Path, archive: Path) -> None:
    """Sorted, without times and owners: equal contents are equal bytes."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _files(folder):
            info = tar.gettarinfo(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if path.suffix == ".sh" else 0o644
            with path.open("rb") as content:
                tar.addfile(info, content)
