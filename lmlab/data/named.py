"""What a named set holds: local files first, then a saved data set, then the hub."""

import importlib
from pathlib import Path
from typing import Any

from lmlab.data.files import cut, read_json_lines, read_rows, read_text
from lmlab.data.sources import ALL, Source, Span, Split, data_folder, find_files, find_split


def source_documents(source: Source, split: str, *, limit: int | None) -> list[str]:
    """The split's documents, the first `limit` of them where one is given."""
    if source.form != "text":
        raise ValueError(f"{source.name} holds {source.form} rows, not text: name it for a task")
    where = find_split(source, split)
    folder = data_folder()
    wanted = where.documents.first(limit)
    if folder is not None and (files := find_files(where, folder)):
        return _file_documents(files, source=source, where=where)[wanted.start : wanted.stop]
    rows = wanted if source.rows == "documents" else ALL
    found = _columns(source, where=where, rows=rows, folder=folder)[source.fields[0]]
    if source.rows == "documents":
        return found
    return _rejoin(found, source)[wanted.start : wanted.stop]


def source_rows(source: Source, split: str) -> list[dict[str, Any]]:
    """The split's rows, each with its fields."""
    where = find_split(source, split)
    folder = data_folder()
    if folder is not None and (files := find_files(where, folder)):
        rows = [row for path in files for row in _file_rows(path, source)]
        return rows[where.documents.start : where.documents.stop]
    columns = _columns(source, where=where, rows=where.documents, folder=folder)
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _file_rows(path: Path, source: Source) -> list[dict[str, Any]]:
    """Of JSON, or of lines that begin with a label and a space."""
    if source.separator is None:
        return read_rows(path)
    text, label = source.fields
    lines = cut(read_text(path).removesuffix("\n"), source.separator)
    parted = [line.partition(" ") for line in lines]
    return [{label: head, text: rest} for head, _, rest in parted]


def _file_documents(files: list[Path], *, source: Source, where: Split) -> list[str]:
    documents: list[str] = []
    for path in files:
        if ".jsonl" in path.suffixes:
            documents += read_json_lines(path, field=source.fields[0])
        else:
            text = read_text(path)[where.characters.start : where.characters.stop]
            documents += cut(text, source.separator)
    return documents


def _columns(
    source: Source, *, where: Split, rows: Span, folder: Path | None
) -> dict[str, list[Any]]:
    # Where it is needed: `datasets` takes longer to import than a run to resume.
    hub = importlib.import_module("lmlab.data.hub")
    if folder is not None and where.hub is not None and (folder / source.name).is_dir():
        return hub.load_saved_columns(source, folder / source.name, split=where.hub, rows=rows)
    looked = _looked(source, where=where, folder=folder)
    if source.hub_id is None or where.hub is None:
        raise ValueError(f"{looked}; this set is not on the hub")
    try:
        return hub.load_hub_columns(source, split=where.hub, rows=rows)
    except ValueError as error:
        raise ValueError(f"{looked}, and {error}") from error


def _looked(source: Source, *, where: Split, folder: Path | None) -> str:
    patterns = ", ".join([*where.files, f"{source.name}/ (as save_to_disk writes it)"])
    if folder is None:
        return f"{source.name}: set LMLAB_DATA to a folder that holds {patterns}"
    return f"{source.name}: {folder} holds none of {patterns}"


def _rejoin(rows: list[str], source: Source) -> list[str]:
    """The hub stores a blank line, which is a space and a line end in the file, as nothing."""
    return cut("".join(row or " \n" for row in rows), source.separator)
