"""Files as lm-eval 0.4.13 writes them with --log_samples: results_*.json, samples_*.jsonl."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STAMP = "2026-11-02T10-11-12.345678"
Sample = dict[str, Any]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample(doc_id: int, metrics: Mapping[str, Any], *, filter_name: str = "none") -> Sample:
    doc = {"question": f"question {doc_id}"}
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": str(doc_id % 4),
        "arguments": {"gen_args_0": {"arg_0": f"Q: {doc_id}\nA:", "arg_1": " yes"}},
        "resps": [[["-1.5", "False"]]],
        "filtered_resps": [["-1.5", "False"]],
        "filter": filter_name,
        "metrics": list(metrics),
        "doc_hash": sha(json.dumps(doc, indent=2)),
        "prompt_hash": sha(f"Q: {doc_id}\nA:"),
        "target_hash": sha(str(doc_id % 4)),
        **metrics,
    }


def multiple_choice(num: int = 40) -> list[Sample]:
    """Two of three right by log-likelihood, half by that of the length."""
    return [sample(i, {"acc": float(i % 3 != 0), "acc_norm": float(i % 2)}) for i in range(num)]


def filtered(num: int = 30) -> list[Sample]:
    """Under two filters, all of the first before all of the second."""
    return [
        sample(i, {"exact_match": float(i % n == 0)}, filter_name=name)
        for name, n in (("strict-match", 3), ("flexible-extract", 2))
        for i in range(num)
    ]


def rolling(num: int = 12) -> list[Sample]:
    """Log-likelihood and the count that it is divided by, of documents of unequal length."""
    return [
        sample(
            i,
            {
                "word_perplexity": [-3.0 * (5 + i) - 0.1 * i, 5 + i],
                "byte_perplexity": [-3.0 * (5 + i) - 0.1 * i, 6 * (5 + i)],
                "bits_per_byte": [-3.0 * (5 + i) - 0.1 * i, 6 * (5 + i)],
            },
        )
        for i in range(num)
    ]


def aggregate(samples: Sequence[Sample]) -> dict[str, Any]:
    """`metric,filter` -> number, by lm-eval's rules."""
    found: dict[str, Any] = {}
    for row in samples:
        for metric in row["metrics"]:
            key = f"{metric},{row['filter']}"
            if key not in found:
                values = [s[metric] for s in samples if s["filter"] == row["filter"]]
                found[key] = _number(metric, values)
                found[f"{metric}_stderr,{row['filter']}"] = "N/A"
    return found


def _number(metric: str, values: list[Any]) -> float:
    if not isinstance(values[0], list):
        return sum(values) / len(values)
    mean = sum(pair[0] for pair in values) / sum(pair[1] for pair in values)
    return -mean / math.log(2) if metric == "bits_per_byte" else math.exp(-mean)


def results(tasks: Mapping[str, Sequence[Sample]], **changes: Any) -> dict[str, Any]:
    """The results file of these samples."""
    lower = {"word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity"}
    higher = {
        task: {m: m not in lower for row in rows for m in row["metrics"]}
        for task, rows in tasks.items()
    }
    kinds = {
        task: "loglikelihood_rolling" if "word_perplexity" in rows[0] else "multiple_choice"
        for task, rows in tasks.items()
    }
    hashes = {
        task: sha("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in rows))
        for task, rows in tasks.items()
    }
    count = {task: len({row["doc_id"] for row in rows}) for task, rows in tasks.items()}
    return {
        "results": {
            task: {"name": task, "alias": task, "sample_len": count[task], **aggregate(rows)}
            for task, rows in tasks.items()
        },
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"validation": f"{task}.jsonl"}},
                "validation_split": "validation",
                "output_type": kinds[task],
                "num_fewshot": 0,
                "metric_list": [{"metric": m, "aggregation": "mean"} for m in higher[task]],
            }
            for task in tasks
        },
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": higher,
        "n-samples": {task: {"original": 999, "effective": n} for task, n in count.items()},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "org/tiny", "dtype": "float32"},
            "random_seed": 0,
            "fewshot_seed": 1234,
        },
        "git_hash": "abcdef0",
        "date": 1793613072.0,
        "transformers_version": "5.23.0",
        "lm_eval_version": "0.4.13",
        "max_length": 256,
        "task_hashes": hashes,
        "model_source": "hf",
        "model_name": "org/tiny",
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template_sha": None,
        **changes,
    }


def write(
    folder: Path,
    tasks: Mapping[str, Sequence[Sample]],
    *,
    stamp: str = STAMP,
    content: Mapping[str, Any] | None = None,
) -> Path:
    """`<folder>/<model>/results_*.json` and the samples beside it; returns `folder`."""
    found = dict(content or results(tasks))
    inside = folder / found["model_name"].replace("/", "__")
    inside.mkdir(parents=True, exist_ok=True)
    (inside / f"results_{stamp}.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    for task, rows in tasks.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (inside / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")
    return folder
