"""Any text inside Markdown: shown as it is, never read as markup."""

import html
import re

_SPECIAL = re.compile(r"([\\`*_\[\]{}#|~!])")
_LIST_MARK = re.compile(r"^([-+=]|\d+(?=[.)]))")


def plain(text: str) -> str:
    """One line that Markdown, and the HTML made of it, show as it was written."""
    line = " ".join(text.split())
    # A backslash before a digit would be shown: the mark after a number is what makes a list.
    line = _LIST_MARK.sub(lambda found: _escaped_mark(found[1]), _SPECIAL.sub(r"\\\1", line))
    return html.escape(line, quote=False)


def code(text: str) -> str:
    """A code span around any text, backticks included."""
    line = " ".join(text.split())
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def _escaped_mark(mark: str) -> str:
    return f"{mark}\\" if mark.isdigit() else f"\\{mark}"
