"""Public models by hub id, folder or run, with an adapter on top: loaded whole, or not at all."""

import importlib
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, load_peft_weights
from peft import set_peft_model_state_dict as put_adapter
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import PretrainedConfig as ModelConfig

from lmlab.engine.references import resolve
from lmlab.engine.run import runs_root
from lmlab.engine.weights import state_tensors, weights_hash
from lmlab.models.schema import PretrainedConfig

Kind = Literal["causal", "seq2seq", "classification"]
# What architectures call the layer that gives class scores, and the one that gives next tokens.
CLASS_HEADS = ("score", "classifier", "classification_head")
TOKEN_HEADS = ("lm_head", "embed_out")
_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Pretrained:
    """A model ready to be evaluated, its tokenizer, and what it is: `weights` by role.

    `fresh` names the tensors that no file held: a class head that is still to be trained. `placed`
    says that the loader put it on its devices, and nobody else may.
    """

    name: str
    kind: Kind
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    weights: Mapping[str, str]
    fresh: tuple[str, ...] = ()
    placed: bool = False


def load_pretrained(
    config: PretrainedConfig, *, labels: Sequence[str] = (), device: str = "cpu", seed: int = 0
) -> Pretrained:
    """The model, every tensor of it from its files; with `labels` one that classifies.

    The one exception is a class head, which is drawn from `seed` where the files have none. Raises
    ValueError, in a line, for what cannot be loaded, and for a tensor too many or too few.
    """
    with _opened(config, labels) as found, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with _said_in_a_line(config.name):
            model, info = found.auto.from_pretrained(
                found.place,
                config=found.config,
                dtype=getattr(torch, config.dtype),
                device_map=config.device_map,
                quantization_config=_quantization(config),
                trust_remote_code=config.trust_remote_code,
                revision=config.revision,
                output_loading_info=True,
            )
    fresh = _check_keys(info, kind=found.kind, name=config.name)
    if found.kind != "classification":
        _set_generation(model, found.tokenizer)
    placed = config.device_map is not None or config.quantize is not None
    if not placed:
        model.to(torch.device(device))
    kept = {name: one for name, one in state_tensors(model).items() if name not in fresh}
    weights = {"base": weights_hash(kept)}
    if config.adapter is not None:
        model = _with_adapter(model, config.adapter)
        adapter = get_peft_model_state_dict(model)
        weights["adapter"] = weights_hash(adapter)
        fresh = tuple(name for name in fresh if f"base_model.model.{name}" not in adapter)
    return Pretrained(
        config.name, found.kind, model.eval(), found.tokenizer, weights, fresh, placed
    )


def build_untrained(
    config: PretrainedConfig, *, labels: Sequence[str] = (), device: str = "cpu", seed: int
) -> Pretrained:
    """The same architecture with random weights: the control beside every score."""
    with _opened(config, labels) as found, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = found.auto.from_config(
            found.config,
            dtype=torch.float32,
            trust_remote_code=config.trust_remote_code,
        )
    if found.kind != "classification":
        _set_generation(model, found.tokenizer)
    model.to(torch.device(device))
    weights = {"base": weights_hash(state_tensors(model))}
    return Pretrained(config.name, found.kind, model.eval(), found.tokenizer, weights)


