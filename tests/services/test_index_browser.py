"""`runs/index.html` in a real browser: filtered, sorted by keyboard, whole at any width."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from sample_runs import CREATED, make_run

from lmlab.evidence.overview import read_entries
from lmlab.evidence.pages.index import write_index

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of five runs of two studies, one of them failed, one with a page of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        for number, name in enumerate(["a", "b", "c", "d"]):
            make_run(name=name, created=CREATED + 60 * number)
        make_run(study="lens", name="e", created=CREATED - 60, question="What does <b>e</b> show?")
        failed = make_run(name="a_very_long_name_" + 6 * "of_a_run_", created=CREATED - 120)
        failed.set_status("evaluate", state="failed", error="no room: " + 40 * "x/")
        path = write_index(read_entries())
        (path.parent / "scratch" / "d" / "report.html").write_text("the page of d")
        return write_index(read_entries())


@pytest.fixture
def page(index: Path, browser: Browser) -> Iterator[Page]:
    """The page, open; nothing may be logged while it is."""
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(index.as_uri())
    yield opened
    opened.close()
    assert said == []


def test_words_study_and_state_filter_the_runs(page: Page):
    assert page.locator("#count").inner_text() == "6 runs"
    page.get_by_label("Study").select_option("scratch")
    assert page.locator("#count").inner_text() == "5 of 6 runs"
    page.get_by_label("State").select_option("failed")
    assert shown(page) == ["a_very_long_name_" + 6 * "of_a_run_"]
    page.get_by_label("State").select_option("")
    page.get_by_label("Study").select_option("")
    page.get_by_label("Any word of a run").fill("SHOW? lens")
    assert shown(page) == ["e"]
    page.get_by_label("Any word of a run").fill("nowhere")
    assert shown(page) == []


def test_columns_sort_both_ways_by_keyboard(page: Page):
    page.get_by_label("State").select_option("done")
    assert shown(page) == ["d", "c", "b", "a", "e"]
    header = page.get_by_role("button", name="begun")
    header.focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["e", "a", "b", "c", "d"]
    assert page.locator("th[aria-sort]").inner_text().startswith("begun")
    page.get_by_role("button", name="run", exact=True).press("Space")
    assert shown(page) == ["a", "b", "c", "d", "e"]


def test_a_link_leads_to_the_page_of_its_run(page: Page):
    page.get_by_role("link", name="d", exact=True).click()
    assert page.locator("body").inner_text() == "the page of d"


@pytest.mark.parametrize("width", [400, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(page: Page, width: int, theme: str):
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = int(colour.removeprefix("rgb(").split(",")[0])
    assert (brightness < 60) == (theme == "dark")


def shown(page: Page) -> list[str]:
    """The names of the runs that are to be seen, in order."""
    return [one.inner_text() for one in page.locator("tbody tr:visible th a").all()]
