"""Decoders from files that others wrote: a transformers folder, or a llama2.c file."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmlab.models.decoder import Decoder
from lmlab.models.llama import from_llama, from_llama_config
from lmlab.models.llama2c import read_llama2c
from lmlab.models.schema import DecoderConfig

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_decoder(path: Path) -> Decoder:
    """The decoder in a transformers folder or a llama2.c v0 file, in eval mode.

    The folder is a Llama, Mistral or Mixtral. Float32 whatever was stored. Raises ValueError for a
    file that is foreign, cut short, or holds a tensor too many or too few.
    """
    if path.is_dir():
        given = _read_json(path / "config.json")
        config = from_llama_config(given, where=str(path / "config.json"))
        return _build(config, _read_tensors(path), vocab_size=given["vocab_size"], where=path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; name a transformers folder or a llama2.c file")
    found = read_llama2c(path)
    return _build(found.config, found.tensors, vocab_size=found.vocab_size, where=path)


def _build(
    config: DecoderConfig, tensors: dict[str, Tensor], *, vocab_size: int, where: Path
) -> Decoder:
    model = Decoder(config, vocab_size=vocab_size)
    state = from_llama(tensors, config, where=str(where))
    for name, parameter in model.named_parameters():
        if state[name].shape != parameter.shape:
            raise ValueError(
                f"{where}: {name} is {tuple(state[name].shape)} in the file and "
                f"{tuple(parameter.shape)} by its configuration"
            )
    model.load_state_dict(state, strict=True)
    return model.eval()


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """One file, or the shards that an index lists."""
    if not (folder / INDEX).exists():
        return _read_safetensors(folder / WEIGHTS)
    places: dict[str, str] = _read_json(folder / INDEX)["weight_map"]
    found: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        found |= _read_safetensors(folder / shard)
    lacking = sorted(set(places) - set(found))
    if lacking:
        raise ValueError(f"{folder}: the shards lack {lacking[0]}, which {INDEX} lists")
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
