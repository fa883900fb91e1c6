"""The hash of weights: what changes it, and what does not."""

import hashlib

import torch
from torch import nn

from lmlab.engine.weights import state_tensors, weights_hash


class Tied(nn.Module):
    """An embedding whose matrix is the head's too, and a part that is called like a wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight
        self.submodule = nn.Linear(3, 3)


def test_tied_tensors_are_listed_once_under_the_first_name():
    assert list(state_tensors(Tied())) == ["embed.weight", "submodule.bias", "submodule.weight"]


def test_wrappers_leave_no_trace_in_names():
    model = Tied()
    wrapped = torch.nn.Module()
    wrapped.module = nn.Module()
    wrapped.module._orig_mod = model
    assert state_tensors(wrapped).keys() == state_tensors(model).keys()


def test_the_hash_is_over_names_dtypes_shapes_and_bytes_in_order_of_names():
    tensors = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3, dtype=torch.int64)}
    digest = hashlib.sha256()
    digest.update(b"a|torch.int64|()|" + (3).to_bytes(8, "little"))
    digest.update(b"b|torch.float32|(1, 2)|" + tensors["b"].numpy().tobytes())
    assert weights_hash(tensors) == digest.hexdigest()
    assert weights_hash(dict(sorted(tensors.items()))) == digest.hexdigest()


def test_every_difference_changes_the_hash():
    plain = torch.zeros(4)
    bit = plain.clone()
    bit[2] = -0.0
    variants = [
        {"a": plain},
        {"b": plain},
        {"a": bit},
        {"a": plain.reshape(2, 2)},
        {"a": plain.to(torch.int32)},
        {"a": plain, "b": plain},
    ]
    assert len({weights_hash(one) for one in variants}) == len(variants)


def test_layout_in_memory_and_precision_of_the_view_do_not_matter():
    matrix = torch.arange(6.0).reshape(2, 3)
    assert weights_hash({"a": matrix}) == weights_hash({"a": matrix.T.contiguous().T})
    weights_hash({"a": matrix.bfloat16(), "b": torch.tensor([True]), "c": torch.zeros(0)})
