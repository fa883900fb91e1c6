"""Logs of inspect_ai, as .json or as .eval (a zip of JSON files), read without the package.

A sample run several times (epochs) is one cluster. What was never scored is an error, and so is a
score that is neither a number nor inspect's C, I, P, N, yes or no.
"""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lmlab.engine.presets import nearest
from lmlab.evidence.imported.series import (
    Found,
    Options,
    Score,
    Series,
    digest,
    direction,
    file_hash,
)

_WORDS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
# A member of a zip compressed with zstd, which Python's own zipfile reads from 3.14 on.
_ZSTD = 93


@dataclass(frozen=True)
class Log:
    """One evaluation: its header, and of each sample what is needed of it."""

    path: Path
    header: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]
    reductions: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class _Scorer:
    """What the results say of a scorer, or of one key of a scorer with several."""

    name: str
    scorer: str
    reducer: str | None
    metric: str
    stated: float | None
    params: Mapping[str, Any]


def is_log(content: object) -> bool:
    """Whether a parsed file is a log of inspect."""
    return isinstance(content, dict) and {"eval", "status", "version"} <= content.keys()


def log_of(content: Mapping[str, Any], path: Path) -> Log:
    """The log that a .json file holds."""
    samples = tuple(_short(sample) for sample in content.get("samples") or ())
    reductions = content.get("reductions") or ()
    return _checked(Log(path, content, samples, tuple(reductions)))


def open_log(path: Path) -> Log:
    """The log that an .eval file holds. Raises ValueError for any other or a damaged zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                known = (
                    "an unfinished log of inspect" if "_journal/start.json" in names else "a zip"
                )
                raise ValueError(f"{path.name} is {known}, no whole log: it has no header.json")
            header = _member(archive, "header.json")
            found = [name for name in names if name.startswith("samples/")]
            samples = tuple(_short(_member(archive, name)) for name in found)
            reduced = _member(archive, "reductions.json") if "reductions.json" in names else ()
    except (zipfile.BadZipFile, json.JSONDecodeError, EOFError) as error:
        raise ValueError(f"{path.name} is damaged ({error}); copy it again") from None
    return _checked(Log(path, header, samples, tuple(reduced)))


def read_inspect(logs: Sequence[Log], options: Options) -> Found:
    """Scores of every scorer of every log."""
    models = sorted({_model(log) for log in logs})
    if options.arm is not None and len(models) > 1:
        raise ValueError(f"these logs are of {len(models)} models, so --arm cannot name one")
    series = [one for log in logs for one in _log_series(log, options)]
    names = sorted({one.metric for one in series})
    if options.metric is not None and options.metric not in names:
        raise ValueError(
            f"no metric {options.metric!r} in these logs{nearest(options.metric, names)}"
        )
    tasks = sorted({str(log.header["eval"]["task"]) for log in logs})
    return Found(
        "inspect",
        "_".join([*models, *tasks[:1]]),
        tuple(one for one in series if options.metric in (None, one.metric)),
        {log.path.name: file_hash(log.path) for log in logs},
        facts={log.path.name: _facts(log) for log in logs},
        notes=tuple(
            f"{log.path.name}: {len(log.samples)} of {_total(log)} samples are in the log"
            for log in logs
            if len(log.samples) != _total(log)
        ),
    )


def _checked(log: Log) -> Log:
    status, name = log.header["status"], log.path.name
    if status != "success":
        said = (log.header.get("error") or {}).get("message", "no reason given")
        raise ValueError(f"{name} ended with status {status!r} ({said}); that is no result yet")
    if not log.samples:
        raise ValueError(f"{name} has no samples; run inspect with log_samples on")
    return log


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    info = archive.getinfo(name)
    if info.compress_type != _ZSTD:
        return json.loads(archive.read(name))
    assert archive.fp is not None
    archive.fp.seek(info.header_offset + 26)
    name_length, extra_length = (int.from_bytes(archive.fp.read(2), "little") for _ in range(2))
    archive.fp.seek(name_length + extra_length, 1)
    packed = pa.BufferReader(archive.fp.read(info.compress_size))
    try:
        return json.loads(pa.CompressedInputStream(packed, "zstd").read())
    except OSError as error:
        raise zipfile.BadZipFile(str(error)) from None


def _short(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Without the conversation, which may be megabytes; its question and target as hashes."""
    return {
        "id": str(sample["id"]),
        "epoch": int(sample.get("epoch", 1)),
        "prompt": digest([sample.get("input")]),
        "target": digest([sample.get("target")]),
        "scores": sample.get("scores") or {},
        "error": _message(sample),
    }


def _message(sample: Mapping[str, Any]) -> str | None:
    if sample.get("error"):
        return str(sample["error"].get("message", "failed")).split("\n", 1)[0]
    return "invalidated" if sample.get("invalidation") else None


def _log_series(log: Log, options: Options) -> Iterator[Series]:
    spec = log.header["eval"]
    for scorer in _scorers(log):
        scores = _reduced(log, scorer) if _needs_reduction(scorer) else _scores(log, scorer)
        at = {"task": str(spec["task"]), "scorer": scorer.name}
        series = Series(
            arm=options.arm or _model(log),
            at=at | ({"reducer": scorer.reducer} if scorer.reducer else {}),
            metric=scorer.metric,
            better=direction(scorer.metric, options.better),
            protocol=_protocol(log, scorer),
            data={str(spec["dataset"].get("name") or spec["task"]): _data(log)},
            seed=int(_generation(log).get("seed") or 0),
            scores=scores,
        )
        yield _verified(series, scorer, log)


