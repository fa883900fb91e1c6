"""What `lm_eval --log_samples` wrote (0.4.13): results_*.json, and samples_*.jsonl beside it.

A samples file belongs to its task by its name, or by the hash that the results state; a file that
was cut or edited is refused, since the results state how many documents there were, the hash of
them all, and the mean.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmlab.engine.presets import nearest
from lmlab.evidence.imported.series import (
    Better,
    Found,
    Options,
    Score,
    Series,
    digest,
    direction,
    file_hash,
)

# metric -> what its items are called, the unit they are divided by, and whether exp is taken.
_LOG_LIKELIHOODS = {
    "word_perplexity": ("nll_per_word", 1.0, True),
    "byte_perplexity": ("nll_per_byte", 1.0, True),
    "bits_per_byte": (None, math.log(2), False),
    "perplexity": ("nll", 1.0, True),
}
_MEANS = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "likelihood"}
# Which model and where it ran: what differs between two arms, not how they were measured.
_MODEL_ARGUMENTS = {
    "pretrained", "peft", "delta", "model", "path", "engine", "tokenizer", "revision", "subfolder",
    "dtype", "device", "device_map_option", "parallelize", "trust_remote_code", "batch_size",
    "max_batch_size", "cache_dir", "offload_folder", "base_url", "num_concurrent", "max_retries",
    "tensor_parallel_size", "data_parallel_size", "gpu_memory_utilization", "api_key",
    "load_in_4bit", "load_in_8bit", "autogptq", "gptqmodel", "use_fast_tokenizer", "seed",
}  # fmt: skip
_TASK_FIELDS = ("dataset_path", "dataset_name", "output_type", "num_fewshot", "generation_kwargs")
_RESULT_FIELDS = ("chat_template_sha", "system_instruction_sha", "fewshot_as_multiturn")
_FACTS = ("model_name", "transformers_version", "git_hash", "date")
_MODEL_FACTS = ("model_sha", "model_revision", "model_dtype", "model_num_parameters", "device")


@dataclass(frozen=True)
class Results:
    """One results_*.json, parsed."""

    path: Path
    content: Mapping[str, Any]

    @property
    def stamp(self) -> str:
        """The time in the name, which its samples have too."""
        return self.path.stem.rpartition("_")[2]

    @property
    def tasks(self) -> list[str]:
        """Leaf tasks; groups are means of these and have no samples."""
        return list(self.content["configs"])

    @property
    def model(self) -> str:
        """As lm-eval names it; of a path on somebody's disk the last piece."""
        name = str(self.content.get("model_name") or "model")
        return Path(name).name if name.startswith(("/", ".", "~")) else name


@dataclass(frozen=True)
class _Samples:
    """The documents of one task, without their texts; `lines` counts from 1."""

    path: Path
    rows: tuple[tuple[int, Mapping[str, Any]], ...]

    @property
    def cumulated(self) -> str:
        """lm-eval's own hash over all of a task's documents, prompts and targets."""
        keys = ("doc_hash", "prompt_hash", "target_hash")
        text = "".join(str(row.get(key, "")) for _, row in self.rows for key in keys)
        return hashlib.sha256(text.encode()).hexdigest()


def is_results(content: object) -> bool:
    """Whether a parsed file is lm-eval's results."""
    return isinstance(content, dict) and {"results", "configs", "n-shot"} <= content.keys()


def holds_samples(path: Path) -> bool:
    """Whether a file begins with one of lm-eval's samples."""
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            return _is_sample(json.loads(file.readline()))
        except json.JSONDecodeError:
            return False


def read_lm_eval(found: Sequence[Results], folder: Path, options: Options) -> Found:
    """Scores of every task, filter and metric of every results file, from samples in `folder`."""
    models = {one.model for one in found}
    if options.arm is not None and len(models) > 1:
        raise ValueError(f"{folder} holds {len(models)} models, so --arm cannot name one")
    samples = _sample_files(found, folder)
    read = [_read_samples(path) for path in samples]
    series: list[Series] = []
    notes: list[str] = []
    for results in found:
        for task in results.tasks:
            chosen = _samples_of(task, results, read)
            series += _task_series(task, results, chosen, options, notes)
    series = _of_metric(series, options.metric)
    used = [*(one.path for one in found), *samples]
    names = sorted(models)
    return Found(
        "lm-eval",
        f"{'_'.join(names)}_{found[0].tasks[0]}" if len(found[0].tasks) == 1 else "_".join(names),
        tuple(series),
        {path.name: file_hash(path) for path in used},
        facts={one.model: _facts(one) for one in found},
        notes=tuple(notes),
    )


