"""A report in several pages: nothing is lost, links find their page, edited pages stay."""

import re
from pathlib import Path

import pytest
from markupsafe import Markup

from lmlab.evidence.pages.parts import LIMIT, Block, divide, write_pages


def block(size: int, section: str = "tables") -> Block:
    return Block(section, Markup("x" * size))  # type: ignore[arg-type]


def test_blocks_fill_as_few_pages_as_hold_them_in_order():
    blocks = [block(LIMIT // 2, "charts"), *(block(LIMIT // 3 - 10) for _ in range(5))]
    pages = divide(blocks, path=Path("report.html"))
    assert [len(page.blocks) for page in pages] == [2, 3, 1]
    assert [one for page in pages for one in page.blocks] == blocks
    assert pages[0].names == ("report.html", "report-2.html", "report-3.html")
    assert [page.tables for page in pages] == [(0, 1, 5), (1, 4, 5), (4, 5, 5)]


def test_what_stands_on_the_first_page_counts_and_one_block_is_never_cut():
    assert len(divide([block(10)], path=Path("r.html"))) == 1
    assert len(divide([block(10)], path=Path("r.html"), taken=LIMIT)) == 2
    assert len(divide([block(2 * LIMIT), block(10)], path=Path("r.html"))) == 3
    assert len(divide([], path=Path("r.html"))) == 1


def test_plots_count_as_data():
    heavy = Block("charts", Markup("h"), {"a": ["x" * LIMIT]})
    assert heavy.size > LIMIT


def test_a_link_to_what_stands_elsewhere_gets_its_page(tmp_path: Path):
    first = '<p id="top"><a href="#rec-1">1</a><a href="#rec-2">2</a><a href="#none">3</a></p>'
    second = '<p id="rec-2"><a href="#top">t</a></p><p id="rec-1b"></p>'
    write_pages(tmp_path / "report.html", [f'{first}<i id="rec-1"></i>', second], force=False)
    links = re.findall(r'href="([^"]+)"', (tmp_path / "report.html").read_text())
    assert links == ["#rec-1", "report-2.html#rec-2", "#none"]
    assert 'href="report.html#top"' in (tmp_path / "report-2.html").read_text()


def test_a_shorter_report_removes_the_pages_of_a_longer_one(tmp_path: Path):
    path = tmp_path / "report.html"
    (tmp_path / "report-of-mine.html").write_text("mine")
    write_pages(path, ["a", "b", "c"], force=False)
    write_pages(path, ["a"], force=False)
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["report-of-mine.html", "report.html"]


def test_an_edit_on_any_page_keeps_all_of_them(tmp_path: Path):
    path = tmp_path / "report.html"
    write_pages(path, ["a", "b"], force=False)
    other = tmp_path / "report-2.html"
    other.write_text(other.read_text().replace("b", "edited", 1))
    with pytest.raises(ValueError, match=r"report-2\.html was edited"):
        write_pages(path, ["new"], force=False)
    assert path.read_text().startswith("a")
    assert "edited" in other.read_text()
    write_pages(path, ["new"], force=True)
    assert path.read_text().startswith("new")
    assert not other.exists()
