"""One arm of the fine-tuning bench, in a process of its own: `finetuning_arm.py NAME STEPS`.

NAME is {sft,packed,dpo,lora}-ours-PRECISION or lora-peft-PRECISION, where PRECISION is float32 or
bf16 (autocast); TRL's are in `finetuning_trl.py`. Every arm has the same weights, and all but
`packed` the same batches. Prints one JSON object: of each whole step after the warm-up, its seconds
and the tokens of its examples, pads not counted; and the losses.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arm import SHAPE
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from lmlab.data.examples import Example, ExampleRows, encode_examples, right_padded
from lmlab.data.instruct import render_prompt
from lmlab.data.pack import NO_TARGET
from lmlab.data.schema import Stories, StoryTasks
from lmlab.data.tasks.load import load_pairs
from lmlab.data.text import load_documents
from lmlab.data.tokenizer import TextTokenizer, save_tokenizer, train_bpe, wrap_tokenizer
from lmlab.engine.contract import Batch, Objective
from lmlab.engine.device import keep_freed_memory
from lmlab.models.adapt import adapt
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.pretrained import load_pretrained
from lmlab.models.schema import Lora, PretrainedConfig
from lmlab.studies.scratch.adapting import Adapting, TaskRows
from lmlab.studies.scratch.config import DpoConfig
from lmlab.studies.scratch.dpo import PairExamples, PairRows, PreferenceOptimization, score_pairs
from lmlab.studies.scratch.model import LanguageModeling

EXAMPLES, WARMUP = 8, 2
VOCAB, LEARNING_RATE, BETA = 8192, 1e-4, 0.1
RANK, TARGETS = 16, ("q_proj", "v_proj")
TASKS = {"kind": "stories", "records": 1, "validation_records": 1, "test_records": 1}


@dataclass(frozen=True)
class Given:
    """What all arms start from; `texts` are prompts with a better and a worse answer."""

    decoder: Decoder
    tokenizer: TextTokenizer
    folder: Path
    texts: list[tuple[str, str, str]]
    pairs: PairExamples

    @property
    def chosen(self) -> list[Example]:
        """What is imitated."""
        return self.pairs.chosen


@dataclass(frozen=True)
class Measured:
    """Of each step: seconds, the tokens of its examples, and its loss a target or a pair."""

    seconds: list[float]
    tokens: list[int]
    losses: list[float]


def give(folder: Path, *, steps: int) -> Given:
    """A decoder of the training bench's shape, exported, and pairs that fit its context."""
    stories = Stories(kind="stories", documents=3000, validation_documents=1, test_documents=1)
    texts = load_documents(stories, "train").documents
    tokenizer = wrap_tokenizer(train_bpe(texts, vocab_size=VOCAB), roles={})
    decoder = Decoder(SHAPE, vocab_size=tokenizer.vocab_size)
    init_weights(decoder, seed=0)
    special = SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
    export_decoder(decoder, folder=folder, special=special, card="")
    save_tokenizer(tokenizer, folder)
    wanted = EXAMPLES * (WARMUP + steps)
    data = load_pairs(StoryTasks.model_validate(TASKS | {"records": 3 * wanted}), "train")
    told = [(render_prompt(o.prompt, o.input), o.chosen, o.rejected) for o in data.records]
    sides = [
        encode_examples([(row[0], row[side]) for row in told], tokenizer=tokenizer, joining="joint")
        for side in (1, 2)
    ]
    fitting = [
        row
        for row in range(len(told))
        if max(len(side[row]) for side in sides) < SHAPE.context_tokens
    ][:wanted]
    chosen, rejected = ([side[row] for row in fitting] for side in sides)
    pairs = PairExamples(data, [data.records[row].id for row in fitting], chosen, rejected)
    return Given(decoder, tokenizer, folder, [told[row] for row in fitting], pairs)


Arms = Mapping[str, Callable[[Given, bool], Measured]]


def measure(arms: Arms, name: str, steps: int) -> Measured:
    """The arm's steps without the warm-up's."""
    torch.set_num_threads(2)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        given = give(Path(place), steps=steps)
        found = arms[name.rpartition("-")[0]](given, name.endswith("bf16"))
    return Measured(found.seconds[WARMUP:], found.tokens[WARMUP:], found.losses[WARMUP:])


def our_sft(given: Given, bfloat16: bool) -> Measured:
    """The examples as rows of their own, as TRL has them."""
    objective = LanguageModeling(given.decoder, None, batch_size=EXAMPLES, packed_apart=False)
    batches = ((right_padded(one), count_tokens(one)) for one in in_turn(given.chosen))
    return _steps(objective, batches, bfloat16=bfloat16)


