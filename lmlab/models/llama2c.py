"""The files of karpathy/llama2.c: "v0" weights, and the tokenizer beside them."""

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import ValidationError
from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from torch import Tensor

from lmlab.models.schema import DecoderConfig, Rope

HEADER = struct.Struct("<7i")
# The order in the file, each for all layers; the shapes are (layers, ...).
LAYER_TENSORS = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
)


@dataclass(frozen=True)
class Llama2cFile:
    """A model as such a file describes it, its tensors under Llama's names."""

    config: DecoderConfig
    vocab_size: int
    tensors: dict[str, Tensor]


def read_llama2c(path: Path) -> Llama2cFile:
    """A "v0" file: seven int32, then float32 tensors. Raises ValueError for any other file."""
    data = path.read_bytes()
    config, vocab_size = _read_header(data, path=path)
    shapes = _shapes(config, vocab_size=vocab_size)
    numbers = sum(int(np.prod(shape)) for shape in shapes.values())
    if len(data) != HEADER.size + 4 * numbers:
        raise ValueError(
            f"{path} has {len(data)} bytes where its header asks for {HEADER.size + 4 * numbers}; "
            "it is cut short, or no llama2.c v0 file"
        )
    values = torch.from_numpy(np.frombuffer(data, "<f4", offset=HEADER.size).copy())
    parts = values.split([int(np.prod(shape)) for shape in shapes.values()])
    stacks = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
    return Llama2cFile(config, vocab_size, _by_llama_names(stacks, config))


def read_llama2c_tokenizer(path: Path) -> Tokenizer:
    """The BPE that a llama2.c tokenizer file describes: byte fallback, a space put before the text.

    The file gives pieces with scores; a merge is any split of a piece into two others, and the
    piece with the higher score merges first.
    """
    pieces = _read_pieces(path)
    vocab = {piece: number for number, (piece, _) in enumerate(pieces)}
    ranked = sorted(pieces[259:], key=lambda one: -one[1])
    merges = [
        (piece[:cut], piece[cut:])
        for piece, _ in ranked
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Prepend("▁"),
            normalizers.Replace(" ", "▁"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def _read_header(data: bytes, *, path: Path) -> tuple[DecoderConfig, int]:
    if len(data) < HEADER.size:
        raise ValueError(f"{path} is too short for a llama2.c v0 file")
    width, d_ff, layers, heads, kv_heads, vocab, context = HEADER.unpack_from(data)
    try:
        config = DecoderConfig(
            num_layers=layers,
            d_model=width,
            num_heads=heads,
            num_kv_heads=kv_heads,
            d_ff=d_ff,
            context_tokens=context,
            position=Rope(theta=10_000.0),
            norm_eps=1e-5,
            # A negative vocabulary says that the head has weights of its own.
            tie_embeddings=vocab > 0,
        )
    except ValidationError as error:
        raise ValueError(f"{path} is no llama2.c v0 file: its header makes no model") from error
    return config, abs(vocab)


def _shapes(config: DecoderConfig, *, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the file in its order, RoPE tables included."""
    layers, width, d_ff = config.num_layers, config.d_model, config.d_ff
    kv_width, half = config.kv_heads * config.head_width, config.head_width // 2
    per_layer = (
        (layers, width),
        (layers, width, width),
        (layers, kv_width, width),
        (layers, kv_width, width),
        (layers, width, width),
        (layers, width),
        (layers, d_ff, width),
        (layers, width, d_ff),
        (layers, d_ff, width),
    )
    shapes: dict[str, tuple[int, ...]] = {"embed": (vocab_size, width)}
    shapes.update(zip(LAYER_TENSORS, per_layer, strict=True))
    shapes["norm"] = (width,)
    shapes["rope"] = (2, config.context_tokens, half)
    return shapes if config.tie_embeddings else {**shapes, "head": (vocab_size, width)}


def _by_llama_names(stacks: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    found = {"model.embed_tokens.weight": stacks["embed"], "model.norm.weight": stacks["norm"]}
    if "head" in stacks:
        found["lm_head.weight"] = stacks["head"]
    heads = {"self_attn.q_proj": config.num_heads, "self_attn.k_proj": config.kv_heads}
    for name, layer in itertools.product(LAYER_TENSORS, range(config.num_layers)):
        tensor = stacks[name][layer]
        if name in heads:
            tensor = _half_split(tensor, num_heads=heads[name])
        found[f"model.layers.{layer}.{name}.weight"] = tensor
    return found


def _half_split(
    weight: Float[Tensor, "rows width"], *, num_heads: int
) -> Float[Tensor, "rows width"]:
    """The file turns neighbours (2i, 2i + 1); we turn (i, i + h/2)."""
    pairs = weight.view(num_heads, -1, 2, weight.shape[1])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _read_pieces(path: Path) -> list[tuple[str, float]]:
    """Pieces and scores in the order of their ids, the space written as sentencepiece does."""
    data, place, pieces = path.read_bytes(), 4, list[tuple[str, float]]()
    try:
        while place < len(data):
            score, length = struct.unpack_from("<fi", data, place)
            (raw,) = struct.unpack_from(f"{length}s", data, place + 8)
            pieces.append((raw.decode("utf-8").strip("\n").replace(" ", "▁"), score))
            place += 8 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no llama2.c tokenizer, or cut short: {error}") from error
    if [piece for piece, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise ValueError(f"{path} is no llama2.c tokenizer: it does not begin with <unk> <s> </s>")
    return pieces
