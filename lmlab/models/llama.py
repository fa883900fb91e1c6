"""Our decoder as transformers' Llama, Mistral or Mixtral, both ways: names, shapes, config."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lmlab.models.schema import (
    DecoderConfig,
    ExpertsConfig,
    Llama3,
    Position,
    Proportional,
    Rope,
    RopeLinear,
    RopeNtk,
    Yarn,
)

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
}
# What those models can say and our decoder cannot: any other value is another architecture.
ONLY_VALUES = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
BLOCK_NAMES = {
    "attention_norm.weight": ("input_layernorm.weight",),
    "attention.qkv.weight": (
        "self_attn.q_proj.weight",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.weight",
    ),
    "attention.out.weight": ("self_attn.o_proj.weight",),
    "mlp_norm.weight": ("post_attention_layernorm.weight",),
    "mlp.gate_up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.down.weight": ("mlp.down_proj.weight",),
}


def to_llama(state: Mapping[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Our tensors under Llama's names, the fused products split."""
    found: dict[str, Tensor] = {}
    for ours, theirs in llama_names(config).items():
        # Experts stand one below the other.
        rows = state[ours].flatten(0, -2) if state[ours].ndim == 3 else state[ours]
        parts = rows.split(_rows(ours, config) or [len(rows)])
        found.update(zip(theirs, (part.contiguous() for part in parts), strict=True))
    return found


def from_llama(
    tensors: Mapping[str, Tensor], config: DecoderConfig, *, where: str
) -> dict[str, Tensor]:
    """Llama's tensors under our names, in float32. Raises ValueError for a name too few or many."""
    names = llama_names(config)
    given = dict(tensors)
    if config.tie_embeddings and _same_head(given):
        del given["lm_head.weight"]
    expected = {theirs for group in names.values() for theirs in group}
    missing, unexpected = sorted(expected - set(given)), sorted(set(given) - expected)
    if missing or unexpected:
        raise ValueError(
            f"{where} does not hold this model: missing {_some(missing)}; "
            f"unexpected {_some(unexpected)}"
        )
    found = {
        ours: torch.cat([given[name] for name in theirs]).float() for ours, theirs in names.items()
    }
    if config.experts is None:
        return found
    stacked = (config.experts.num_experts, -1)
    return {
        ours: one.unflatten(0, stacked) if ours.endswith(("mlp.gate_up", "mlp.down")) else one
        for ours, one in found.items()
    }


def llama_names(config: DecoderConfig) -> dict[str, tuple[str, ...]]:
    """Each of our tensors, and the ones of Llama's that it is made of, in order."""
    _refuse_sinks(config)
    names: dict[str, tuple[str, ...]] = {"embed.weight": ("model.embed_tokens.weight",)}
    for layer in range(config.num_layers):
        for ours, theirs in _block_names(config).items():
            full = tuple(f"model.layers.{layer}.{name}" for name in theirs)
            names[f"blocks.{layer}.{ours}"] = full
    names["final_norm.weight"] = ("model.norm.weight",)
    if not config.tie_embeddings:
        names["head.weight"] = ("lm_head.weight",)
    return names


def to_llama_config(config: DecoderConfig, *, vocab_size: int) -> dict[str, Any]:
    """config.json: what differs between versions of transformers is written, never left out."""
    _refuse_sinks(config)
    kind = "llama" if config.window_tokens is None else "mistral"
    if config.experts is not None:
        kind = "mixtral"
    found = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context_tokens,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": _rope_parameters(config.position, width=config.head_width),
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.init_std,
        "attention_dropout": 0.0,
        "dtype": "float32",
        "hidden_act": "silu",
    }
    if kind == "llama":
        return found | {"attention_bias": False, "mlp_bias": False}
    found |= {"sliding_window": config.window_tokens}
    if config.experts is None:
        return found
    return found | {
        "num_local_experts": config.experts.num_experts,
        "num_experts_per_tok": config.experts.top_k,
        "router_aux_loss_coef": config.experts.balance_weight,
    }


