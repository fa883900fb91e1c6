"""Token shards on disk, and the rows of equal length that a language model is trained on."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from lmlab.data.tokenizer import TextTokenizer

VERSION = 1
# What cross_entropy ignores.
NO_TARGET = -100
DOCUMENTS_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """What a shard holds. `starts` are the positions of the documents' first tokens."""

    version: int
    tokenizer_sha256: str
    text_sha256: str
    bos: bool
    dtype: Literal["uint16", "uint32"]
    num_tokens: int
    tokens_sha256: str
    starts: list[int]


def write_tokens(
    path: Path, documents: Sequence[str], *, tokenizer: TextTokenizer, bos: bool
) -> ShardHeader:
    """The stream of all documents, each followed by EOS (and after BOS), as `path`.bin and .json.

    An intact shard of the same text and tokenizer is left as it is; any other is replaced whole.
    """
    if bos and tokenizer.bos_id is None:
        raise ValueError("bos is asked for, but this tokenizer has no begin-of-text token")
    wanted = ShardHeader(
        version=VERSION,
        tokenizer_sha256=tokenizer.sha256,
        text_sha256=_documents_sha256(documents),
        bos=bos,
        dtype="uint16" if tokenizer.vocab_size <= 2**16 else "uint32",
        num_tokens=0,
        tokens_sha256="",
        starts=[],
    )
    found = _intact_header(path)
    if found is not None and _empty(found) == wanted:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    header = _write_stream(path, documents, tokenizer=tokenizer, header=wanted)
    # The header comes last: tokens that do not match it count for nothing.
    with _replacing(_header_path(path)) as file:
        file.write(json.dumps(asdict(header)).encode())
    return header


class PackedRows:
    """Rows of `context_tokens` cut from a shard's stream, each one token further than its targets.

    Rows follow each other without a gap, so every token is a target once, but for three kinds: the
    stream's first; the tail after the last whole row (`tail_tokens`); and tokens that nothing
    predicts: BOS, and the first of a document without BOS unless rows reach across documents.
    """

    def __init__(self, path: Path, *, context_tokens: int, across_documents: bool) -> None:
        header = _intact_header(path)
        if header is None:
            raise ValueError(f"{path}.bin and .json are no intact shard; write them again")
        if header.num_tokens <= context_tokens:
            raise ValueError(
                f"{path}.bin holds {header.num_tokens} tokens, too few for one row of "
                f"{context_tokens} and its targets; give more text or a shorter context"
            )
        self.header = header
        self.context_tokens = context_tokens
        self.across_documents = across_documents
        self.tail_tokens = (header.num_tokens - 1) % context_tokens
        self._stream = np.memmap(_stream_path(path), dtype=header.dtype, mode="r")
        self._starts = np.asarray(header.starts, dtype=np.int64)
        self._columns = np.arange(context_tokens + 1)

    def __len__(self) -> int:
        return (self.header.num_tokens - 1) // self.context_tokens

    def stream(self) -> Int64[np.ndarray, "_"]:
        """Every token of the shard, in order."""
        return self._stream.astype(np.int64)

    def fetch(
        self, ids: Int[np.ndarray, "rows"], epoch: int
    ) -> dict[str, Int64[Tensor, "rows tokens"]]:
        """`tokens`, `targets` (-100 where there is none) and `documents`, counted from 0 in a row.

        Documents decide what attends to what and where positions start again; where rows reach
        across them they are all 0. Rows are the same in every `epoch`.
        """
        places = ids[:, None] * self.context_tokens + self._columns
        stream = self._stream[places].astype(np.int64)
        targets, documents = stream[:, 1:], np.zeros_like(stream)
        if self.header.bos or not self.across_documents:
            documents = np.searchsorted(self._starts, places, side="right")
            targets = np.where(documents[:, 1:] == documents[:, :-1], targets, NO_TARGET)
            documents = documents - documents[:, :1]
        if self.across_documents:
            documents = np.zeros_like(stream)
        batch = {"tokens": stream[:, :-1], "targets": targets, "documents": documents[:, :-1]}
        return {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in batch.items()}


def _write_stream(
    path: Path, documents: Sequence[str], *, tokenizer: TextTokenizer, header: ShardHeader
) -> ShardHeader:
    digest, lengths = hashlib.sha256(), []
    with _replacing(_stream_path(path)) as file:
        for tokens in _encode(documents, tokenizer=tokenizer, bos=header.bos):
            content = np.concatenate(tokens).astype(header.dtype).tobytes()
            lengths += [len(one) for one in tokens]
            digest.update(content)
            file.write(content)
    ends = np.cumsum(lengths).tolist()
    return replace(
        header, num_tokens=ends[-1], starts=[0, *ends[:-1]], tokens_sha256=digest.hexdigest()
    )


def _encode(
    documents: Sequence[str], *, tokenizer: TextTokenizer, bos: bool
) -> Iterator[list[Int64[np.ndarray, "_"]]]:
    before = [tokenizer.bos_id] if bos else []
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        encoded = tokenizer.encode_batch(documents[first : first + DOCUMENTS_AT_ONCE])
        yield [np.array([*before, *ids, tokenizer.eos_id], dtype=np.int64) for ids in encoded]


def _documents_sha256(documents: Sequence[str]) -> str:
    """Also tells apart equal texts that are cut at other places."""
    digest = hashlib.sha256()
    for document in documents:
        content = document.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _empty(header: ShardHeader) -> ShardHeader:
    """The header without what only the finished stream tells."""
    return replace(header, num_tokens=0, tokens_sha256="", starts=[])


def _intact_header(path: Path) -> ShardHeader | None:
    """The header of a shard whose tokens are those it was written for."""
    if not _header_path(path).exists() or not _stream_path(path).exists():
        return None
    try:
        row = json.loads(_header_path(path).read_text(encoding="utf-8"))
    except ValueError:
        # A cut or foreign header: the shard is written again, or refused by whoever opens it.
        return None
    if not isinstance(row, dict) or set(row) != {one.name for one in fields(ShardHeader)}:
        return None
    header = ShardHeader(**row)
    with _stream_path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return header if header.version == VERSION and digest == header.tokens_sha256 else None


def _stream_path(path: Path) -> Path:
    return path.with_name(path.name + ".bin")


def _header_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and on disk.

    The temporary name holds the process id: arms of one study may pack the same text at once.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
