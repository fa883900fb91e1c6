"""What people write about a run: `notes.jsonl`, a line a note, only ever added to."""

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import BinaryIO

from lmlab.engine.run import Run


@dataclass(frozen=True)
class Note:
    """What somebody wrote about a run, and when."""

    time: float
    text: str


def add_note(run: Run, text: str) -> Note:
    """Append a note; those before it stay as they are. Raises ValueError for an empty one."""
    note = Note(time.time(), text.strip())
    if not note.text:
        raise ValueError(f"a note on {run.reference} says something; this one is empty")
    line = f"{json.dumps(asdict(note), ensure_ascii=False)}\n"
    with run.notes_path.open("a+b") as file:
        # A line that a kill or a full disk cut must not swallow this one.
        file.write((line if _ends_whole(file) else f"\n{line}").encode())
        file.flush()
        os.fsync(file.fileno())
    return note


def read_notes(run: Run, *, said: list[str]) -> list[Note]:
    """Every whole note, as written; what is damaged is added to `said`."""
    if not run.notes_path.exists():
        return []
    found = []
    for index, line in enumerate(run.notes_path.read_bytes().split(b"\n"), start=1):
        try:
            if line:
                values = json.loads(line)
                found.append(Note(float(values["time"]), str(values["text"])))
        except (ValueError, KeyError, TypeError):
            said.append(f"notes.jsonl, line {index} is cut or damaged and was left out.")
    return found


def _ends_whole(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
