"""Two exported decoders, scored by lm-eval itself: imported, compared, judged and reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lmlab.data.tokenizer import save_tokenizer, train_bpe, wrap_tokenizer
from lmlab.engine.items import read_items
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.engine.weights import weights_hash
from lmlab.evidence.comparison.compare import Asked, compare_runs
from lmlab.evidence.gates.grammar import GateFile
from lmlab.evidence.gates.judge import judge_gates
from lmlab.evidence.imported.importing import import_results
from lmlab.evidence.imported.series import Options
from lmlab.evidence.pages.report import write_report
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.schema import DecoderConfig

pytestmark = [pytest.mark.parity, pytest.mark.slow]

NUM_DOCUMENTS = 24
WORDS = "the old red boat waits at a small green harbour while rain falls on every quiet roof"
TASKS = {
    "own_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}\nAnswer:",
        "doc_to_choice": ["boat", "small green harbour"],
        "doc_to_target": "label",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm")
        ],
    },
    "own_words": {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}\nNext:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "strict", "filter": [{"function": "take_first"}]},
            {
                "name": "first-letter",
                "filter": [
                    {"function": "regex", "regex_pattern": "([a-z])", "fallback": "?"},
                    {"function": "take_first"},
                ],
            },
        ],
    },
    "own_text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
}
GATES = {
    "study": "imported",
    "question": "Does training help?",
    "gates": [
        {
            "id": "trained-acc", "claim": "the second model answers better", "metric": "acc",
            "arm": "second", "baseline": "first", "select": {"task": "own_choice"},
            "test": {"kind": "superior"},
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Path]:
    """model name -> the folder that lm-eval wrote for it; the models lie in `models/<name>`."""
    pytest.importorskip("lm_eval")
    folder = tmp_path_factory.mktemp("lm-eval")
    _write_tasks(folder / "tasks")
    found = {}
    for seed, name in enumerate(("first", "second")):
        _export(folder / "models" / name, seed=seed)
        found[name] = folder / "out" / name
        _lm_eval(folder, name)
    return found


def _write_tasks(folder: Path) -> None:
    folder.mkdir()
    generator = np.random.default_rng(1)
    words = WORDS.split()
    texts = [
        " ".join(generator.choice(words, 6 + i)) + f" in year {i}." for i in range(NUM_DOCUMENTS)
    ]
    lines = [
        json.dumps({"text": text, "label": i % 2, "answer": "abc"[i % 3]}) + "\n"
        for i, text in enumerate(texts)
    ]
    (folder / "documents.jsonl").write_text("".join(lines), encoding="utf-8")
    for name, task in TASKS.items():
        data = {
            "task": name, "dataset_path": "json", "test_split": "test",
            "dataset_kwargs": {"data_files": {"test": str(folder / "documents.jsonl")}},
            "metadata": {"version": 1.0},
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data | task), encoding="utf-8")


def _export(folder: Path, *, seed: int) -> None:
    tokenizer = wrap_tokenizer(train_bpe([WORDS] * 20, vocab_size=320), roles={})
    config = DecoderConfig.model_validate(
        {"num_layers": 2, "d_model": 32, "num_heads": 4, "d_ff": 64, "context_tokens": 128}
    )
    model = Decoder(config, vocab_size=tokenizer.vocab_size)
    init_weights(model, seed=seed)
    special = SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
    export_decoder(model, folder=folder, special=special, card="A model to test with.")
    save_tokenizer(tokenizer, folder)


def _lm_eval(folder: Path, name: str) -> None:
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args",
        f"pretrained={folder / 'models' / name},dtype=float32", "--tasks", ",".join(TASKS),
        "--include_path", str(folder / "tasks"), "--device", "cpu", "--batch_size", "4",
        "--output_path", str(folder / "out" / name), "--log_samples",
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        command, env=os.environ | offline, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def runs(results, tmp_path, monkeypatch) -> list[Run]:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return [
        import_results(
            folder,
            Options(name=name, arm=name, weights=folder.parents[1] / "models" / name),
        ).run
        for name, folder in results.items()
    ]


def record(run: Run, metric: str, **at: str) -> Record:
    found = [one for one in run.records() if one.metric == metric and dict(one.at) == at]
    assert len(found) == 1
    return found[0]


def test_every_number_that_lm_eval_printed_is_a_record(runs, results):
    for run, (name, folder) in zip(runs, results.items(), strict=True):
        path = next(folder.rglob("results_*.json"))
        stated = json.loads(path.read_text(encoding="utf-8"))["results"]
        numbers = {
            (task, key): value
            for task in TASKS
            for key, value in stated[task].items()
            if "," in key and "_stderr" not in key
        }
        assert len(numbers) == 6
        for (task, key), value in numbers.items():
            metric, chosen = key.split(",")
            at = {"task": task} | ({} if chosen == "none" else {"filter": chosen})
            found = record(run, metric, **at)
            assert found.value == pytest.approx(value, rel=1e-9)
            assert (found.arm, found.n, found.n_error) == (name, NUM_DOCUMENTS, 0)


def test_the_weights_are_those_of_the_exported_folder(runs, results):
    for run, (name, folder) in zip(runs, results.items(), strict=True):
        stored = load_file(folder.parents[1] / "models" / name / "model.safetensors")
        assert {one.weights["model"] for one in run.records()} == {weights_hash(stored)}


def test_the_items_are_the_models_own_log_likelihoods(runs, results):
    """Word by word from the exported weights, with transformers and no lm-eval."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = results["first"].parents[1]
    model = AutoModelForCausalLM.from_pretrained(folder / "models" / "first")
    tokenizer = AutoTokenizer.from_pretrained(folder / "models" / "first")
    items = read_items(runs[0].results().items_path("nll_per_word")).set_index("item_id")
    lines = (folder / "tasks" / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    for number in (0, 7, 23):
        text = json.loads(lines[number])["text"]
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)]])
        with torch.inference_mode():
            logs = model(ids[:, :-1]).logits.log_softmax(-1)
        nll = -logs.gather(-1, ids[:, 1:, None]).sum()
        assert items.loc[str(number), "value"] == pytest.approx(float(nll), rel=1e-4)
        assert items.loc[str(number), "weight"] == len(text.split())


def test_two_models_are_compared_on_the_same_documents(runs):
    compared = compare_runs(runs, Asked(metric="acc_norm"))
    assert compared.refused == ()
    (found,) = compared.comparisons
    first, second = (record(run, "acc_norm", task="own_choice") for run in runs)
    assert found.effect == pytest.approx(second.value - first.value)
    assert (found.n, found.unmatched) == (NUM_DOCUMENTS, (0, 0))
    assert first.protocol == second.protocol
    assert first.data == second.data


def test_a_gate_and_a_report_are_made_of_them(runs):
    (judged,) = judge_gates(GateFile.model_validate(GATES), runs)
    assert judged.verdict in ("pass", "fail", "not_enough_evidence")
    assert judged.n == NUM_DOCUMENTS
    assert "imported" in judged.marks
    page = write_report(runs[0]).read_text(encoding="utf-8")
    assert "own_choice" in page
