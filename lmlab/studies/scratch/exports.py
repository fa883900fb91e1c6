"""The result files that the study's source document promises, from records and scored items.

| file                           | records: metric, at                                        |
|--------------------------------|------------------------------------------------------------|
| lm_checkpoint_metrics.csv      | token_perplexity, bits_per_byte, at split validation; of   |
|                                | the text itself measured_tokens                            |
| {task}_eval_metrics.csv        | those of one of `FORMS`, at task                           |
| prompting_baseline_results.csv | the same, at task and num_shots                            |

A metric may have a place before it (`eval/accuracy`). The metrics of a row share the arm, weights,
data, place and protocol (but for what it is counted per). Controls stand in the same table, by
their arm.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmlab.engine.records import Record, protocol_hash
from lmlab.metrics.answers import AnswerScores

# The columns of a task's file: classification, summaries, worked answers. The first is its score.
FORMS = (
    ("accuracy", "macro_f1", "num_unparsable"),
    ("rouge1", "rouge2", "rougeL", "rougeLsum"),
    ("exact_match", "num_errors", "num_unparsable"),
)
# What a perplexity per token says of its protocol, and one per word or byte of the same run not:
# the tokenizer is then among the data.
_OF_TOKENS = ("per", "unit", "tokenizer")
COUNTS = ("num_unparsable",)
MOST_ERRORS = 50

_Cells = dict[str, Any]
_Row = dict[str, Record]


def render_tables(records: Sequence[Record]) -> dict[str, str]:
    """File name -> its text, of those that the records give something for."""
    tables = {"lm_checkpoint_metrics.csv": _checkpoints(records)}
    rows = _rows([one for one in records if "task" in one.at])
    for form, row in [(form, row) for row in rows for form in FORMS if form[0] in row]:
        main = row[form[0]]
        if "num_shots" in main.at:
            tables.setdefault("prompting_baseline_results.csv", []).append(_prompted(row, main))
        else:
            name = f"{main.at['task']}_eval_metrics.csv"
            cells = {"checkpoint": checkpoint_name(main), **_scores(row, form)}
            tables.setdefault(name, []).append(cells | _about(main, "task"))
    return {name: _table(cells) for name, cells in tables.items() if cells}


def misclassified(
    checkpoint: str,
    *,
    item_ids: Sequence[str],
    texts: Sequence[str],
    gold: Sequence[str],
    predicted: Sequence[str | None],
) -> list[_Cells]:
    """The first 50 wrong labels of a checkpoint; null where the output had none."""
    found = [
        {"text": text, "predicted": out, "label": true, "checkpoint": checkpoint, "item_id": item}
        for item, text, true, out in zip(item_ids, texts, gold, predicted, strict=True)
        if out != true
    ]
    return found[:MOST_ERRORS]


def wrong_answers(
    checkpoint: str,
    scores: AnswerScores,
    *,
    item_ids: Sequence[str],
    questions: Sequence[str],
    outputs: Sequence[str],
    solutions: Sequence[str],
) -> list[_Cells]:
    """The first 50 wrong answers of a checkpoint, numbers as they were written."""
    rows = zip(item_ids, questions, outputs, solutions, scores.items, strict=True)
    found = [
        {
            "question": question,
            "predicted_answer": output,
            "predicted_number": scored.predicted,
            "true_answer": solution,
            "true_number": scored.gold,
            "error": scored.error,
            "checkpoint": checkpoint,
            "item_id": item,
        }
        for item, question, output, solution, scored in rows
        if not scored.right
    ]
    return found[:MOST_ERRORS]


def error_name(task: str, score: str) -> str:
    """The file of a task's errors, by the metric that counts them."""
    return f"{task}_{'misclassified' if score == FORMS[0][0] else 'errors'}.json"


def error_file(errors: Iterable[_Cells], *, step: str, stored: str = "[]") -> str:
    """The errors of all checkpoints that a step scored, beside those that other steps stored."""
    kept = [one for one in json.loads(stored) if one["step"] != step]
    rows = kept + [{**one, "step": step} for one in errors]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def checkpoint_name(record: Record) -> str:
    """The part and step of its weights; an arm that was not trained here goes by its own name."""
    if record.training_step is None:
        return record.arm
    return f"{record.part}/step_{record.training_step:08d}"


