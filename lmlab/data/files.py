"""Text files as they are: plain or compressed, checked to be UTF-8, cut into documents."""

import gzip
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """A whole file, plain or compressed (.xz, .gz); line ends are not touched."""
    try:
        content = _decompress(path)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); check the file and its permissions"
        ) from error
    if not content:
        raise ValueError(f"{path} is empty; fetch it again or leave it out")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}; "
            "convert it, for example with iconv"
        ) from error


def cut(text: str, separator: str | None) -> list[str]:
    """The stretches between the matches of a regular expression; None leaves the text whole."""
    return [text] if separator is None else re.split(separator, text)


def read_json_lines(path: Path, *, field: str) -> Iterator[str]:
    """One field of a file with a JSON object a line."""
    # Not splitlines: a JSON string may hold U+2028 as it is.
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        try:
            yield json.loads(line)[field]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number} is no JSON object with a field {field!r}; mend or drop the line"
            ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, or of one JSON list; errors show none of the text."""
    text = read_text(path)
    lines = text.removesuffix("\n").split("\n") if ".jsonl" in path.suffixes else [text]
    rows: list[Any] = []
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}:{number} is no JSON ({error}); mend or drop the line"
            ) from error
        rows += found if isinstance(found, list) else [found]
    wrong = next((number for number, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise ValueError(f"{path}: row {wrong} is no JSON object; mend or drop it")
    return rows


def _decompress(path: Path) -> bytes:
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case _:
            return path.read_bytes()
