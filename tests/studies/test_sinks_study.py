"""The sinks experiment, small: what each arm is, what is counted, and what is kept on resume."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from lmlab.data.text import load_documents
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.checkpoint import find, verify
from lmlab.engine.config import load_preset
from lmlab.engine.items import read_items
from lmlab.engine.preempt import Preempted
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.gates.grammar import load_gates
from lmlab.evidence.gates.judge import judge_gates
from lmlab.launch.local import Options, choose_run, start
from lmlab.metrics.repetition import repetition
from lmlab.models.schema import FirstTokens
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import load_trained
from lmlab.studies.scratch.sinks import load_texts, sinks
from lmlab.studies.scratch.sinks_arms import arms_of, longest, variants_of
from lmlab.studies.scratch.sinks_reading import LongTexts, continue_texts, join_documents

CONTEXT, TEXTS, FIRST = 32, 4, 3
PLAIN = ("window", "first_tokens", "recompute", "full")
LEARNED = {"register+window": "register", "logit+window": "logit"}
OVERRIDES = (
    *tiny.OVERRIDES,
    f"model.context_tokens={CONTEXT}",
    # With one layer a window is what recomputing gives.
    "model.num_layers=2",
    "pretrain.optim.learning_rate=0.01",
    "pretrain.max_steps=8",
    "pretrain.eval_every=100%",
    f"sinks={{num_registers: 2, num_first: {FIRST}, num_seeds: 2, num_texts: {TEXTS}}}",
)


def configured(*more: str) -> Config:
    config = load_preset(tiny.PRESET, [*OVERRIDES, *more]).config
    assert isinstance(config, Config)
    return config


def prepared(runs: Path, *more: str, steps: tuple[str, ...] = ("prepare", "pretrain")) -> Run:
    resolved = load_preset(tiny.PRESET, [*OVERRIDES, *more])
    options = Options(steps=steps, new=True)
    chosen = choose_run(resolved, options)
    start(resolved, chosen, options)
    return chosen.run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("runs")
        patch.setenv("LMLAB_RUNS", str(root))
        patch.delenv("DEV_MODE", raising=False)
        yield root


@pytest.fixture(scope="module")
def made(runs: Path) -> Run:
    """Two seeds."""
    return prepared(runs, steps=("prepare", "pretrain", "sinks"))


@pytest.fixture(scope="module")
def texts(made: Run) -> LongTexts:
    return load_texts(configured(), made)


@pytest.fixture(scope="module")
def records(made: Run) -> list[Record]:
    return made.records()


@pytest.fixture(scope="module")
def items(made: Run) -> pd.DataFrame:
    found = read_items(made.results().items_path("sinks"))
    return found.assign(multiple=[json.loads(at)["context_multiple"] for at in found["at"]])


def values(items: pd.DataFrame, arm: str, multiple: int, seed: int = 42) -> np.ndarray:
    """NLL a token of each text."""
    kept = (items["arm"] == arm) & (items["multiple"] == multiple) & (items["seed"] == seed)
    chosen = items[kept & (items["metric"] == "nll_per_token")]
    return (chosen["value"] / chosen["weight"]).to_numpy()


def record(
    records: list[Record], arm: str, metric: str, at: dict[str, int], seed: int = 42
) -> Record:
    [found] = [
        one
        for one in records
        if (one.arm, one.metric, dict(one.at), one.seed) == (arm, metric, at, seed)
    ]
    return found


def last_weights(run: Run, part: str) -> dict[str, torch.Tensor]:
    return load_file(find(run.part(part).checkpoints, "last") / "model.safetensors")


def test_decoders_differ_from_the_runs_own_in_sinks_and_seed_alone(made: Run):
    names = [part.name for part in made.parts()]
    assert names == [
        "pretrain",
        "sinks/logit/seed_42", "sinks/logit/seed_43", "sinks/plain/seed_43",
        "sinks/register/seed_42", "sinks/register/seed_43",
    ]  # fmt: skip
    config = configured()
    own = config.model_dump()
    for one in variants_of(config):
        changed = one.config.model_dump()
        changed["model"]["sinks"], changed["seed"] = None, own["seed"]
        assert changed == own
    plain = set(last_weights(made, "pretrain"))
    for kind, name in (("register", "registers"), ("logit", "sink_logits")):
        more = set(last_weights(made, f"sinks/{kind}/seed_42")) - plain
        assert {one.rpartition(".")[2] for one in more} == {name}


def test_another_seeds_plain_decoder_is_that_of_a_run_with_this_seed(made: Run, runs: Path):
    other = prepared(runs, "seed=43", "sinks=null")
    assert set(other.status()["steps"]) == {"prepare", "pretrain"}
    ours, theirs = last_weights(made, "sinks/plain/seed_43"), last_weights(other, "pretrain")
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert any(not torch.equal(last_weights(made, "pretrain")[name], ours[name]) for name in ours)


def test_texts_are_the_documents_of_the_test_split_joined_as_training_joins_them(texts: LongTexts):
    assert texts.tokens.shape == (TEXTS, 16 * CONTEXT + 1)
    documents, tokenizer = load_documents(configured().data, "test").documents, texts.tokenizer
    # Longer than a document, so that every text has several.
    joined = join_documents(texts.source, tokenizer, num_texts=3, num_tokens=1500)
    place = 0
    for row in joined.tokens.tolist():
        stream: list[int | None] = []
        while len(stream) < len(row):
            ids = tokenizer.encode(documents[place])
            stream += [tokenizer.bos_id, *ids, tokenizer.eos_id]
            place += 1
        assert stream[: len(row)] == row
        assert row.count(tokenizer.bos_id) > 1
    assert (joined.scored == (joined.tokens != tokenizer.bos_id).numpy()).all()
    with pytest.raises(ValueError, match=r"10 documents of the test split.*not 90; give more"):
        join_documents(texts.source, tokenizer, num_texts=90, num_tokens=513)


@pytest.mark.parametrize("arm", [*PLAIN, *LEARNED])
def test_within_the_context_every_arm_is_its_decoders_plain_forward(
    arm: str, made: Run, texts: LongTexts, items: pd.DataFrame, records: list[Record]
):
    part = f"sinks/{LEARNED[arm]}/seed_42" if arm in LEARNED else "pretrain"
    [one] = [one for one in variants_of(configured()) if one.part == part]
    vocab = texts.tokenizer.vocab_size
    trained = load_trained(made.part(part), one.config.model, vocab_size=vocab, at="last")
    read, targets = texts.tokens[:, :CONTEXT], texts.tokens[:, 1 : CONTEXT + 1]
    with torch.inference_mode():
        logits = trained.model(read)
    nll = F.cross_entropy(logits.mT, targets, reduction="none").numpy()
    scored = texts.scored[:, 1 : CONTEXT + 1]
    expected = (nll * scored).sum(1) / scored.sum(1)
    assert np.abs(values(items, arm, 1) - expected).max() <= 1e-5
    found = record(records, arm, "nll_per_token", {"context_multiple": 1})
    identity = verify(find(made.part(part).checkpoints, "last"))["identity"]
    assert found.weights == {"decoder": identity["weights"]}
    assert (found.part, found.training_step) == (part, 8)


def test_beyond_the_context_recompute_reads_each_window_anew_and_the_others_do_not(
    made: Run, texts: LongTexts, items: pd.DataFrame
):
    config, vocab = configured(), texts.tokenizer.vocab_size
    trained = load_trained(made.part("pretrain"), config.model, vocab_size=vocab, at="last")
    expected = []
    for row, scored in zip(texts.tokens, texts.scored, strict=True):
        places = [t for t in range(CONTEXT + 1, 3 * CONTEXT + 1) if scored[t]]
        windows = torch.stack([row[t - CONTEXT : t] for t in places])
        with torch.inference_mode():
            logits = trained.model(windows)[:, -1]
        expected.append(float(F.cross_entropy(logits, row[places])))
    assert np.abs(values(items, "recompute", 3) - expected).max() <= 1e-5
    for arm in ("window", "first_tokens", "full"):
        assert np.abs(values(items, arm, 3) - expected).max() > 1e-5


def test_every_arm_sees_as_many_tokens_as_were_trained_on_but_full():
    first, second, third, *_ = variants_of(configured())
    arms = arms_of(first.config)
    assert tuple(arms) == PLAIN
    assert arms["full"].context_tokens == longest(configured()) == 16 * CONTEXT
    assert arms["first_tokens"] == FirstTokens(num_first=FIRST, recent_tokens=CONTEXT - FIRST)
    learned = [arms_of(one.config) for one in (second, third)]
    assert [list(one) for one in learned] == [[name] for name in LEARNED]
    for one in [arms["window"], arms["recompute"], *(next(iter(own.values())) for own in learned)]:
        assert one.recent_tokens == CONTEXT


@pytest.mark.parametrize("multiple", [1, 3, 16])
def test_a_record_is_the_sum_over_the_scored_tokens_of_its_texts(
    multiple: int, texts: LongTexts, items: pd.DataFrame, records: list[Record]
):
    begin = 0 if multiple == 1 else CONTEXT
    counts = texts.scored[:, begin + 1 : multiple * CONTEXT + 1].sum(1)
    for arm in (*PLAIN, *LEARNED):
        for seed in (42, 43):
            found = record(records, arm, "nll_per_token", {"context_multiple": multiple}, seed)
            expected = (values(items, arm, multiple, seed) * counts).sum() / counts.sum()
            assert found.value == pytest.approx(expected, abs=1e-9)
            assert (found.n, found.n_error, found.data_kind) == (TEXTS, 0, "generated")
            assert found.interval is not None
            assert found.interval[0] < found.value < found.interval[1]


def test_over_seeds_there_is_a_mean_whose_interval_knows_both(records: list[Record]):
    for arm in (*PLAIN, *LEARNED):
        at = {"context_multiple": 16}
        mean = record(records, arm, "nll_per_token_over_seeds", at)
        each = [record(records, arm, "nll_per_token", at, seed) for seed in (42, 43)]
        assert mean.value == pytest.approx(np.mean([one.value for one in each]), abs=1e-12)
        assert mean.interval_method is not None
        assert "seeds x items" in mean.interval_method
        assert set(mean.weights.values()) == {one.weights["decoder"] for one in each}
        # Student's with one degree of freedom.
        assert mean.interval is not None
        assert mean.interval[0] < min(one.value for one in each)
        assert mean.interval[1] > max(one.value for one in each)


def test_the_curve_adds_up_to_what_is_beyond_the_context(records: list[Record], texts: LongTexts):
    half = CONTEXT // 2
    points = range(half, 16 * CONTEXT + 1, half)
    for arm in (*PLAIN, *LEARNED):
        total = count = 0.0
        for until in points[2:]:
            point = record(records, arm, "nll_per_token_over_seeds", {"position": until})
            weight = texts.scored[:, until - half + 1 : until + 1].sum()
            total, count = total + point.value * weight, count + weight
        # Sums over seeds, which share their texts, are means over seeds.
        whole = record(records, arm, "nll_per_token_over_seeds", {"context_multiple": 16})
        assert total / count == pytest.approx(whole.value, abs=1e-9)


def test_exactly_so_many_tokens_are_written_however_likely_the_end_is(
    made: Run, texts: LongTexts, monkeypatch: pytest.MonkeyPatch
):
    config = configured()
    trained = load_trained(
        made.part("pretrain"), config.model, vocab_size=texts.tokenizer.vocab_size, at="last"
    )
    eos = torch.tensor(texts.tokenizer.eos_id)
    likely = 20.0 * F.one_hot(eos, texts.tokenizer.vocab_size)
    monkeypatch.setattr(trained.model, "logits", lambda hidden: likely.repeat(len(hidden), 1))
    monkeypatch.setattr(
        TextTokenizer, "decode", lambda self, ids: f"{len(ids)}, {self.eos_id in ids}"
    )
    arm = arms_of(config)["window"]
    written = continue_texts(trained.model, texts, arm=arm, seed=0, num_tokens=3 * CONTEXT)
    assert written == [f"{3 * CONTEXT}, False"] * TEXTS


def test_the_promised_file_has_both_texts_of_every_prompt_and_every_curve(
    made: Run, texts: LongTexts, records: list[Record]
):
    file = made.folder / "exports/attention_sinks_results.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    assert (found["train_context"], found["gen_tokens"]) == (CONTEXT, 3 * CONTEXT)
    assert (found["seeds"], len(found["comparisons"])) == ([42, 43], 2 * TEXTS)
    for row in found["comparisons"]:
        for side in ("with_sinks", "without_sinks"):
            counted = repetition(row[f"{side}_text"])
            share = counted.share if counted.num_windows else None
            assert row[f"{side}_repetition"] == share
    for arm, side in (("register+window", "with_sinks"), ("window", "without_sinks")):
        shares = [one[f"{side}_repetition"] for one in found["comparisons"] if one["seed"] == 42]
        judged = [one for one in shares if one is not None]
        repeated = record(records, arm, "repetition", {"context_multiple": 3})
        assert repeated.value == pytest.approx(np.mean(judged), abs=1e-12)
        assert (repeated.n, repeated.n_error) == (len(judged), TEXTS - len(judged))
    counts = texts.scored[:, CONTEXT + 1 :].sum(0)
    for arm in (*PLAIN, *LEARNED):
        for seed in (42, 43):
            curve = found["nll_by_position"][arm][str(seed)]
            assert len(curve) == 16 * CONTEXT
            mean = sum(c * v for c, v in zip(counts, curve[CONTEXT:], strict=True) if c)
            whole = record(records, arm, "nll_per_token", {"context_multiple": 16}, seed)
            assert mean / counts.sum() == pytest.approx(whole.value, abs=1e-4)
            assert found["arms"][arm][str(seed)] == whole.weights["decoder"]
    real = record(records, "test text", "repetition", {"context_multiple": 3})
    assert real.weightless


def test_stopped_anywhere_it_goes_on_and_trains_nothing_twice(runs: Path):
    more = ("pretrain.max_steps=2", "sinks.num_seeds=1")
    config = configured(*more)
    whole, broken = prepared(runs, *more), prepared(runs, *more)
    sinks(config, whole)
    reasons = []
    for _ in range(5):
        stopped = Run(runs, broken.study, broken.name)
        stopped.notice.ask("test")
        with pytest.raises(Preempted) as caught:
            sinks(config, stopped)
        reasons.append(str(caught.value))
    # Two steps of each of two decoders, then the first reading.
    assert reasons[-1] == "test after reading by window"
    assert sum("at step" in one for one in reasons) == 4
    metrics = [broken.part(f"sinks/{kind}/seed_42").metrics_path for kind in ("register", "logit")]
    before = [path.read_bytes() for path in metrics]
    sinks(config, Run(runs, broken.study, broken.name))
    assert [path.read_bytes() for path in metrics] == before
    figures = [
        [(one.arm, one.metric, dict(one.at), one.value, dict(one.weights)) for one in run.records()]
        for run in (whole, broken)
    ]
    assert figures[0] == figures[1]


def test_the_gates_find_what_they_judge(made: Run):
    file = load_gates("scratch")
    sinks = {gate.id for gate in file.gates if gate.step == "sinks"}
    assert len(sinks) == 4
    for one in (one for one in judge_gates(file, [made]) if one.gate in sinks):
        assert one.verdict != "not_run", one.reason
        assert one.n == 2 * TEXTS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("model.sinks={kind: logit}",), r"set model.sinks=null"),
        (("model.window_tokens=8",), r"model.window_tokens=null"),
        ((f"sinks.num_first={CONTEXT}",), r"num_first=32 leaves no recent token"),
        (("sinks.num_texts=1",), r"sinks.num_texts"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    changes: tuple[str, ...], said: str
):
    with pytest.raises(ValueError, match=said):
        configured(*changes)