def _is_sample(content: object) -> bool:
    return isinstance(content, dict) and {"doc_id", "doc_hash", "filter"} <= content.keys()


def _sample_files(found: Sequence[Results], folder: Path) -> list[Path]:
    """Those with the time stamp of the results in their name; where these were renamed, all."""
    files = sorted(folder.rglob("*.jsonl"))
    stamps = tuple(f"_{one.stamp}.jsonl" for one in found)
    return [one for one in files if one.name.endswith(stamps)] or [
        one for one in files if holds_samples(one)
    ]


def _read_samples(path: Path) -> _Samples:
    rows, seen = [], {}
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            row = _parse(text, f"{path.name}, line {line}")
            if not _is_sample(row):
                raise ValueError(f"{path.name}, line {line} is no sample of lm-eval")
            key = (row["doc_id"], row["filter"])
            if key in seen:
                raise ValueError(
                    f"{path.name}, line {line} scores document {key[0]} (filter {key[1]}) again; "
                    f"it stands in line {seen[key]}"
                )
            seen[key] = line
            for name in ("doc", "arguments", "resps", "filtered_resps"):
                row.pop(name, None)
            rows.append((line, row))
    return _Samples(path, tuple(rows))


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON ({error.msg}); the file was cut or edited") from None


def _samples_of(task: str, results: Results, read: Sequence[_Samples]) -> _Samples:
    """By name, else by hash. Raises ValueError where they are missing, cut or edited."""
    stated = results.content.get("task_hashes", {}).get(task)
    named = [one for one in read if one.path.name == f"samples_{task}_{results.stamp}.jsonl"]
    chosen = named or [one for one in read if stated is not None and one.cumulated == stated]
    if not chosen:
        raise ValueError(
            f"{results.path.name} has no samples of task {task} beside it; "
            "run lm_eval with --log_samples"
        )
    samples = chosen[0]
    scored = len({row["doc_id"] for _, row in samples.rows})
    expected = results.content.get("n-samples", {}).get(task, {}).get("effective", scored)
    if scored != expected:
        raise ValueError(
            f"{samples.path.name} has {scored} documents and {results.path.name} scored {expected}"
            "; the file was cut or edited"
        )
    if stated is not None and samples.cumulated != stated:
        raise ValueError(
            f"{samples.path.name} is not what {results.path.name} was made from: the hash of its "
            "documents differs"
        )
    return samples


def _task_series(
    task: str, results: Results, samples: _Samples, options: Options, notes: list[str]
) -> list[Series]:
    series = []
    for key, stated in results.content["results"][task].items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        rows = [(line, row) for line, row in samples.rows if row["filter"] == filter_name]
        if metric == "bypass" or not rows:
            notes.append(f"{task}: {key} has no scores and was left out")
            continue
        at = {"task": task} | ({} if filter_name == "none" else {"filter": filter_name})
        base = Series(
            arm=options.arm or results.model,
            at=at,
            metric=metric,
            better=_better(metric, task, results, options.better),
            protocol=_protocol(task, filter_name, results, rows),
            data={
                task: digest((r["doc_id"], r["doc_hash"], r.get("target_hash")) for _, r in rows)
            },
            seed=int(results.content.get("config", {}).get("random_seed") or 0),
        )
        series.append(_scored(base, rows, stated, _aggregation(metric, task, results), notes))
    return series


def _scored(
    base: Series,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
    stated: object,
    aggregation: str | None,
    notes: list[str],
) -> Series:
    """With items where they give the number that the results state, else with that number alone."""
    metric, where = base.metric, f"{base.at['task']}: {base.metric}"
    item_metric, unit, exponential = _LOG_LIKELIHOODS.get(metric, (None, 1.0, False))
    scores = tuple(_score(row, metric, unit) for _, row in rows)
    made = replace(base, scores=scores, item_metric=item_metric, exponential=exponential)
    value, said = made.value, _number(stated)
    if value is not None and (
        said is None or math.isclose(value, said, rel_tol=1e-6, abs_tol=1e-9)
    ):
        return made
    if said is None:
        raise ValueError(f"{where} has no number, neither in its samples nor in the results")
    if value is not None and (aggregation == "mean" or metric in _LOG_LIKELIHOODS):
        raise ValueError(
            f"{where} is {said} in the results and {value} by the samples; one of them was edited"
        )
    notes.append(f"{where} is no mean of its items: imported as one number, without items")
    return replace(base, whole=(said, len(rows)))


