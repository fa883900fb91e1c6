"""The report page: complete, honest about what is missing, self-contained, and safe to open."""

import dataclasses
import json
import re
import time
from html.parser import HTMLParser

import pytest

from lmlab.engine.monitor import COLUMNS
from lmlab.engine.records import Record
from lmlab.engine.run import Run, create_run
from lmlab.evidence.pages.report import write_report
from lmlab.evidence.reading import SAMPLES

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}
PROTOCOL = {"dataset": "wikitext2", "split": "test", "windows": "strided", "window_tokens": 256}
SHAS = {"trained": {"model": "a1" * 32}, "untrained": {"model": "b2" * 32}}


class Page(HTMLParser):
    """Ids, links, resources, text outside scripts, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.tags: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(html)
        self.close()
        assert self.tags == [], f"never closed: {self.tags}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        self.ids += [values["id"] or ""] if "id" in values else []
        found = [values[name] or "" for name in ("href", "src", "data", "poster") if name in values]
        (self.links if tag == "a" else self.resources).extend(found)
        if tag not in VOID:
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text += data

    def says(self, *pieces: str) -> bool:
        """Whether all of these stand on the page, white space aside."""
        text = " ".join(self.text.split())
        return all(piece in text for piece in pieces)


def record(run: Run, arm: str, value: float, **changes) -> Record:
    width = 0.02 * value
    values = {
        "study": "scratch", "run": run.reference, "part": "pretrain", "step": "evaluate",
        "training_step": 300 if arm == "trained" else None, "arm": arm, "at": {"split": "test"},
        "metric": "word_perplexity", "unit": "perplexity", "better": "lower", "value": value,
        "n": 245569, "n_error": 0, "interval": (value - width, value + width),
        "interval_method": "bootstrap over documents", "protocol": PROTOCOL,
        "data": {"wikitext2": "c3" * 32}, "data_kind": "real", "weights": SHAS.get(arm, {}),
        "weightless": arm not in SHAS, "seed": 42, "dev": False, "command": "lmlab run",
        "commit": "0f" * 20,
    }  # fmt: skip
    return Record(**(values | changes))


def four_arms(run: Run, **changes) -> list[Record]:
    values = {"trained": 96.31, "untrained": 30112.4, "unigram": 811.9, "5-gram": 402.31}
    return [record(run, arm, value, **changes) for arm, value in values.items()]


def bare_run(question: str = "What does a small decoder learn?") -> Run:
    run = create_run(
        "scratch", "demo", config={"study": "scratch", "seed": 42}, manifest={}, unique=True
    )
    attempt = {"started": 1.7e9, "commit": "0f" * 20, "command": ["lmlab", "run", "scratch/demo"],
               "versions": {"torch": "2.13.0"}, "host": "box"}  # fmt: skip
    run.write_manifest(
        {"question": question, "preset": "scratch/demo", "seed": 42, "attempts": [attempt]}
    )
    return run


def train(run: Run, *, steps: int = 300, name: str = "pretrain") -> None:
    """What a training of `steps` steps leaves."""
    part = run.part(name)
    with part.metrics_path.open("w", encoding="utf-8") as file:
        for step in range(10, steps + 1, 10):
            row = {"step": step, "epoch": 0, "tokens": 4096 * step, "time": 1.7e9 + step}
            row |= {"train/loss": 2 + 5.6 * 0.97**step, "train/grad_norm": 1 / step}
            row |= {"train/lr": 3e-3 * min(1, step / 30), "tokens_per_second": 11_000.0 + step % 70}
            file.write(json.dumps(row) + "\n")
            if step % 75 < 10:
                file.write(json.dumps({"step": step, "eval/loss": 2.1 + 5 * 0.97**step}) + "\n")
    part.write_status(
        {"state": "done", "step": steps, "total_steps": steps, "attempt": 1, "seconds": 111.5,
         "cost_usd": None, "best": {"metric": "eval/loss", "value": 2.1, "step": steps}}
    )  # fmt: skip


def full_run(**changes) -> Run:
    run = bare_run()
    train(run)
    for i, step in enumerate(("tokenize", "pretrain", "evaluate")):
        run.set_status(step, state="done", fingerprint="ab12cd34ef", started=1.7e9 + i,
                       finished=1.7e9 + i + 9, seconds=9.0, host="box", attempt=1)  # fmt: skip
    run.results().replace("evaluate", four_arms(run, **changes))
    sample = {
        "run_name": run.name, "checkpoint": "step_00000300", "seed": 42,
        "settings": {"temperature": 0.8, "top_k": 50},
        "samples": {"Once upon a time": "Once upon a time there was a baker.\nShe sang."},
    }  # fmt: skip
    run.results().export(SAMPLES).write_text(json.dumps([sample]), encoding="utf-8")
    return run


def page_of(run: Run) -> Page:
    return Page(write_report(run, force=True).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))


def test_a_full_run_gives_one_whole_page_without_warnings():
    page = page_of(full_run())
    assert page.says(
        "What does a small decoder learn?",
        "trained reaches word perplexity 96.31 [94.38, 98.24] on the test split of wikitext2",
        "better than every control: 5-gram (402.3), unigram (811.9), untrained (30,112).",
        "step 300 of 300", "1 min 52 s", "there was a baker.", "lmlab run scratch/demo",
    )  # fmt: skip
    assert not page.says("to know first")


def test_the_page_fetches_nothing():
    page = page_of(full_run())
    assert page.resources == []
    assert all(link.startswith("#") for link in page.links)


def test_plotly_is_inlined_once_and_only_where_there_are_curves():
    run = bare_run()
    assert "plotly.js v" not in write_report(run).read_text(encoding="utf-8")
    train(run)
    assert write_report(run).read_text(encoding="utf-8").count("plotly.js v") == 1


def test_every_number_links_to_its_record_and_no_id_is_used_twice():
    run = full_run()
    page = page_of(run)
    wanted = {f"#rec-{one.id}" for one in run.records()}
    assert wanted <= set(page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_plots_hold_the_numbers_that_were_logged():
    run = full_run()
    html = write_report(run).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    plots = {
        trace["name"]: trace for plot in json.loads(found[1]).values() for trace in plot["data"]
    }
    rows = [json.loads(line) for line in run.part("pretrain").metrics_path.read_text().splitlines()]
    for name in ("train/loss", "eval/loss", "train/lr", "train/grad_norm", "tokens_per_second"):
        assert plots[name]["x"] == [row["step"] for row in rows if name in row]
        assert plots[name]["y"] == [row[name] for row in rows if name in row]


def test_every_axis_says_its_unit():
    html = write_report(full_run()).read_text(encoding="utf-8")
    axes = re.findall(r'"[xy]axis": \{[^}]*"title": \{"text": "([^"]+)"', html)
    assert len(axes) == 8
    assert all("(" in axis or " per " in axis for axis in axes)


def test_a_loss_that_is_not_finite_is_a_gap_and_the_json_stays_valid():
    run = bare_run()
    run.part("pretrain").metrics_path.write_text(
        '{"step": 1, "train/loss": 2.5}\n{"step": 2, "train/loss": NaN}\n', encoding="utf-8"
    )
    html = write_report(run).read_text(encoding="utf-8")
    assert '"y": [2.5, null]' in html


def test_throughput_comes_from_system_csv_where_the_metrics_have_none():
    run = bare_run()
    part = run.part("pretrain")
    part.metrics_path.write_text('{"step": 1, "train/loss": 2.5}\n', encoding="utf-8")
    rows = [",".join(COLUMNS), "1,1,5,,8000,,,,,,,,,,,", "2,1,6,,12000,,,,,,,,,,,", "3,1"]
    part.system_path.write_text("\n".join(rows), encoding="utf-8")
    page = page_of(run)
    assert page.says("tokens_per_second: 8,000 → 12,000", "median throughput", "10,000")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 402.31}, "it does not beat 5-gram (402.3)."),
        ({"value": 900.0}, "it does not beat 5-gram (402.3), unigram (811.9)."),
        (
            {"value": 395.0, "interval": (380.0, 410.0)},
            "not enough evidence that it beats 5-gram (402.3), whose interval overlaps.",
        ),
    ],
)
def test_a_control_that_is_not_beaten_is_named(changes, said):
    run = full_run()
    records = four_arms(run)
    records[0] = dataclasses.replace(records[0], **changes)
    run.results().replace("evaluate", records)
    assert page_of(run).says(said)


def test_where_higher_is_better_the_verdict_turns_round():
    assert page_of(full_run(better="higher")).says("it does not beat untrained (30,112)")


def test_records_of_another_protocol_stand_in_a_table_of_their_own():
    run = full_run()
    other = [dataclasses.replace(one, protocol={"windows": "cut"}) for one in run.records()[1:]]
    run.results().replace("evaluate", [run.records()[0], *other])
    page = page_of(run)
    assert page.says("no control was measured under the same protocol, so the number stands alone")
    assert page.text.count("best first") == 2


def test_dev_and_generated_records_are_marked_and_failed_items_counted():
    page = page_of(full_run(dev=True, data_kind="generated", n_error=7))
    assert page.says("A dev run: its numbers decide nothing.", "Generated data: this can prove")
    assert page.says("split test dev generated", "245,569 7")


def test_an_imported_number_is_marked_and_speaks_only_where_there_is_no_other():
    run = full_run()
    imported = record(run, "theirs", 20.0, step="import", imported=True, weightless=False)
    run.results().replace("import", [imported])
    page = page_of(run)
    assert page.says("trained reaches word perplexity", "imported weights unknown 20.00")
    run.results().replace("evaluate", [])
    assert page_of(run).says("theirs reaches word perplexity 20.00", "Weights unknown: the number")


def test_a_seed_is_not_chosen_for_its_luck():
    run = full_run()
    more = [record(run, "trained", 410.0, seed=1, interval=None, interval_method=None)]
    run.results().replace("again", more)
    page = page_of(run)
    assert page.says("trained reaches word perplexity 410.0", "it does not beat 5-gram")


def test_html_in_any_name_or_text_stays_text():
    run = bare_run(question=EVIL)
    train(run)
    metrics = run.part("pretrain").metrics_path
    metrics.write_text(json.dumps({"step": 1, f"train/{EVIL}": 1.0}) + "\n", encoding="utf-8")
    run.set_status(EVIL, state="failed", error=EVIL, traceback=EVIL, host=EVIL)
    evil = {"part": EVIL, "unit": EVIL, "at": {EVIL: EVIL}, "protocol": {EVIL: EVIL}}
    run.results().replace(
        "evaluate", [record(run, EVIL, 1.0, metric=EVIL, data={EVIL: EVIL}, **evil)]
    )
    sample = {"run_name": EVIL, "settings": {EVIL: EVIL}, "samples": {EVIL: EVIL + EVIL}}
    run.results().export(SAMPLES).write_text(json.dumps([sample]), encoding="utf-8")
    html = write_report(run).read_text(encoding="utf-8")
    assert EVIL not in html
    page = Page(html)
    assert page.scripts == 3
    assert page.text.count(EVIL) > 15


def test_a_run_without_anything_still_gives_a_page_that_says_so():
    run = create_run("scratch", "empty", config={}, manifest={}, unique=True)
    assert page_of(run).says(
        "scratch/empty", "Nothing measured yet.", "There are no records yet",
        "No step of this run has begun", "There is no manifest",
    )  # fmt: skip


def test_a_cut_results_file_is_said_and_the_other_records_stay():
    run = full_run()
    path = run.results().folder / "results.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-40] + '\n{"version": 1}\n[1]\n', encoding="utf-8")
    page = page_of(run)
    for line in (4, 5, 6):
        assert page.says(f"results.jsonl, line {line} was left out")
    assert page.says("word perplexity 96.31", "untrained (30,112)")


def test_an_edited_number_is_no_record():
    run = full_run()
    path = run.results().folder / "results.jsonl"
    text = path.read_text(encoding="utf-8").replace('"value": 96.31', '"value": 69.31')
    path.write_text(text, encoding="utf-8")
    assert page_of(run).says("line 1 was left out", "the line was edited")


def test_a_truncated_metrics_file_is_said_and_its_whole_rows_are_drawn():
    run = full_run()
    path = run.part("pretrain").metrics_path
    path.write_text(path.read_text(encoding="utf-8")[:1000], encoding="utf-8")
    page = page_of(run)
    assert page.says("is cut or damaged and was left out", "the training at step 300.")
    assert page.says("train/loss: 6.1")


@pytest.mark.parametrize("name", ["manifest.json", "status.json", "pretrain/status.json"])
def test_damaged_json_is_said_and_the_rest_is_reported(name):
    run = full_run()
    (run.folder / name).write_text('{"half', encoding="utf-8")
    assert page_of(run).says(f"{name} is damaged", "word perplexity 96.31")


def test_a_failed_step_and_a_killed_one_come_first():
    run = bare_run()
    run.set_status("pretrain", state="failed", error="FloatingPointError: step 7", started=1.0)
    run.set_status("evaluate", state="running", started=time.time())
    page = page_of(run)
    assert page.says("Step pretrain failed: FloatingPointError: step 7", "Step evaluate was killed")


def test_an_edited_page_is_kept_unless_forced():
    run = full_run()
    path = write_report(run)
    write_report(run)
    edited = path.read_text(encoding="utf-8").replace("small decoder", "large decoder")
    path.write_text(edited, encoding="utf-8")
    with pytest.raises(ValueError, match="was edited"):
        write_report(run)
    assert path.read_text(encoding="utf-8") == edited
    write_report(run, force=True)
    assert "large decoder" not in path.read_text(encoding="utf-8")
