"""One arm of the generation bench: `python bench/writer.py {ours,transformers} BATCH`.

Prints tokens a second of greedy generation with a cache, on the same weights.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.generate import generate
from lmlab.models.schema import DecoderConfig, GenerationSettings

SHAPE = DecoderConfig(num_layers=6, d_model=384, num_heads=6, d_ff=1024, context_tokens=512)
VOCAB, PROMPT, NEW, REPEATS = 8192, 32, 128, 4


def measure(name: str, batch: int) -> dict[str, Any]:
    """The best of several repeats, after one that is not counted."""
    torch.set_num_threads(2)
    model = Decoder(SHAPE, vocab_size=VOCAB).eval()
    init_weights(model, seed=0)
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(3, VOCAB, (batch, PROMPT), generator=generator)
    run = _ours(model, prompts) if name == "ours" else _transformers(model, prompts)
    seconds, tokens = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        tokens = run()
        seconds.append(time.perf_counter() - started)
    return {"tokens_per_second": batch * NEW / min(seconds[1:]), "tokens": tokens}


def _ours(model: Decoder, prompts: torch.Tensor) -> Any:
    settings = GenerationSettings(max_new_tokens=NEW, temperature=0)
    return lambda: [one.tokens for one in generate(model, prompts.tolist(), settings=settings)]


def _transformers(model: Decoder, prompts: torch.Tensor) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        special = SpecialTokens(bos=None, eos=None, pad=None)
        export_decoder(model, folder=Path(folder) / "model", special=special, card="")
        llama = LlamaForCausalLM.from_pretrained(Path(folder) / "model").eval()

    @torch.inference_mode()
    def run() -> list[list[int]]:
        out = llama.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW,
            do_sample=False, use_cache=True, pad_token_id=0,
        )  # fmt: skip
        return out[:, PROMPT:].tolist()

    return run


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
