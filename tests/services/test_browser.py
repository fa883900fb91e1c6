"""The pages in a real browser: of a run, of a study, and of all runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from matplotlib.image import imread
from playwright.sync_api import Browser, Page
from sample_records import make_record

from lmlab.engine.run import Run, create_run
from lmlab.evidence.overview import read_entries
from lmlab.evidence.pages.index import write_index
from lmlab.evidence.pages.pdf import write_pdf
from lmlab.evidence.pages.study_report import report
from lmlab.evidence.reading import SAMPLES

pytestmark = pytest.mark.browser

EVIL = "<script>alert('x')</script>"
NAMES = ("run", "study", "index")
THEMES = ("light", "dark")
# Four of the training, a curve and two heat maps; over two runs the loss beside the charts.
PLOTS = {"run": 7, "study": 4, "index": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of two runs with curves, charts, gates, samples, and HTML where text belongs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        run, _ = make_run("demo"), make_run("a" * 90)
        write_verdicts(run.folder, run)
        write_verdicts(run.folder.parent, run)
        pages = {"run": report([run.reference]), "study": report([run.study])}
        return pages | {"index": write_index(read_entries())}


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def page(browser: Browser, theme: str) -> Iterator[Page]:
    """A window in the theme, without a network, that fails the test for whatever is logged."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light", offline=True,
        viewport={"width": 1200, "height": 900},
    )  # fmt: skip
    logged: list[str] = []
    asked: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: logged.append(message.text))
    opened.on("pageerror", lambda error: logged.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    assert logged == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_drawn(made: dict[str, Path], page: Page, name: str):
    show(page, made[name])
    assert page.locator(".js-plotly-plot .cartesianlayer .subplot").count() == PLOTS[name]
    assert page.locator("[data-figure]:not(.js-plotly-plot)").count() == 0
    if name == "index":
        return
    assert page.locator(".heatmaplayer image").count() == 2
    lines = page.locator("path.js-line").evaluate_all(
        "all => all.map((one) => one.getAttribute('d'))"
    )
    assert sum(line.count("L") + line.count("C") >= 2 for line in lines) >= PLOTS[name] - 2
    radar = page.locator(".drawn svg").first
    assert (radar.bounding_box() or {"height": 0})["height"] > 150
    # A long name goes on in the next line.
    assert EVIL in "".join((radar.text_content() or "").split())


@pytest.mark.parametrize("name", NAMES)
def test_no_page_is_wider_than_the_window(made: dict[str, Path], page: Page, name: str):
    show(page, made[name])
    for width in (400, 800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        # Plots follow the window a moment later.
        fits = "width => document.documentElement.scrollWidth <= width"
        page.wait_for_function(fits, arg=width, timeout=20_000)


def test_every_link_leads_somewhere(made: dict[str, Path], browser: Browser):
    window = browser.new_page()
    ids: dict[Path, set[str]] = {}
    links: dict[Path, list[str]] = {}
    for path in made.values():
        window.goto(path.as_uri())
        every = "all => all.map((one) => one.id)"
        ids[path] = set(window.locator("[id]").evaluate_all(every))
        links[path] = window.locator("a").evaluate_all("all => all.map((one) => one.href)")
    window.close()
    for link in [link for found in links.values() for link in found]:
        url = urlparse(link)
        path = Path(unquote(url.path))
        assert path.exists(), link
        assert not url.fragment or unquote(url.fragment) in ids[path], link
    assert sum("#rec-" in link for link in links[made["run"]]) > 20


@pytest.mark.parametrize("name", ["run", "study"])
def test_a_number_opens_its_record_wherever_it_is_folded(
    made: dict[str, Path], page: Page, name: str
):
    show(page, made[name])
    number = page.locator("td.num.value a:visible").first
    target = page.locator(number.get_attribute("href") or "")
    assert not target.get_by_text("protocol hash").is_visible()
    number.click()
    target.get_by_text("protocol hash").wait_for(state="visible")
    top = target.bounding_box()
    assert top is not None
    assert 0 <= top["y"] < 900


@pytest.mark.parametrize("name", NAMES)
def test_a_keyboard_is_enough(made: dict[str, Path], page: Page, name: str):
    show(page, made[name])
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1][:80]
    if name != "index":
        wanted = page.locator("nav a").evaluate_all("all => all.map((one) => one.outerHTML)")
        assert set(wanted[:4]) <= set(reached)
    skip.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("name", NAMES)
def test_both_themes_are_painted_and_differ(
    made: dict[str, Path], page: Page, theme: str, tmp_path: Path, name: str
):
    show(page, made[name])
    page.screenshot(path=tmp_path / "page.png")
    pixels = imread(tmp_path / "page.png")[..., :3]
    colours = (pixels * 255).astype(np.int64) @ [1, 256, 65536]
    assert len(np.unique(colours)) > 100
    background = float(np.median(pixels.mean(-1)))
    assert background > 0.8 if theme == "light" else background < 0.2


@pytest.mark.usefixtures("browser")
def test_a_page_is_printed(made: dict[str, Path]):
    pdf = write_pdf(made["study"])
    assert pdf.name == "report.pdf"
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.stat().st_size > 30_000


def show(page: Page, path: Path) -> None:
    """Open the page and wait until everything is drawn."""
    page.goto(path.as_uri())
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-figure]')]"
        ".every((one) => one.querySelector('.main-svg'))"
    )


