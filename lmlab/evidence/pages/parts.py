"""A report as one page, or several where one would be too large; edited pages are not replaced."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lmlab.engine.run import write_text
from lmlab.evidence.pages.charts import brief, label_value
from lmlab.evidence.pages.gains import told, way
from lmlab.evidence.pages.markup import definitions, duration, fields, moment, plain
from lmlab.evidence.tables import chance, conditions, finite_interval, number, words

TEMPLATES = Path(__file__).parent / "templates"
# Of data, beside the inlined plotly.js: more makes a browser slow.
LIMIT = 3_000_000
# Tables that are read before anybody scrolls on.
MAX_OPEN = 12
_SEAL = re.compile(r"<!-- lmlab report sha256 ([0-9a-f]{64}) -->\n\Z")
_IDS = re.compile(r' id="([^"]+)"')
_LINKS = re.compile(r'href="#([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A piece of a page that is not divided: its HTML, its plots, and the records behind it."""

    section: Literal["charts", "tables", "training", "samples"]
    html: Markup
    plots: Mapping[str, Any] = field(default_factory=dict)
    records: str = ""
    # Whether charts show the same numbers: then it is folded.
    charted: bool = False

    @property
    def size(self) -> int:
        """What it adds to a page, in characters."""
        return len(self.html) + len(self.records) + len(json.dumps(self.plots))


@dataclass(frozen=True)
class Page:
    """What a template shows of one page among several."""

    number: int
    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    tables: tuple[int, int, int]

    def of(self, section: str) -> list[Block]:
        """The blocks of a section."""
        return [block for block in self.blocks if block.section == section]

    @property
    def shown(self) -> list[Block]:
        """Tables that stand open: the first that no chart shows already."""
        return [block for block in self.of("tables") if not block.charted][:MAX_OPEN]

    @property
    def folded(self) -> list[Block]:
        """The other tables."""
        return [block for block in self.of("tables") if block not in self.shown]

    @property
    def plots(self) -> dict[str, Any]:
        """Everything that is to be drawn."""
        return {name: plot for block in self.blocks for name, plot in block.plots.items()}

    @property
    def plotly(self) -> Markup:
        """The library, where there is something to draw."""
        return Markup(get_plotlyjs()) if self.plots else Markup("")


def environment() -> jinja2.Environment:
    """The templates with their filters; whatever is inserted is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number, "words": words, "conditions": conditions, "moment": moment,
        "duration": duration, "fields": fields, "plain": plain, "definitions": definitions,
        "ends": finite_interval, "label": label_value, "brief": brief, "chance": chance,
        "way": way, "told": told,
    }  # fmt: skip
    return made


def divide(blocks: Sequence[Block], *, path: Path, taken: int = 0) -> list[Page]:
    """As few pages as hold the blocks in order; `taken` is what else stands on the first."""
    groups: list[list[Block]] = [[]]
    room = LIMIT - taken
    for block in blocks:
        if block.size > room and (groups[-1] or len(groups) == 1):
            groups.append([])
            room = LIMIT
        groups[-1].append(block)
        room -= block.size
    names = tuple(page_name(path, number) for number in range(1, len(groups) + 1))
    counts = [sum(block.section == "tables" for block in group) for group in groups]
    return [
        Page(i + 1, names, tuple(group), (sum(counts[:i]), sum(counts[: i + 1]), sum(counts)))
        for i, group in enumerate(groups)
    ]


def page_name(path: Path, number: int) -> str:
    """`report.html`, `report-2.html` ..."""
    return path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def write_pages(path: Path, pages: Sequence[str], *, force: bool) -> None:
    """Write all, and remove what an earlier, longer report left.

    Raises ValueError where somebody edited one of them since, unless `force`.
    """
    older = [one for one in path.parent.glob(f"{path.stem}*{path.suffix}") if _is_page(one, path)]
    if edited := [one for one in sorted(older) if not force and not _is_ours(one.read_bytes())]:
        raise ValueError(
            f"{edited[0]} was edited since it was written; move it away, or give --force to "
            "replace it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [page_name(path, number) for number in range(1, len(pages) + 1)]
    for name, text in zip(names, _linked(names, pages), strict=True):
        sealed = f"{text}<!-- lmlab report sha256 {_digest(text)} -->\n"
        write_text(path.with_name(name), sealed)
    for one in older:
        if one.name not in names:
            one.unlink()


def _linked(names: Sequence[str], pages: Sequence[str]) -> list[str]:
    """A link to what stands on another page gets that page's name."""
    if len(pages) == 1:
        return list(pages)
    ids = [set(_IDS.findall(page)) for page in pages]
    home = {one: name for name, own in zip(names, ids, strict=True) for one in own}

    def link(found: re.Match[str], own: set[str]) -> str:
        there = "" if found[1] in own else home.get(found[1], "")
        return f'href="{there}#{found[1]}"'

    return [
        _LINKS.sub(lambda found, own=own: link(found, own), page)
        for page, own in zip(pages, ids, strict=True)
    ]


def _is_page(one: Path, path: Path) -> bool:
    return re.fullmatch(rf"{re.escape(path.stem)}(-\d+)?", one.stem) is not None


def _is_ours(stored: bytes) -> bool:
    text = stored.decode("utf-8", errors="replace")
    seal = _SEAL.search(text)
    return seal is not None and seal[1] == _digest(text[: seal.start()])


def _digest(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()
