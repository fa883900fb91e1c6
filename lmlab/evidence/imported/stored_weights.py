"""The hash of the weights in a folder of safetensors files: `engine.weights.weights_hash` of what
is stored there, computed from the bytes, since evidence needs no torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

# As torch calls what safetensors stores.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_CHUNK = 1 << 24


@dataclass(frozen=True)
class _Stored:
    """Where a tensor's bytes lie, and its dtype and shape as weights_hash writes them."""

    path: Path
    head: str
    start: int
    size: int


def stored_weights_hash(folder: Path) -> str:
    """sha256 over (name, dtype, shape, bytes) of all tensors in `*.safetensors`, sorted by name."""
    tensors: dict[str, _Stored] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= _tensors(path)
    if not tensors:
        raise ValueError(f"{folder} has no weights: no file *.safetensors")
    digest = hashlib.sha256()
    for name in sorted(tensors):
        stored, left = tensors[name], tensors[name].size
        digest.update(f"{name}|{stored.head}|".encode())
        with stored.path.open("rb") as file:
            file.seek(stored.start)
            while left:
                piece = file.read(min(left, _CHUNK))
                if not piece:
                    raise ValueError(f"{stored.path} ends inside {name}; copy it again")
                digest.update(piece)
                left -= len(piece)
    return digest.hexdigest()


def _tensors(path: Path) -> dict[str, _Stored]:
    """The header is a length in 8 bytes, then JSON, then the tensors' bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(min(length, 1 << 27))
    try:
        header = json.loads(text)
        found = {}
        for name, one in header.items():
            if name != "__metadata__":
                begin, end = one["data_offsets"]
                shape = tuple(one["shape"])
                head = f"torch.{_DTYPES[one['dtype']]}|{shape}"
                found[name] = _Stored(path, head, 8 + length + begin, end - begin)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    return found