def _score(row: Mapping[str, Any], metric: str, unit: float) -> Score:
    item = f"{row['doc_id']}"
    raw = row.get(metric)
    value, weight = raw, 1.0
    if metric in _LOG_LIKELIHOODS:
        pair = raw if isinstance(raw, list) and len(raw) == 2 else [raw, 1.0]
        likelihood, count = _number(pair[0]), _number(pair[1])
        value = None if likelihood is None else -likelihood / unit
        weight = 1.0 if count is None else count
    number = _number(value)
    if number is None:
        return Score(item, item, None, weight, error=f"{metric} is {json.dumps(raw)[:60]}")
    return Score(item, item, number, weight)


def _number(value: object) -> float | None:
    """lm-eval writes numpy's float32 and bool as text."""
    if value in ("True", "False"):
        return float(value == "True")
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _protocol(
    task: str,
    filter_name: str,
    results: Results,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
) -> dict[str, Any]:
    content = results.content
    config = content["configs"][task]
    run = content.get("config", {})
    protocol = {
        "harness": f"lm-eval {content.get('lm_eval_version', '')}".strip(),
        "task": task,
        "task_version": content.get("versions", {}).get(task),
        "split": config.get("test_split") or config.get("validation_split"),
        "filter": filter_name,
        "prompts": digest((row["doc_id"], row.get("prompt_hash")) for _, row in rows),
    }
    protocol |= {name: config.get(name) for name in _TASK_FIELDS}
    protocol |= {name: content.get(name) for name in _RESULT_FIELDS}
    protocol["dataset"] = config.get("dataset_name") or config.get("dataset_path")
    given = _arguments(run.get("model_args"))
    protocol["model_args"] = {k: v for k, v in given.items() if k not in _MODEL_ARGUMENTS}
    if config.get("num_fewshot"):
        protocol["fewshot_seed"] = run.get("fewshot_seed")
    if config.get("output_type") == "loglikelihood_rolling":
        protocol["max_length"] = content.get("max_length")
    return protocol


def _arguments(given: object) -> dict[str, Any]:
    """`a=1,b=2` or a mapping, as lm-eval was given it."""
    if isinstance(given, dict):
        return given
    pairs = [piece.partition("=") for piece in str(given or "").split(",") if "=" in piece]
    return {name.strip(): value for name, _, value in pairs}


def _better(metric: str, task: str, results: Results, asked: Better | None) -> Better:
    higher = results.content.get("higher_is_better", {}).get(task, {}).get(metric)
    if higher is None:
        return direction(metric, asked)
    said: Better = "higher" if higher else "lower"
    if asked not in (None, said):
        raise ValueError(f"--better {asked}, but {results.path.name} says {said} for {metric}")
    return said


def _aggregation(metric: str, task: str, results: Results) -> str | None:
    """As the task states it; None where that is a function or left to lm-eval."""
    for entry in results.content["configs"][task].get("metric_list") or []:
        if entry.get("metric") == metric and isinstance(entry.get("aggregation"), str):
            return "mean" if entry["aggregation"] == "nanmean" else entry["aggregation"]
    return "mean" if metric in _MEANS else None


def _of_metric(series: list[Series], metric: str | None) -> list[Series]:
    names = sorted({one.metric for one in series})
    if metric is not None and metric not in names:
        raise ValueError(f"no metric {metric!r} in these results{nearest(metric, names)}")
    return [one for one in series if metric in (None, one.metric)]


def _facts(results: Results) -> dict[str, Any]:
    run = results.content.get("config", {})
    facts = {name: results.content.get(name) for name in _FACTS}
    facts |= {name: run.get(name) for name in _MODEL_FACTS}
    facts["model_name"] = results.model
    return {name: value for name, value in facts.items() if value is not None}
