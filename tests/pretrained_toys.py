"""Small public-like models made here: GPT-2, T5 and Llama folders with a tokenizer of their own."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from lmlab.data.tokenizer import TextTokenizer, save_tokenizer, train_bpe, wrap_tokenizer

# "positive" and "negative" become one token each, with the space before them.
TEXTS = (
    "Review: a fine film\nSentiment: positive",
    "Review: a dull film\nSentiment: negative",
    "Question: 2 and 3 apples?\nAnswer: 2 + 3 = 5\n#### 5",
    "Dialogue:\nAnna: Tea?\nBen: Yes.\nSummary: Ben wants tea.",
) * 20


def make_tokenizer(vocab_size: int = 420) -> TextTokenizer:
    return wrap_tokenizer(train_bpe(TEXTS, vocab_size=vocab_size), roles={})


def make_model(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """One of gpt2, llama and t5, of 2 layers, 32 wide."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    ids = {
        "vocab_size": tokenizer.vocab_size,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    return MAKERS[kind](ids)


def make_folder(kind: str, folder: Path, *, seed: int = 0) -> str:
    """Such a model with its tokenizer, as a hub's folder."""
    make_model(kind, seed=seed).save_pretrained(folder)
    save_tokenizer(make_tokenizer(), folder)
    return str(folder)


def _gpt2(ids: Mapping[str, int | None]) -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(n_positions=256, n_embd=32, n_layer=2, n_head=2, **ids))


def _llama(ids: Mapping[str, int | None]) -> PreTrainedModel:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=256, **shape, **heads, **ids))


def _t5(ids: Mapping[str, int | None]) -> PreTrainedModel:
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    return T5ForConditionalGeneration(
        T5Config(decoder_start_token_id=ids["pad_token_id"], **shape, **ids)
    )


MAKERS = {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
