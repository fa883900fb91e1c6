"""The files that the study's source document promises, written anew when a step has measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from lmlab.engine.run import Results, Run, write_text
from lmlab.studies.scratch.exports import error_file, render_tables


def write_tables(results: Results, run: Run) -> None:
    """From all records of the set; beside another evaluation's stand the run's other steps'."""
    records = results.records()
    if results != run.results():
        evaluated = {one.step for one in records}
        records = [*(one for one in run.results().records() if one.step not in evaluated), *records]
    for name, text in render_tables(records).items():
        write_text(results.export(name), text)


def write_errors(
    results: Results, errors: Mapping[str, Iterable[Mapping[str, Any]]], *, step: str
) -> None:
    """By file; what other steps wrote into it stays."""
    for name, found in errors.items():
        path = results.export(name)
        stored = path.read_text(encoding="utf-8") if path.exists() else "[]"
        write_text(path, error_file(map(dict, found), step=step, stored=stored))
