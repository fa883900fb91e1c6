"""Anybody's results become a run: records, and the items that paired tests need.

`lmlab import FILE|FOLDER` chooses its reader by what is in the file, not by its name. The records
are `imported`; their weights are unknown unless a folder of them is named.
"""

import hashlib
import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmlab.engine.items import write_items
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Run, check_name, create_run, find_runs
from lmlab.evidence.imported import import_csv, import_inspect, import_lm_eval
from lmlab.evidence.imported.series import DataKind, Found, Options, Score, Series
from lmlab.evidence.imported.stored_weights import stored_weights_hash
from lmlab.metrics.stats import Interval, clustered_bootstrap, rate_interval

STEP = "import"
DRAWS = 10_000
_ZIP = b"PK\x03\x04"
_NEITHER = "neither results of lm-eval nor a log of inspect"


@dataclass(frozen=True)
class Imported:
    """The run, whether it was made just now, and what a reader of its numbers must know."""

    run: Run
    new: bool
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For the terminal."""
        records = self.run.records()
        failed = sum(record.n_error for record in records)
        if not self.new:
            return [f"{self.run.reference} was imported before; nothing changed"]
        return [
            f"{self.run.reference}: {len(records)} records, {failed} items without a score",
            *(f"note: {note}" for note in self.notes),
            f"{self.run.folder}",
        ]


def import_results(path: Path, options: Options) -> Imported:
    """Make a run of a file or folder of results; the same file again changes nothing.

    Raises ValueError, in one line and with the line's number where there is one, for what cannot
    be read as results of lm-eval, inspect_ai or a csv.
    """
    check_name(options.study)
    found = read_results(path, options)
    _check_series(found, path)
    weights = _weights(found, options)
    identity = _identity(found, options, weights)
    before = _imported_before(identity, options)
    if before is not None and before.status()["steps"].get(STEP, {}).get("state") == "done":
        return Imported(before, new=False, notes=found.notes)
    run = before or _create(path, found, options, identity)
    _fill(run, found, options, weights)
    return Imported(run, new=True, notes=found.notes)


def read_results(path: Path, options: Options) -> Found:
    """Everything in the file or folder, by the reader that knows its content."""
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if path.is_dir():
        return _read_folder(path, options)
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise ValueError(f"{path} is empty")
    if start == _ZIP:
        return import_inspect.read_inspect([import_inspect.open_log(path)], options)
    if start[:1] in b"{[":
        return _read_json(path, options)
    if not import_csv.is_csv(_first_line(path)):
        raise ValueError(f"{path} is {_NEITHER}, nor a csv with a header")
    return import_csv.read_csv(path, options)


def _read_json(path: Path, options: Options) -> Found:
    if import_lm_eval.holds_samples(path):
        raise ValueError(
            f"{path} holds the samples alone; name its results_*.json, or the folder of both"
        )
    content = _parse(path)
    if import_lm_eval.is_results(content):
        results = import_lm_eval.Results(path, content)
        return import_lm_eval.read_lm_eval([results], path.parent, options)
    if import_inspect.is_log(content):
        return import_inspect.read_inspect([import_inspect.log_of(content, path)], options)
    raise ValueError(f"{path} is JSON, but {_NEITHER}")


def _read_folder(folder: Path, options: Options) -> Found:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parsed = [(path, _parse(path)) for path in files if path.suffix == ".json"]
    results = [import_lm_eval.Results(*one) for one in parsed if import_lm_eval.is_results(one[1])]
    logs = [
        import_inspect.log_of(text, path) for path, text in parsed if import_inspect.is_log(text)
    ]
    logs += [import_inspect.open_log(path) for path in files if _is_zip(path)]
    if results and logs:
        raise ValueError(f"{folder} holds results of lm-eval and logs of inspect; name one of them")
    if results:
        return import_lm_eval.read_lm_eval(results, folder, options)
    if logs:
        return import_inspect.read_inspect(logs, options)
    names = ", ".join(path.name for path in files[:5]) or "nothing"
    raise ValueError(
        f"{folder} holds neither results of lm-eval nor logs of inspect (it has {names}); "
        "a csv is named by itself"
    )


def _check_series(found: Found, path: Path) -> None:
    if not found.series:
        raise ValueError(f"{path} has no scores")
    twice = [key for key, count in Counter(one.key for one in found.series).items() if count > 1]
    if twice:
        arm, metric, _, at = twice[0]
        raise ValueError(
            f"{path} has {metric} of {arm} at {at} twice, from different files; name one of them"
        )
    for one in found.series:
        if one.value is None:
            first = next((score.error for score in one.scores if score.error), "no items")
            raise ValueError(
                f"{path}: no item of {one.arm} has a number as {one.metric} (the first: {first})"
            )


def _weights(found: Found, options: Options) -> dict[str, str]:
    if options.weights is None:
        return {}
    arms = {one.arm for one in found.series}
    if len(arms) > 1:
        raise ValueError(f"--weights is for one arm; there are {', '.join(sorted(arms))}")
    return {"model": stored_weights_hash(options.weights)}


def _identity(found: Found, options: Options, weights: Mapping[str, str]) -> str:
    """Of the files and of all that changes the records; the run's name does not."""
    said = {k: str(v) for k, v in asdict(options).items() if k not in ("name", "weights")}
    text = json.dumps([dict(found.files), said, dict(weights)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _imported_before(identity: str, options: Options) -> Run | None:
    """The run of the same files, under the name that was asked for. Raises for a name taken."""
    runs = find_runs(options.study)
    if options.name is not None:
        runs = [run for run in runs if run.name == check_name(options.name)]
    for run in runs:
        if run.manifest().get("import", {}).get("identity") == identity:
            return run
    if options.name is not None and runs:
        raise ValueError(f"{runs[0].reference} exists and is of other results; take another name")
    return None


def _create(path: Path, found: Found, options: Options, identity: str) -> Run:
    source = {
        "kind": found.kind,
        "identity": identity,
        "files": dict(found.files),
        "facts": dict(found.facts),
        "notes": list(found.notes),
    }
    said = {k: v for k, v in asdict(options).items() if v is not None and k != "weights"}
    config = {"study": options.study, "import": {"file": path.name, "kind": found.kind, **said}}
    about = {
        **code_state(),
        "command": command_line(),
        # No preset made it, so no command that needs one (run, eval) finds one.
        "preset": "imported",
        "question": f"What do the results in {path.name} ({found.kind}) show?",
        "created": time.time(),
        "dev": False,
        "overrides": [],
        "fingerprints": {},
        "attempts": [],
        "import": source,
    }
    name = options.name or _slug(found.title)
    return create_run(
        options.study, name, config=config, manifest=about, unique=options.name is None
    )


def _fill(run: Run, found: Found, options: Options, weights: Mapping[str, str]) -> None:
    """Items first: a run that has records has the items behind them."""
    started = time.time()
    run.set_status(STEP, state="running", started=started, attempt=1, error=None)
    by_metric: dict[str, list[Item]] = {}
    for one in found.series:
        by_metric.setdefault(one.item_metric or one.metric, []).extend(_items(one))
    names = _file_names(list(by_metric))
    for metric, items in by_metric.items():
        if items:
            write_items(run.results().items_path(names[metric]), items)
    records = [
        _record(one, run, weights=weights, data_kind=options.data_kind) for one in found.series
    ]
    run.results().replace(STEP, records)
    took = round(time.time() - started, 3)
    run.set_status(STEP, state="done", finished=time.time(), seconds=took)


def _items(series: Series) -> Iterator[Item]:
    for score in series.scores if series.whole is None else ():
        yield Item(
            part=STEP,
            arm=series.arm,
            at=series.at,
            metric=series.item_metric or series.metric,
            item_id=score.item_id,
            cluster_id=score.cluster_id,
            seed=series.seed,
            value=score.value,
            weight=score.weight,
            error=score.error,
        )


def _record(series: Series, run: Run, *, weights: Mapping[str, str], data_kind: DataKind) -> Record:
    manifest = run.manifest()
    value, interval = series.value, _interval(series)
    good = sum(score.value is not None for score in series.scores)
    assert value is not None
    return Record(
        study=run.study,
        run=run.reference,
        part=STEP,
        step=STEP,
        training_step=None,
        arm=series.arm,
        at=series.at,
        metric=series.metric,
        unit="1",
        better=series.better,
        value=value,
        n=good if series.whole is None else series.whole[1],
        n_error=len(series.scores) - good if series.whole is None else 0,
        interval=None if interval is None else (interval.low, interval.high),
        interval_method=None if interval is None else interval.method,
        protocol=series.protocol,
        data=series.data,
        data_kind=data_kind,
        weights=weights,
        imported=True,
        seed=series.seed,
        dev=False,
        command=shlex.join(manifest["command"]),
        commit=manifest["commit"],
    )


def _interval(series: Series) -> Interval | None:
    """Of a rate of independent items the exact or Wilson's; else clusters are drawn again."""
    good = [score for score in series.scores if score.value is not None]
    clusters = [score.cluster_id for score in good]
    if series.whole is not None:
        return None
    if len(set(clusters)) == len(good) and all(_is_binary(score) for score in good):
        return rate_interval(sum(score.value == 1 for score in good), len(good))
    if len(set(clusters)) < 2:
        return None
    found = clustered_bootstrap(
        np.array([score.value for score in good], np.float64),
        np.array([score.weight for score in good], np.float64),
        np.array(clusters),
        draws=DRAWS,
        generator=np.random.default_rng(series.seed),
    ).interval
    if not series.exponential:
        return found
    return Interval(float(np.exp(found.low)), float(np.exp(found.high)), f"exp of {found.method}")


def _is_binary(score: Score) -> bool:
    return score.value in (0.0, 1.0) and score.weight == 1.0


def _file_names(metrics: Sequence[str]) -> dict[str, str]:
    """A plain and distinct file name for each metric, whatever it is called."""
    names: dict[str, str] = {}
    for metric in metrics:
        name = _slug(metric)
        taken = name in names.values()
        mark = hashlib.sha256(metric.encode()).hexdigest()[:8]
        names[metric] = f"{name}-{mark}" if taken else name
    return names


def _slug(text: str) -> str:
    """A name for a folder or file of anybody's text."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return re.sub(r"\.{2,}", ".", plain)[:100] or "results"


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON ({error}); it was cut or edited") from None


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline()


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ZIP
