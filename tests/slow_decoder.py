"""A small decoder, and the same once more: token by token, in numpy, for whatever a token sees."""

from collections.abc import Callable

import numpy as np
import torch

from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.schema import DecoderConfig

# The tokens that token t sees, itself last, each with the position that it then has.
Slots = Callable[[int], list[tuple[int, int]]]

VOCAB = 40


def small_decoder(sinks: dict | None = None, **changes: object) -> Decoder:
    """Two layers of grouped queries, with weights that make a difference; so do sink logits."""
    shape = {
        "num_layers": 2,
        "d_model": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "d_ff": 48,
        "init_std": 0.3,
        "sinks": sinks,
    }
    model = Decoder(DecoderConfig.model_validate(shape | changes), vocab_size=VOCAB)
    init_weights(model, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sink_logits"):
                parameter.normal_(1.0, 1.0, generator=generator)
    return model.eval()


def drawn_tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Token ids of its vocabulary."""
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def everything(t: int) -> list[tuple[int, int]]:
    """All tokens so far, at their places in the text."""
    return [(j, j) for j in range(t + 1)]


def streaming(num_first: int, recent_tokens: int) -> Slots:
    """The first tokens and the most recent ones, at their places among those."""

    def slots(t: int) -> list[tuple[int, int]]:
        seen = [j for j in range(t + 1) if j < num_first or t - j < recent_tokens]
        return [(j, slot) for slot, j in enumerate(seen)]

    return slots


def slow_logits(model: Decoder, tokens: list[int], slots: Slots = everything) -> np.ndarray:
    """Logits after each token. Registers stand at the positions before the first slot."""
    weights = {name: w.detach().double().numpy() for name, w in model.state_dict().items()}
    x = weights["embed.weight"][tokens]
    for layer in range(model.config.num_layers):
        of = {
            name.removeprefix(f"blocks.{layer}."): w
            for name, w in weights.items()
            if name.startswith(f"blocks.{layer}.")
        }
        x = x + _attention(model, _norm(model, x, of["attention_norm.weight"]), of, slots)
        gate, up = np.split(
            _norm(model, x, of["mlp_norm.weight"]) @ of["mlp.gate_up.weight"].T, 2, 1
        )
        x = x + (gate / (1 + np.exp(-gate)) * up) @ of["mlp.down.weight"].T
    head = weights.get("head.weight", weights["embed.weight"])
    return _norm(model, x, weights["final_norm.weight"]) @ head.T


def slow_nll(logits: np.ndarray, tokens: list[int]) -> np.ndarray:
    """-log p of tokens 1, 2, ... given those before."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -log_p[np.arange(len(tokens) - 1), tokens[1:]]


def _norm(model: Decoder, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + model.config.norm_eps) * weight


def _attention(
    model: Decoder, x: np.ndarray, of: dict[str, np.ndarray], slots: Slots
) -> np.ndarray:
    config, width = model.config, model.config.head_width
    registers = of.get("attention.registers", np.zeros((0, config.d_model)))
    bounds = np.cumsum([config.d_model, config.kv_heads * width])
    w_q, w_k, w_v = np.split(of["attention.qkv.weight"], bounds)
    mixed = np.zeros_like(x)
    for t in range(len(x)):
        seen = slots(t)
        rows = np.concatenate((registers, x[[j for j, _ in seen]]))
        places = [*range(len(registers)), *(slot + len(registers) for _, slot in seen)]
        for head in range(config.num_heads):
            q_rows = slice(head * width, (head + 1) * width)
            group = head * config.kv_heads // config.num_heads
            k_rows = slice(group * width, (group + 1) * width)
            q = _turned(model, x[t] @ w_q[q_rows].T, places[-1])
            keys = [
                _turned(model, k, at) for k, at in zip(rows @ w_k[k_rows].T, places, strict=True)
            ]
            p = np.exp(np.stack(keys) @ q / np.sqrt(width))
            rest = np.exp(of["attention.sink_logits"][head]) if "attention.sink_logits" in of else 0
            mixed[t, q_rows] = p / (p.sum() + rest) @ (rows @ w_v[k_rows].T)
    return mixed @ of["attention.out.weight"].T


def _turned(model: Decoder, x: np.ndarray, position: int) -> np.ndarray:
    half = len(x) // 2
    # Frequencies are float32, as in checkpoints.
    radians = np.float32(model.config.position.theta ** (-np.arange(half) / half))
    angle = position * radians.astype(np.float64)
    cos, sin, first, second = np.cos(angle), np.sin(angle), x[:half], x[half:]
    return np.concatenate((first * cos - second * sin, second * cos + first * sin))
