"""The page in a real browser: its plots are drawn, nothing is logged, and it is no blank."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from sample_records import make_record

from lmlab.engine.run import Run, create_run
from lmlab.evidence.reading import SAMPLES
from lmlab.evidence.report import write_report

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
PLOTS = 4
WIDTH, HEIGHT = 1200, 2400


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with curves, a table, samples, and HTML where text belongs."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is missing; `make services` installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        return write_report(make_run())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_plot_is_drawn_and_nothing_is_logged(page: Path, tmp_path: Path, theme: str):
    done = browse(page, theme, "--virtual-time-budget=5000", "--dump-dom", profile=tmp_path)
    plots = re.findall(
        r'<div[^>]*class="[^"]*js-plotly-plot[^"]*".*?<svg[^>]*main-svg', done.stdout
    )
    assert len(plots) == PLOTS
    # A line is drawn through the 30 numbers of each curve.
    paths = re.findall(r'<path class="js-line"[^>]* d="(M[^"]+)"', done.stdout)
    assert sum(path.count("L") + path.count("C") >= 5 for path in paths) >= PLOTS
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert "<script>alert" not in done.stdout


def test_both_themes_are_painted_and_differ(page: Path, tmp_path: Path):
    pictures = {theme: picture(page, theme, tmp_path) for theme in ("light", "dark")}
    for theme, pixels in pictures.items():
        assert pixels.shape[:2] == (HEIGHT, WIDTH)
        colours = (pixels[..., :3] * 255).astype(np.int64) @ [1, 256, 65536]
        assert len(np.unique(colours)) > 100, f"{theme} is nearly blank"
    assert background(pictures["light"]) > 0.8
    assert background(pictures["dark"]) < 0.2


def browse(
    page: Path, theme: str, *switches: str, profile: Path
) -> subprocess.CompletedProcess[str]:
    """Chromium without a window on a page, in a profile of its own."""
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--enable-logging=stderr", "--v=0", f"--user-data-dir={profile / theme}", *dark,
            f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars", *switches, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def picture(page: Path, theme: str, folder: Path) -> np.ndarray:
    """The window's pixels."""
    path = folder / f"{theme}.png"
    browse(page, theme, "--virtual-time-budget=5000", f"--screenshot={path}", profile=folder)
    return imread(path)


def background(pixels: np.ndarray) -> float:
    """The brightness that most of the picture has."""
    return float(np.median(pixels[..., :3].mean(-1)))


def make_run() -> Run:
    """What a training and an evaluation leave."""
    evil = "<script>alert('x')</script>"
    run = create_run("scratch", "demo", config={"study": "scratch"}, manifest={}, unique=True)
    run.write_manifest({"question": f"What is learned? {evil}", "preset": "scratch/demo"})
    run.set_status("pretrain", state="done", started=1.7e9, finished=1.7e9 + 9, attempt=1)
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
    trained = make_record(study="scratch", run=run.reference, metric="word_perplexity")
    control = replace(trained, arm="unigram", value=30.0, interval=(29.0, 31.0))
    run.results().replace("evaluate", [trained, control])
    sample = {"run_name": run.name, "samples": {evil: f"{evil} there was a baker."}}
    run.results().export(SAMPLES).write_text(json.dumps([sample]))
    return run