def from_llama_config(given: Mapping[str, Any], *, where: str) -> DecoderConfig:
    """The shape of one of them. Raises ValueError for what our decoder cannot be."""
    kind = given.get("model_type")
    if kind not in ARCHITECTURES:
        raise ValueError(f"{where}: model_type {kind!r} is neither of {sorted(ARCHITECTURES)}")
    for key, value in ONLY_VALUES.items():
        if given.get(key, value) != value:
            raise ValueError(f"{where}: {key} {given[key]!r} is not supported, only {value!r}")
    heads, width = given["num_attention_heads"], given["hidden_size"]
    if (given.get("head_dim") or width // heads) * heads != width:
        raise ValueError(f"{where}: {heads} heads of {given['head_dim']} do not make {width}")
    return DecoderConfig(
        num_layers=given["num_hidden_layers"],
        d_model=width,
        num_heads=heads,
        num_kv_heads=given.get("num_key_value_heads"),
        d_ff=given["intermediate_size"],
        context_tokens=given["max_position_embeddings"],
        position=_position(given, where=where),
        window_tokens=given.get("sliding_window") if kind != "llama" else None,
        experts=_experts(given) if kind == "mixtral" else None,
        # The defaults here are those of transformers, for files that leave them out.
        norm_eps=given.get("rms_norm_eps", 1e-6),
        init_std=given.get("initializer_range", 0.02),
        tie_embeddings=given.get("tie_word_embeddings", False),
    )


def _block_names(config: DecoderConfig) -> dict[str, tuple[str, ...]]:
    """Of one block; Mixtral saves an expert's gate, down and up as w1, w2 and w3."""
    if config.experts is None:
        return BLOCK_NAMES
    moe, experts = "block_sparse_moe.experts", range(config.experts.num_experts)
    shared = {ours: theirs for ours, theirs in BLOCK_NAMES.items() if not ours.startswith("mlp.")}
    return shared | {
        "mlp.router.weight": ("block_sparse_moe.gate.weight",),
        "mlp.gate_up": tuple(f"{moe}.{e}.{w}.weight" for e in experts for w in ("w1", "w3")),
        "mlp.down": tuple(f"{moe}.{e}.w2.weight" for e in experts),
    }


def _experts(given: Mapping[str, Any]) -> ExpertsConfig:
    return ExpertsConfig(
        num_experts=given["num_local_experts"],
        top_k=given["num_experts_per_tok"],
        balance_weight=given.get("router_aux_loss_coef", 0.001),
    )


def _refuse_sinks(config: DecoderConfig) -> None:
    if config.sinks is not None:
        lacks = "keys before a text" if config.num_registers else "logit in its softmax"
        raise ValueError(
            f"a model with {config.sinks.kind} sinks cannot be exported: Llama's attention has no "
            f"learned {lacks}, and would be another model without; only model.sinks=null exports"
        )


def _rope_parameters(position: Position, *, width: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rope_theta": position.theta}
    match position:
        case Rope():
            return found | {"rope_type": "default"}
        case RopeNtk(theta=theta, factor=factor):
            # A fixed NTK factor is RoPE with another theta, and transformers has no other word.
            stretched = theta * factor ** (width / (width - 2))
            return {"rope_type": "default", "rope_theta": stretched}
        case RopeLinear(factor=factor):
            return found | {"rope_type": "linear", "factor": factor}
        case Yarn(factor=factor, trained_tokens=trained, beta_fast=fast, beta_slow=slow):
            found |= {"rope_type": "yarn", "factor": factor, "beta_fast": fast, "beta_slow": slow}
            return found | {"original_max_position_embeddings": trained}
        case Llama3(factor=factor, low_freq_factor=low, high_freq_factor=high):
            found |= {"rope_type": "llama3", "factor": factor}
            found |= {"low_freq_factor": low, "high_freq_factor": high}
            return found | {"original_max_position_embeddings": position.trained_tokens}
        case Proportional(factor=factor, fraction=fraction):
            found |= {"rope_type": "proportional", "factor": factor}
            return found | {"partial_rotary_factor": fraction}


def _position(given: Mapping[str, Any], *, where: str) -> Position:
    """`rope_parameters`, or what stood before transformers 5: `rope_theta` and `rope_scaling`."""
    old = {"rope_theta": given.get("rope_theta", 10_000.0)} | (given.get("rope_scaling") or {})
    rope = given.get("rope_parameters") or old
    theta, original = rope["rope_theta"], "original_max_position_embeddings"
    match rope.get("rope_type", rope.get("type", "default")):
        case "default":
            return Rope(theta=theta)
        case "linear":
            return RopeLinear(theta=theta, factor=rope["factor"])
        case "proportional":
            fraction = rope.get("partial_rotary_factor", 1.0)
            return Proportional(theta=theta, factor=rope.get("factor", 1.0), fraction=fraction)
        case "yarn" if not {"attention_factor", "mscale", "mscale_all_dim"} & set(rope):
            betas = {name: rope[name] for name in ("beta_fast", "beta_slow") if rope.get(name)}
            return Yarn(theta=theta, factor=rope["factor"], trained_tokens=rope[original], **betas)
        case "llama3":
            bounds = {name: rope[name] for name in ("low_freq_factor", "high_freq_factor")}
            return Llama3(
                theta=theta, factor=rope["factor"], trained_tokens=rope[original], **bounds
            )
        case _:
            raise ValueError(f"{where}: the rotary positions {dict(rope)} are not supported")


def _rows(ours: str, config: DecoderConfig) -> list[int] | None:
    """How a fused product is split; None where there is nothing to split."""
    if ours.endswith("attention.qkv.weight"):
        kv_width = config.kv_heads * config.head_width
        return [config.d_model, kv_width, kv_width]
    num_experts = 1 if config.experts is None else config.experts.num_experts
    if ours.endswith(("mlp.gate_up.weight", "mlp.gate_up")):
        return [config.d_ff] * 2 * num_experts
    return [config.d_model] * num_experts if ours.endswith("mlp.down") else None


def _same_head(tensors: Mapping[str, Tensor]) -> bool:
    """Some tied models are saved with their head, which is then the embedding again."""
    head, embed = tensors.get("lm_head.weight"), tensors.get("model.embed_tokens.weight")
    return head is not None and embed is not None and torch.equal(head, embed)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more if names else "nothing"
