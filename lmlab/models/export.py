"""A decoder as a folder that transformers loads without this package."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from lmlab.models.decoder import Decoder
from lmlab.models.llama import to_llama, to_llama_config


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that begin, end and pad a text, as its tokenizer has them."""

    bos: int | None
    eos: int | None
    pad: int | None


def export_decoder(model: Decoder, *, folder: Path, special: SpecialTokens, card: str) -> Path:
    """Write config.json, generation_config.json, model.safetensors and the model card.

    The tokenizer's own files go beside them. Loads as LlamaForCausalLM, as MistralForCausalLM when
    there is a window, and as MixtralForCausalLM when there are experts; a `capacity_factor` is no
    part of that, since it drops tokens in training alone. Raises ValueError where the folder holds
    something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    ids = {"bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad}
    config = to_llama_config(model.config, vocab_size=model.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", config | ids)
    _write(folder / "generation_config.json", ids | {"do_sample": False})
    (folder / "README.md").write_text(card, encoding="utf-8")
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    # The weights last: a folder that has them is complete.
    temporary = folder / "model.safetensors.tmp"
    save_file(to_llama(state, model.config), temporary, metadata={"format": "pt"})
    temporary.replace(folder / "model.safetensors")
    return folder


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