def _scorers(log: Log) -> list[_Scorer]:
    stated = (log.header.get("results") or {}).get("scores") or []
    if not stated:
        raise ValueError(f"{log.path.name} has no results: nothing was scored")
    return [_scorer(entry) for entry in stated]


def _scorer(entry: Mapping[str, Any]) -> _Scorer:
    metrics = entry.get("metrics") or {}
    named = next((name for name in ("accuracy", "mean") if name in metrics), None)
    return _Scorer(
        name=str(entry["name"]),
        scorer=str(entry.get("scorer") or entry["name"]),
        reducer=entry.get("reducer"),
        metric=named or "mean",
        stated=None if named is None else metrics[named]["value"],
        params=entry.get("params") or {},
    )


def _needs_reduction(scorer: _Scorer) -> bool:
    """Any reducer but the mean makes another number of a sample's epochs than their mean."""
    return scorer.reducer not in (None, "mean")


def _scores(log: Log, scorer: _Scorer) -> tuple[Score, ...]:
    epochs = len({sample["epoch"] for sample in log.samples})
    found, seen = [], set()
    for sample in log.samples:
        item = sample["id"] if epochs == 1 else f"{sample['id']}#{sample['epoch']}"
        if item in seen:
            raise ValueError(f"{log.path.name} has sample {item} twice")
        seen.add(item)
        value, error = _value(_score_of(sample["scores"], scorer))
        error = sample["error"] or error
        found.append(Score(item, sample["id"], None if error else value, error=error))
    return tuple(found)


def _reduced(log: Log, scorer: _Scorer) -> tuple[Score, ...]:
    for entry in log.reductions:
        if entry["scorer"] in (scorer.name, scorer.scorer) and entry["reducer"] == scorer.reducer:
            read = [
                (str(one["sample_id"]), *_value(_key_of(one, scorer))) for one in entry["samples"]
            ]
            return tuple(Score(item, item, value, error=error) for item, value, error in read)
    raise ValueError(
        f"{log.path.name} lacks the reductions of {scorer.name} by {scorer.reducer}, "
        "so its items are unknown"
    )


def _score_of(scores: Mapping[str, Any], scorer: _Scorer) -> Any:
    entry = scores.get(scorer.name, scores.get(scorer.scorer))
    return None if entry is None else _key_of(entry, scorer)


def _key_of(entry: Mapping[str, Any], scorer: _Scorer) -> Any:
    """A scorer may give several values under keys; each has results of its own."""
    value = entry.get("value")
    return value.get(scorer.name) if isinstance(value, dict) else value


def _value(raw: Any) -> tuple[float | None, str | None]:
    """As inspect's own value_to_float, except that what it reads as a silent 0 is an error."""
    if raw is None:
        return None, "not scored"
    if isinstance(raw, str):
        word = _WORDS.get(raw, _WORDS.get(raw.lower()) if len(raw) > 1 else None)
        if word is not None:
            return word, None
    try:
        number = float(raw)
    except (TypeError, ValueError):
        return None, f"score {json.dumps(raw)[:60]} is no number"
    return (number, None) if math.isfinite(number) else (None, "unscored")


def _verified(series: Series, scorer: _Scorer, log: Log) -> Series:
    """The results state the same number, unless items failed (inspect counts some of them as 0)."""
    value, whole = series.value, all(score.error is None for score in series.scores)
    if value is None or scorer.stated is None or not whole:
        return series
    if not math.isclose(value, scorer.stated, rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError(
            f"{log.path.name}: {scorer.name} is {scorer.stated} in the results and {value} by the "
            "samples; one of them was edited, or samples are missing"
        )
    return series


def _protocol(log: Log, scorer: _Scorer) -> dict[str, Any]:
    spec, plan = log.header["eval"], log.header.get("plan") or {}
    dataset = spec.get("dataset") or {}
    return {
        "harness": f"inspect_ai {(spec.get('packages') or {}).get('inspect_ai', '')}".strip(),
        "task": spec["task"],
        "task_version": spec.get("task_version"),
        "task_args": spec.get("task_args") or {},
        "dataset": dataset.get("name"),
        "solver": [
            {"solver": step["solver"], "params": step.get("params") or {}}
            for step in plan.get("steps") or ()
        ],
        "scorer": scorer.scorer,
        "scorer_params": scorer.params,
        "reducer": scorer.reducer,
        "epochs": (spec.get("config") or {}).get("epochs") or 1,
        "generation": {k: v for k, v in _generation(log).items() if k != "seed"},
        "prompts": digest((one["id"], one["prompt"]) for one in log.samples if one["epoch"] == 1),
    }


def _generation(log: Log) -> dict[str, Any]:
    """Temperature and the like; connections and retries change no answer."""
    plan = (log.header.get("plan") or {}).get("config") or {}
    given = (log.header["eval"].get("model_generate_config") or {}) | plan
    about_traffic = {"max_retries", "timeout", "max_connections", "attempt_timeout", "batch"}
    return {k: v for k, v in given.items() if v is not None and k not in about_traffic}


def _data(log: Log) -> str:
    return digest((one["id"], one["prompt"], one["target"]) for one in log.samples)


def _model(log: Log) -> str:
    return str(log.header["eval"]["model"])


def _total(log: Log) -> int:
    return int((log.header.get("results") or {}).get("total_samples") or len(log.samples))


def _facts(log: Log) -> dict[str, Any]:
    spec = log.header["eval"]
    return {
        name: spec[name] for name in ("model", "created", "revision", "packages") if name in spec
    }
