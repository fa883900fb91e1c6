"""The study's promised files, parsed back and compared with what they were made from."""

import csv
import json
import math
from typing import Any

import pytest
from sample_records import make_record

from lmlab.engine.records import Record
from lmlab.metrics.answers import score_answers
from lmlab.studies.scratch.exports import (
    checkpoint_name,
    error_file,
    misclassified,
    render_tables,
    wrong_answers,
)

SHA = "cd" * 32


def score(metric: str, value: float, **changes: Any) -> Record:
    return make_record(metric=metric, value=value, **({"at": {"task": "sst2"}} | changes))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_classification_has_its_columns_first_and_then_what_makes_it_traceable():
    main = score("eval/accuracy", 0.75, better="higher")
    found = render_tables([score("eval/macro_f1", 0.5), main, score("eval/num_unparsable", 3.0)])
    assert list(found) == ["sst2_eval_metrics.csv"]
    text = found["sst2_eval_metrics.csv"]
    assert text.startswith("checkpoint,accuracy,macro_f1,")
    assert rows(text) == [
        {
            "checkpoint": "train/step_00000010",
            "accuracy": "0.75",
            "macro_f1": "0.5",
            "num_unparsable": "3",
            "arm": "trained",
            "run_id": "run",
            "checkpoint_sha256": SHA,
            "data_sha256": "ab" * 32,
            "protocol": main.protocol_hash,
            "n": "400",
            "n_error": "1",
            "ci_low": "11.0",
            "ci_high": "13.5",
            "seed": "1",
            "data_kind": "real",
            "dev": "False",
            "at": "",
        }
    ]


def test_controls_stand_in_the_same_table():
    control = {"arm": "majority", "weights": {}, "weightless": True, "training_step": None}
    found = rows(
        render_tables([score("accuracy", 0.9), score("accuracy", 0.509, **control)])[
            "sst2_eval_metrics.csv"
        ]
    )
    assert [(one["checkpoint"], one["accuracy"]) for one in found] == [
        ("train/step_00000010", "0.9"),
        ("majority", "0.509"),
    ]
    assert found[1]["checkpoint_sha256"] == ""


def test_summaries_have_rouge_under_its_own_names():
    metrics = {"rouge1": 0.4, "rouge2": 0.2, "rougeL": 0.3, "rougeLsum": 0.35}
    found = render_tables(
        [score(metric, value, at={"task": "samsum"}) for metric, value in metrics.items()]
    )
    text = found["samsum_eval_metrics.csv"]
    assert text.startswith("checkpoint,rouge1,rouge2,rougeL,")
    [row] = rows(text)
    assert {metric: float(row[metric]) for metric in metrics} == metrics


def test_worked_answers_tell_how_many_are_wrong():
    found = render_tables([score("exact_match", 0.05, at={"task": "gsm8k", "rule": "numeric"})])
    text = found["gsm8k_eval_metrics.csv"]
    assert text.startswith("checkpoint,exact_match,num_errors,")
    [row] = rows(text)
    assert (row["num_errors"], json.loads(row["at"])) == ("380", {"rule": "numeric"})


def test_two_protocols_never_meet_in_a_row():
    made = [
        score(metric, value, protocol={"rule": rule})
        for rule, value in (("loglik", 0.1), ("parse", 0.2))
        for metric in ("accuracy", "macro_f1")
    ]
    found = rows(render_tables(made)["sst2_eval_metrics.csv"])
    assert [(one["accuracy"], one["macro_f1"]) for one in found] == [("0.1", "0.1"), ("0.2", "0.2")]
    assert len({one["protocol"] for one in found}) == 2


def test_prompting_is_one_table_of_all_tasks():
    made = [
        score("accuracy", 0.6, arm="gpt2", at={"task": "sst2", "num_shots": 0}),
        score("macro_f1", 0.55, arm="gpt2", at={"task": "sst2", "num_shots": 0}),
        score(
            "exact_match", 0.25, n=8, arm="gpt2", at={"task": "gsm8k", "num_shots": 4, "order": 2}
        ),
        score("rougeL", 0.2, arm="gpt2", at={"task": "samsum", "num_shots": 4}),
        score("rouge1", 0.3, arm="gpt2", at={"task": "samsum", "num_shots": 4}),
    ]
    [(name, text)] = render_tables(made).items()
    assert name == "prompting_baseline_results.csv"
    assert text.startswith("task,model,num_shots,accuracy,macro_f1,")
    sst2, gsm8k, samsum = rows(text)
    assert (sst2["task"], sst2["model"], sst2["num_shots"]) == ("sst2", "gpt2", "0")
    assert (sst2["accuracy"], sst2["macro_f1"], sst2["exact_match"]) == ("0.6", "0.55", "")
    assert (gsm8k["exact_match"], gsm8k["num_errors"], gsm8k["accuracy"]) == ("0.25", "6", "")
    assert json.loads(gsm8k["at"]) == {"order": 2}
    assert (samsum["rouge1"], samsum["rougeL"], samsum["rouge2"]) == ("0.3", "0.2", "")


