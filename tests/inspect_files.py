"""Logs as inspect_ai writes them (log version 2): one .json, or the members of an .eval zip."""

import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

Sample = dict[str, Any]


def sample(number: int, value: Any, *, epoch: int = 1, scorer: str = "match") -> Sample:
    return {
        "id": number,
        "epoch": epoch,
        "input": f"question {number}?",
        "target": "yes",
        "messages": [{"role": "user", "content": f"question {number}?"}],
        "output": {"model": "m", "choices": []},
        "scores": {} if value is None else {scorer: {"value": value, "answer": "yes"}},
        "metadata": {},
        "store": {},
        "events": [],
        "model_usage": {},
    }


def log(samples: Sequence[Sample], *, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """A log with one scorer, `match`, whose accuracy is stated."""
    metrics = {"stderr": {"name": "stderr", "value": 0.1, "params": {}}}
    if accuracy is not None:
        metrics["accuracy"] = {"name": "accuracy", "value": accuracy, "params": {}}
    epochs = max(one["epoch"] for one in samples)
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "run_id": "r", "created": "2026-11-02T10:00:00+00:00", "task": "quiz", "task_id": "t",
            "task_version": 0, "task_args": {},
            "dataset": {"name": "quiz", "samples": len(samples), "shuffled": False},
            "model": "lab/model", "model_args": {}, "config": {"epochs": epochs},
            "packages": {"inspect_ai": "0.3.200"},
        },
        "plan": {
            "name": "plan",
            "steps": [{"solver": "generate", "params": {}}],
            "config": {"temperature": 0.0, "max_connections": 4},
        },
        "results": {
            "total_samples": len(samples), "completed_samples": len(samples),
            "scores": [{"name": "match", "scorer": "match", "params": {}, "metrics": metrics}],
        },
        "stats": {},
        "samples": list(samples),
    } | changes  # fmt: skip


def write_json(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def write_eval(path: Path, content: dict[str, Any], *, zstd: bool = False) -> Path:
    """As the recorder does: header without samples, each sample a member of its own."""
    header = {name: value for name, value in content.items() if name != "samples"}
    members = {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in content["samples"]}
    members = {"_journal/start.json": {"version": 2}, **members, "header.json": header}
    if zstd:
        path.write_bytes(_zstd_zip({name: json.dumps(one) for name, one in members.items()}))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in members.items():
            archive.writestr(name, json.dumps(one))
    return path


def _zstd_zip(members: dict[str, str]) -> bytes:
    """By hand, since Python's zipfile writes this method from 3.14 on (APPNOTE.TXT, 4.3)."""
    body, directory = b"", b""
    for name, text in members.items():
        data, path = text.encode(), name.encode()
        half = len(data) // 2
        # Two frames one after the other, as inspect writes large members.
        packed = b"".join(
            pa.compress(part, "zstd", asbytes=True) for part in (data[:half], data[half:])
        )
        fields = (63, 0, 93, 0, 0, zlib.crc32(data), len(packed), len(data), len(path))
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 63, *fields, 0, 0, 0, 0, 0, len(body)
        ) + path  # fmt: skip
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields, 0) + path + packed
    count = len(members)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end