def load_pretrained_tokenizer(config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer alone, with a token to pad with."""
    with _located(config.name) as place:
        return _tokenizer(config, place)


def context_tokens(model_config: ModelConfig) -> int | None:
    """How many positions it was made for; None where positions are relative, as in T5."""
    given = model_config.to_dict()
    return given.get("n_positions") if "n_head" in given else given.get("max_position_embeddings")


def class_head(model: nn.Module) -> str:
    """What the layer of class scores is called in this architecture."""
    for name, _ in model.named_children():
        if name in CLASS_HEADS:
            return name
    raise ValueError(f"{type(model).__name__} has no class head named {', '.join(CLASS_HEADS)}")


@dataclass(frozen=True)
class _Found:
    """Where a model lies and how it is to be opened."""

    place: str
    kind: Kind
    auto: Any
    config: ModelConfig
    tokenizer: PreTrainedTokenizerBase


@contextmanager
def _opened(config: PretrainedConfig, labels: Sequence[str]) -> Iterator[_Found]:
    with _located(config.name) as place:
        tokenizer = _tokenizer(config, place)
        with _said_in_a_line(config.name):
            found = AutoConfig.from_pretrained(
                place, trust_remote_code=config.trust_remote_code, revision=config.revision
            )
        # Without it GPT-2's classifier refuses batches, and Llama's reads the wrong token.
        found.pad_token_id = tokenizer.pad_token_id
        kind: Kind = "seq2seq" if found.is_encoder_decoder else "causal"
        if labels:
            kind = "classification"
            found.id2label = dict(enumerate(labels))
            found.label2id = {label: index for index, label in enumerate(labels)}
        yield _Found(place, kind, _AUTO[kind], found, tokenizer)


_AUTO: Mapping[Kind, Any] = {
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "classification": AutoModelForSequenceClassification,
}


@contextmanager
def _located(name: str) -> Iterator[str]:
    """A folder, or a hub id as it is; a run's decoder is exported, so that all are of one form."""
    if Path(name).is_dir() or not _is_run(name):
        yield name
        return
    found = resolve(name)
    inference = importlib.import_module(f"lmlab.studies.{found.run.study}.inference")
    opened = inference.open_model(found.model_part(), at=found.at)
    with tempfile.TemporaryDirectory() as folder:
        yield str(opened.export(Path(folder) / "model"))


def _is_run(name: str) -> bool:
    """A hub id has neither ":" nor "@", and no organisation that is a study here."""
    study, slash, _ = name.partition("/")
    if not slash or not study.isidentifier():
        return False
    ours = importlib.util.find_spec(f"lmlab.studies.{study}") is not None
    return ours or (runs_root() / study).is_dir() or ":" in name or "@" in name


def _tokenizer(config: PretrainedConfig, place: str) -> PreTrainedTokenizerBase:
    with _said_in_a_line(config.name):
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=config.trust_remote_code, revision=config.revision
        )
    if tokenizer.eos_token is None:
        raise ValueError(f"the tokenizer of {config.name} has no end-of-text token (eos_token)")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _quantization(config: PretrainedConfig) -> BitsAndBytesConfig | None:
    if config.device_map is not None:
        _need("accelerate", f"device_map={config.device_map}")
    if config.quantize is None:
        return None
    _need("bitsandbytes", f"quantize={config.quantize}")
    if not torch.cuda.is_available():
        raise ValueError(f"quantize={config.quantize} needs a GPU; leave it out on a CPU")
    eight = config.quantize == "8bit"
    return BitsAndBytesConfig(load_in_8bit=eight, load_in_4bit=not eight)


def _need(package: str, setting: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{setting} needs {package}, which is not installed here; "
            f"pip install {package}, or leave the setting out"
        )


def _check_keys(info: Mapping[str, Any], *, kind: Kind, name: str) -> tuple[str, ...]:
    """The names of a fresh class head. Raises ValueError for every other difference."""
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    fresh: tuple[str, ...] = ()
    if kind == "classification":
        fresh = tuple(one for one in missing if one.split(".")[0] in CLASS_HEADS)
        missing = [one for one in missing if one not in fresh]
        unexpected = [one for one in unexpected if one.split(".")[0] not in TOKEN_HEADS]
    problems = {"missing": missing, "unexpected": unexpected}
    said = [f"{what}: {', '.join(some[:5])}" for what, some in problems.items() if some]
    if said:
        raise ValueError(
            f"the files of {name} do not fit its architecture ({'; '.join(said)}); nothing is "
            "drawn at random in their place: fetch the model again, or name another"
        )
    return fresh


def _set_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """How it generates is said where it does; of the model's own habits only its tokens stay."""
    given = model.generation_config
    eos = None if given is None else given.eos_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id if eos is None else eos,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=model.config.to_dict().get("decoder_start_token_id"),
    )


def _with_adapter(model: nn.Module, adapter: str) -> nn.Module:
    """The adapter's tensors put in, all of them and no others."""
    with _said_in_a_line(adapter):
        wrapped = get_peft_model(model, PeftConfig.from_pretrained(adapter))  # type: ignore[arg-type]
        stored = load_peft_weights(adapter, device="cpu")
    wanted = get_peft_model_state_dict(wrapped)
    lacking, unknown = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if lacking or unknown:
        raise ValueError(
            f"adapter {adapter} does not fit the model; missing: {', '.join(lacking[:5]) or 'none'}"
            f"; unexpected: {', '.join(unknown[:5]) or 'none'}"
        )
    with _said_in_a_line(adapter):
        put_adapter(wrapped, stored)
    return wrapped


@contextmanager
def _said_in_a_line(name: str) -> Iterator[None]:
    """What transformers, PEFT and the hub raise, as a line for whoever named the model."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        said = " ".join(str(error).split())[:_MESSAGE_CHARACTERS]
        raise ValueError(
            f"{name} cannot be loaded: {said}. Name a hub id, a folder or study/name[:part]; "
            "without a network HF_HUB_OFFLINE=1 reads the cache, and gated models need HF_TOKEN"
        ) from error
