"""How values of records and manifests are written in a page."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from lmlab.engine.records import Record
from lmlab.evidence.tables import number, words

_MOMENTS = ("created", "started", "finished")


def definitions(values: Mapping[str, Any]) -> Markup:
    """Names and values, one below the other; a mapping inside is indented."""
    # Without the template engine: a page may hold thousands of records with thirty fields each.
    return Markup(f"<dl>{''.join(_definition(name, value) for name, value in values.items())}</dl>")


def fields(record: Record) -> Markup:
    """All that a record holds."""
    return definitions(asdict(record))


def moment(seconds: float) -> str:
    """`2026-11-21 15:41 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float | None) -> str:
    """`1 h 02 min`, `2 min 13 s`, `4.1 s`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def short(count: int) -> str:
    """`12.27 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{number(count / size)} {letter}"
    return str(count)


def plain(value: Any) -> str:
    """A value of a manifest or a record on one line; a command is joined as it was typed."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value) or "–"
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _definition(name: str, value: Any) -> str:
    return f"<dt>{escape(words(str(name)))}</dt>\n<dd>{_described(str(name), value)}</dd>\n"


def _described(name: str, value: Any) -> str:
    if isinstance(value, Mapping) and value:
        return str(definitions(value))
    if name in _MOMENTS and isinstance(value, int | float):
        return moment(value)
    return str(escape(plain(value)))