def _checkpoints(records: Sequence[Record]) -> list[_Cells]:
    rows = _rows([one for one in records if one.at.get("split") == "validation"])
    scored = [(row, row["token_perplexity"]) for row in rows if "token_perplexity" in row]
    stages = list(dict.fromkeys((main.part, main.arm) for _, main in scored))
    scored.sort(
        key=lambda pair: (stages.index((pair[1].part, pair[1].arm)), pair[1].training_step or 0)
    )
    counted = {_text(one): one for one in records if one.metric == "measured_tokens"}
    return [_checkpoint(row, main, counted.get(_text(main))) for row, main in scored]


def _text(record: Record) -> str:
    """What was read: equal for every checkpoint."""
    return json.dumps([record.run, dict(record.at), dict(record.data)], sort_keys=True)


def _checkpoint(row: _Row, main: Record, tokens: Record | None) -> _Cells:
    about = _about(main, "split")
    return {
        "run_name": about.pop("run_id"),
        "checkpoint": checkpoint_name(main),
        "global_step": main.training_step,
        "val_loss": math.log(main.value),
        "val_perplexity": main.value,
        "bpb": _value(row, "bits_per_byte"),
        "n_tokens": None if tokens is None else int(tokens.value),
        "protocol": about.pop("protocol"),
        "checkpoint_sha256": about.pop("checkpoint_sha256"),
        **about,
    }


def _prompted(row: _Row, main: Record) -> _Cells:
    """A metric that the task does not have is an empty cell."""
    first = {"task": main.at["task"], "model": main.arm, "num_shots": main.at["num_shots"]}
    metrics = dict.fromkeys(column for form in FORMS for column in form)
    about = _about(main, "task", "num_shots")
    return first | _scores(row, tuple(metrics)) | about


def _scores(row: _Row, columns: Sequence[str]) -> _Cells:
    found = {column: _value(row, column) for column in columns}
    if (main := row.get("exact_match")) is not None:
        found["num_errors"] = round(main.n * (1 - main.value))
    return found


def _value(row: _Row, metric: str) -> int | float | None:
    if metric not in row:
        return None
    value = row[metric].value
    return int(value) if metric in COUNTS else value


def _about(record: Record, *told: str) -> _Cells:
    """What makes a number traceable; of its place what the row does not tell already."""
    low, high = record.interval or (None, None)
    place = {name: value for name, value in record.at.items() if name not in told}
    return {
        "arm": record.arm,
        "run_id": record.run,
        "checkpoint_sha256": _hashes(record.weights),
        "data_sha256": _hashes(record.data),
        "protocol": record.protocol_hash,
        "n": record.n,
        "n_error": record.n_error,
        "ci_low": low,
        "ci_high": high,
        "seed": record.seed,
        "data_kind": record.data_kind,
        "dev": record.dev,
        "at": json.dumps(place, sort_keys=True) if place else None,
    }


def _rows(records: Iterable[Record]) -> list[_Row]:
    """Metric -> record, of what was measured of the same weights in the same way."""
    rows: dict[str, _Row] = {}
    for one in records:
        same = [one.run, one.part, one.step, one.training_step, one.arm, one.seed, dict(one.at)]
        shared = {name: value for name, value in one.protocol.items() if name not in _OF_TOKENS}
        same += [dict(one.data), dict(one.weights), protocol_hash(shared)]
        row = rows.setdefault(json.dumps(same, sort_keys=True), {})
        row[one.metric.rpartition("/")[2]] = one
    return list(rows.values())


def _hashes(named: Mapping[str, str]) -> str | None:
    """The only one there is, else each with its name."""
    if len(named) <= 1:
        return next(iter(named.values()), None)
    return ", ".join(f"{name}={value}" for name, value in sorted(named.items()))


def _table(rows: Sequence[_Cells]) -> str:
    """An empty cell is not available, never 0."""
    text = io.StringIO()
    columns = dict.fromkeys(column for row in rows for column in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
