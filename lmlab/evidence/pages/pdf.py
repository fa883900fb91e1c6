"""A page as PDF, printed by the Chromium of this machine."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS = 120


def write_pdf(page: Path) -> Path:
    """`report.pdf` beside `report.html`. Raises ValueError where there is no browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError(
            f"no browser to print {page.name} with: install Chromium ({', '.join(BROWSERS)} were "
            "looked for), or open the page and print it"
        )
    path = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        # Chromium refuses to run as root in its sandbox; the page fetches nothing (see its policy).
        unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [
                browser, "--headless=new", "--disable-gpu", "--no-first-run", *unboxed,
                f"--user-data-dir={profile}", "--virtual-time-budget=10000",
                "--no-pdf-header-footer", f"--print-to-pdf={path}", page.resolve().as_uri(),
            ],
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    if done.returncode != 0 or not path.exists():
        raise RuntimeError(f"{browser} printed no {path.name}: {done.stderr.strip()[-500:]}")
    return path