def make_run(name: str) -> Run:
    """What a training and an evaluation leave."""
    run = create_run("scratch", name, config={"study": "scratch"}, manifest={}, unique=True)
    run.write_manifest({"question": f"What is learned? {EVIL}", "preset": "scratch/demo"})
    run.set_status(
        "pretrain", state="done", started=1.7e9, finished=1.7e9 + 9, seconds=9.0, attempt=1
    )
    part = run.part("pretrain")
    rows = [
        {
            "step": step, "tokens": 4096 * step, "train/loss": 2 + 5 * 0.97**step,
            "train/lr": 3e-3 / step, "train/grad_norm": 1 / step,
            "tokens_per_second": 9e3 + step % 70,
        }
        for step in range(10, 310, 10)
    ]  # fmt: skip
    part.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = {"state": "done", "step": 300, "total_steps": 300, "attempt": 1, "seconds": 9.0}
    part.write_status(status | {"cost_usd": None, "best": None})
    run.results().replace("evaluate", [*measured(run)])
    sample = {"run_name": run.name, "samples": {EVIL: f"{EVIL} there was a baker."}}
    run.results().export(SAMPLES).write_text(json.dumps([sample]))
    return run


def measured(run: Run) -> Iterator[object]:
    """A table, a curve, a heat map an arm, and a radar; the other run has the table alone."""
    base = make_record(study="scratch", run=run.reference, metric="word_perplexity")
    yield base
    yield replace(base, arm="unigram", value=30.0, interval=(29.0, 31.0))
    if run.name != "demo":
        return
    for arm, bonus in (("trained", 0.1), (EVIL, 0.0)):
        share = {"arm": arm, "unit": "share", "better": "higher", "interval": (0.1, 0.9)}
        for length in (128, 256, 512, 1024):
            value = bonus + 100 / length
            yield replace(base, metric="recall", at={"length": length}, value=value, **share)
            for depth in (0.1, 0.5, 0.9):
                at = {"length": length, "depth": depth}
                yield replace(base, metric="found", at=at, value=depth * value, **share)
        for task in ("copy", EVIL, "sort"):
            yield replace(base, metric="f1", at={"task": task}, value=0.5 + bonus, **share)


def write_verdicts(folder: Path, run: Run) -> None:
    """Two gates over a record of the run, and what follows."""
    gate = {
        "gate": "learns", "claim": f"It learns {EVIL}", "verdict": "pass", "reason": "it did",
        "estimate": 0.5, "interval": [0.25, 0.75], "n": 400, "seeds": 1, "p": 0.01,
        "p_corrected": 0.02, "audit": "sound", "evidence": [run.records()[0].id],
    }  # fmt: skip
    other = gate | {"gate": "x" * 80, "verdict": "not_run", "claim": "y" * 200}
    (folder / "gates.json").write_text(json.dumps([gate, other]))
    (folder / "decision.json").write_text(json.dumps({"actions": ["z" * 200]}))