def perplexity(step: int, *, part: str = "sft", split: str = "validation") -> list[Record]:
    """Per token, per byte and the number of tokens, each under its own protocol."""
    figures = {"token_perplexity": ("token", 10.0 + step), "bits_per_byte": ("byte", 1.5)}
    figures["measured_tokens"] = ("count", 287_644.0)
    return [
        make_record(
            metric=metric,
            value=value,
            part=part,
            training_step=step,
            at={"split": split},
            protocol={"window": 128, "per": per},
        )
        for metric, (per, value) in figures.items()
    ]


def test_checkpoints_are_told_in_the_order_of_their_steps():
    made = [*perplexity(50, part="pretrain"), *perplexity(200), *perplexity(100)]
    made += perplexity(300, split="test")
    [(name, text)] = render_tables(made).items()
    assert name == "lm_checkpoint_metrics.csv"
    assert text.startswith(
        "run_name,checkpoint,global_step,val_loss,val_perplexity,bpb,n_tokens,protocol,"
        "checkpoint_sha256,"
    )
    found = rows(text)
    assert [one["checkpoint"] for one in found] == [
        "pretrain/step_00000050", "sft/step_00000100", "sft/step_00000200",
    ]  # fmt: skip
    last = found[-1]
    assert (last["run_name"], last["global_step"], last["bpb"]) == ("run", "200", "1.5")
    assert (last["n_tokens"], last["checkpoint_sha256"]) == ("287644", SHA)
    assert math.exp(float(last["val_loss"])) == pytest.approx(float(last["val_perplexity"]))
    assert float(last["val_perplexity"]) == 210
    assert last["protocol"] == made[0].protocol_hash


def test_what_was_not_measured_has_no_file():
    assert render_tables([make_record(metric="word_perplexity", at={"split": "test"})]) == {}
    assert render_tables([]) == {}


def test_error_files_hold_the_first_fifty_of_a_checkpoint():
    ids = [str(number) for number in range(120)]
    gold = ["positive"] * 120
    predicted = [None if number % 2 else "positive" for number in range(120)]
    given = {"item_ids": ids, "texts": [f"text {one}" for one in ids], "gold": gold}
    found = misclassified("sft/step_00000010", predicted=predicted, **given)
    assert [one["item_id"] for one in found] == ids[1:100:2]
    everything = [*found, *misclassified("other", predicted=gold, **given)]
    told = json.loads(error_file(everything, step="evaluate"))
    assert told == [{**one, "step": "evaluate"} for one in found]
    assert told[0] == {
        "text": "text 1", "predicted": None, "label": "positive",
        "checkpoint": "sft/step_00000010", "item_id": "1", "step": "evaluate",
    }  # fmt: skip


def test_a_step_that_is_done_again_replaces_its_own_errors_alone():
    before = error_file([{"item_id": "1"}], step="baselines")
    both = error_file([{"item_id": "2"}], step="evaluate", stored=before)
    again = json.loads(error_file([{"item_id": "3"}], step="evaluate", stored=both))
    assert [(one["step"], one["item_id"]) for one in again] == [
        ("baselines", "1"),
        ("evaluate", "3"),
    ]


def test_wrong_answers_are_told_with_both_numbers():
    outputs = ["#### 7", "#### 1,000", "I do not know – sorry"]
    solutions = ["#### 7", "so\n#### 1,100", "#### 3"]
    ids = ["a", "b", "c"]
    scores = score_answers(outputs, solutions, item_ids=ids, rule="official")
    found = wrong_answers(
        "sft/step_00000010",
        scores,
        item_ids=ids,
        questions=["A?", "B?", "C?"],
        outputs=outputs,
        solutions=solutions,
    )
    text = error_file(found, step="evaluate")
    assert "–" in text
    assert json.loads(text) == [{**one, "step": "evaluate"} for one in found]
    assert found[0] == {
        "question": "B?",
        "predicted_answer": "#### 1,000",
        "predicted_number": "1000",
        "true_answer": "so\n#### 1,100",
        "true_number": "1100",
        "error": "arithmetic",
        "checkpoint": "sft/step_00000010",
        "item_id": "b",
    }
    assert (found[1]["predicted_number"], found[1]["error"]) == (None, "extraction")
    assert len(found) == 2


def test_a_model_that_was_not_trained_here_goes_by_its_name():
    assert checkpoint_name(make_record(arm="gpt2", training_step=None)) == "gpt2"
    assert checkpoint_name(make_record(part="dpo", training_step=7)) == "dpo/step_00000007"
