"""Results in documents: `<!-- rec ID -->value<!-- /rec -->`, written from records, never by hand.

`python -m lmlab.evidence.documents` writes the values; with `--check` it only compares, and fails.
The records lie in `docs/records/*.jsonl` with the command that made them.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from lmlab.engine.records import Record, read_records

MARK = re.compile(r"(<!-- rec (\w+)(?: \.(\d))? -->)(.*?)(<!-- /rec -->)", re.DOTALL)


def render(text: str, records: Mapping[str, Record], *, where: str) -> str:
    """The text with every marked value taken from its record.

    `<!-- rec ID .2 -->` asks for two decimals. Raises ValueError for an unknown record and for one
    of a dev run, which is no result.
    """

    def fill(found: re.Match[str]) -> str:
        record = records.get(found[2])
        if record is None:
            raise ValueError(f"{where} names record {found[2]}, which is not in docs/records")
        if record.dev:
            raise ValueError(f"{where} names record {found[2]} of a dev run, which is no result")
        decimals = int(found[3]) if found[3] else None
        return found[1] + format_value(record.value, decimals=decimals) + found[5]

    return MARK.sub(fill, text)


def format_value(value: float, *, decimals: int | None) -> str:
    """With thousands separators; four significant digits unless the document asks for decimals."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def load_records(folder: Path) -> dict[str, Record]:
    """id -> record, of every file in `docs/records`."""
    return {one.id: one for path in sorted(folder.glob("*.jsonl")) for one in read_records(path)}


def stale_documents(root: Path, *, write: bool) -> list[Path]:
    """Documents whose values differ from their records; written anew with `write`."""
    records = load_records(root / "docs" / "records")
    stale = []
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        before = path.read_text(encoding="utf-8")
        after = render(before, records, where=path.name)
        if after != before:
            stale.append(path)
            if write:
                path.write_text(after, encoding="utf-8")
    return stale


def main() -> None:
    """Write the values, or fail where one differs."""
    check = "--check" in sys.argv[1:]
    stale = stale_documents(Path.cwd(), write=not check)
    if check and stale:
        names = ", ".join(str(path) for path in stale)
        sys.exit(f"{names}: a value differs from its record; run: make docs")


if __name__ == "__main__":
    main()
