"""The identity of weights: which tensors a module has, and one hash over them."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lmlab.engine.distributed import local_part

# What torch.compile and DDP put before a name; a checkpoint knows neither.
_WRAPPERS = ("module", "_orig_mod")


def state_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; tied ones once, under the first name in order."""
    seen: set[tuple[int, torch.Size]] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
        held = local_part(tensor)
        identity = (held.data_ptr(), tensor.shape)
        if held.numel() and identity in seen:
            continue
        seen.add(identity)
        found[".".join(part for part in name.split(".") if part not in _WRAPPERS)] = tensor
    return found


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over (name, dtype, shape, bytes), sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