def our_packed_sft(given: Given, bfloat16: bool) -> Measured:
    """Rows as the study makes them: several examples each, which do not see each other."""
    objective = LanguageModeling(given.decoder, None, batch_size=EXAMPLES, packed_apart=True)
    rows = ExampleRows(given.chosen, context_tokens=SHAPE.context_tokens)
    each = sum(map(len, given.chosen)) // len(rows)
    chosen = np.array_split(np.arange(len(rows)), -(-len(rows) // EXAMPLES))
    batches = ((rows.fetch(ids, 0), each * len(ids)) for ids in chosen)
    return _steps(objective, batches, bfloat16=bfloat16)


def our_dpo(given: Given, bfloat16: bool) -> Measured:
    """With the reference's log-probabilities computed before."""
    rows = PairRows(given.pairs, score_pairs(given.decoder, given.pairs))
    settings = DpoConfig.model_validate(
        {
            "data": TASKS,
            "batch_size": EXAMPLES,
            "max_steps": 1,
            "optim": {"learning_rate": LEARNING_RATE},
            "beta": BETA,
        }
    )
    objective = PreferenceOptimization(given.decoder, settings, rows, EXAMPLES, {})
    count = len(rows) // EXAMPLES
    batches = (
        (
            rows.fetch(ids, 0),
            count_tokens([s[i] for s in (rows.pairs.chosen, rows.pairs.rejected) for i in ids]),
        )
        for ids in np.array_split(np.arange(len(rows)), count)
    )
    return _steps(objective, batches, bfloat16=bfloat16)


def our_lora(given: Given, bfloat16: bool) -> Measured:
    """Through the study's own loading, adapting and objective."""
    base = load_pretrained(PretrainedConfig(name=str(given.folder)))
    method = Lora(kind="lora", r=RANK, alpha=32, dropout=0.0, target_modules=TARGETS)
    rows = TaskRows("causal", given.chosen, given.tokenizer.pad_id or 0)
    objective = Adapting(adapt(base, method, seed=0), rows, EXAMPLES, {})
    batches = ((right_padded(one), count_tokens(one)) for one in in_turn(given.chosen))
    return _steps(objective, batches, bfloat16=bfloat16)


def peft_lora(given: Given, bfloat16: bool) -> Measured:
    """PEFT and the loop that its documentation shows."""
    base = LlamaForCausalLM.from_pretrained(given.folder)
    config = LoraConfig(r=RANK, lora_alpha=32, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    seconds, tokens, losses = [], [], []
    for examples in in_turn(given.chosen):
        longest = max(len(one.ids) for one in examples)
        inputs = torch.full((len(examples), longest), given.tokenizer.pad_id or 0)
        labels, seen = torch.full_like(inputs, NO_TARGET), torch.zeros_like(inputs)
        for row, one in enumerate(examples):
            inputs[row, : len(one.ids)] = torch.tensor(one.ids)
            seen[row, : len(one.ids)] = 1
            labels[row, len(one.prompt) : len(one.ids)] = torch.tensor(one.response)
        started = time.perf_counter()
        with _cast(bfloat16):
            loss = model(input_ids=inputs, attention_mask=seen, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
        tokens.append(count_tokens(examples))
    return Measured(seconds, tokens, losses)


ARMS: Arms = {
    "sft-ours": our_sft,
    "packed-ours": our_packed_sft,
    "dpo-ours": our_dpo,
    "lora-ours": our_lora,
    "lora-peft": peft_lora,
}


def _steps(
    objective: Objective, batches: Iterator[tuple[Batch, int]], *, bfloat16: bool
) -> Measured:
    """Whole optimizer steps: loss, backward, clip, fused AdamW."""
    parameters = [p for module in objective.modules.values() for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)
    generator = torch.Generator()
    seconds, tokens, losses = [], [], []
    for batch, count in batches:
        started = time.perf_counter()
        with _cast(bfloat16):
            (term,) = objective.losses(batch, step=0, generator=generator).values()
        loss = term.sum / objective.units(batch)[term.unit]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
        tokens.append(count)
    return Measured(seconds, tokens, losses)


def in_turn(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """As many as a step takes, in their order."""
    for first in range(0, len(examples), EXAMPLES):
        yield list(examples[first : first + EXAMPLES])


def count_tokens(examples: Sequence[Example]) -> int:
    """Predictions, as the study counts them."""
    return sum(map(len, examples))


def _cast(bfloat16: bool) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext()


def main(arms: Arms) -> None:
    """Print nothing but what was measured: libraries talk."""
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(arms, sys.argv[1], int(sys.argv[2]))
    print(json.dumps(vars(found)))


if __name__ == "__main__":
    main(ARMS)
