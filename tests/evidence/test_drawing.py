"""Charts as files and as SVG: valid, the same bytes twice, and safe beside each other in a page."""

import logging
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread
from sample_records import make_record

from lmlab.evidence.pages import drawing
from lmlab.evidence.pages.charts import Chart, choose_charts
from lmlab.evidence.pages.drawing import draw, save, svg
from lmlab.evidence.pages.lines import Curves, Line

EVIL = "_<script>alert('$x$')</script>&"


def chart(kind: str) -> Chart:
    """A chart of the kind, with HTML where names are."""
    conditions = {
        "curve": [{"length": x} for x in (1, 10, 1000)],
        "heat": [{"length": x, "depth": y} for x in (1, 2, 3) for y in (0.1, 0.5)],
        "radar": [{"task": x} for x in (EVIL, "y", "z")],
        "grid": [{"task": x} for x in (EVIL, "y")],
    }[kind]
    records = [
        make_record(arm=arm, at=at, value=0.1 + 0.01 * i, interval=(0.05, 0.5), unit="share")
        for arm in (EVIL, "b")
        for i, at in enumerate(conditions)
    ]
    found = choose_charts(records)[0]
    assert found.kind == kind
    return found


KINDS = ("curve", "heat", "radar", "grid")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_as_png_and_pdf(kind: str, tmp_path: Path):
    png, pdf = save(chart(kind), tmp_path / "figures" / "one")
    assert imread(png)[..., :3].std() > 0.01
    assert pdf.read_bytes().startswith(b"%PDF-")
    # Type 3 fonts are what publishers send back.
    assert b"/Type3" not in pdf.read_bytes()


def test_the_same_picture_gives_the_same_bytes_and_an_equal_one_is_left_alone(tmp_path: Path):
    first = save(chart("grid"), tmp_path / "a")
    second = save(chart("grid"), tmp_path / "b")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]
    before = first[0].stat().st_mtime_ns
    save(chart("grid"), tmp_path / "a")
    assert first[0].stat().st_mtime_ns == before
    save(chart("radar"), tmp_path / "a")
    assert first[0].read_bytes() != second[0].read_bytes()


@pytest.mark.parametrize("kind", ["radar", "grid"])
def test_an_inline_picture_is_valid_shows_names_as_text_and_follows_the_theme(kind: str):
    text = svg(draw(chart(kind), titled=False))
    root = ElementTree.fromstring(text)
    # Long names go on in the next line.
    shown = "".join("".join(root.itertext()).split())
    assert EVIL in shown
    assert "<style" not in text
    assert "width" not in root.attrib
    assert "var(--ink)" in text or "var(--quiet)" in text
    assert not re.search(r": #(1d2126|5f6770|e3e4e0)", text)


def test_two_pictures_in_one_page_share_no_id():
    one, other = (svg(draw(chart(kind), titled=False)) for kind in ("radar", "grid"))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= own


def test_a_line_with_gaps_and_a_name_that_begins_with_an_underscore_is_drawn_and_named():
    line = Line("_x", [1, 2, 3], [1.0, None, 2.0])
    figure = draw(Curves("t", "x", "y", (line, line), ""), titled=True)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [" _x", " _x"]


def test_drawing_says_nothing_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        save(chart("curve"), tmp_path / "one")
    assert caplog.records == []


def test_only_this_module_loads_matplotlib():
    evidence = Path(drawing.__file__).parent
    users = [one.name for one in evidence.glob("*.py") if "matplotlib" in one.read_text()]
    assert users == ["drawing.py"]
