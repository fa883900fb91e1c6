"""How many rows fit: a training step by itself to measure it with, and a rough formula."""

import torch

from lmlab.engine.batch_size import rough_batch_size
from lmlab.engine.device import choose_device, choose_precision, keep_freed_memory
from lmlab.engine.optim import build_optimizer
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.estimate import vocabulary_size
from lmlab.studies.scratch.model import LanguageModeling, build_decoder


def rough_rows(config: Config, free_bytes: int) -> int:
    """How many rows the often-quoted formula allows, without a try."""
    return rough_batch_size(
        free_bytes=free_bytes,
        num_parameters=config.model.num_parameters(vocabulary_size(config.tokenizer)),
        context_tokens=config.model.context_tokens,
    )


def training_step(config: Config, batch_size: int) -> None:
    """Two updates of pretraining on random tokens; the first makes the optimizer's moments."""
    device = choose_device(config.device.kind)
    precision = choose_precision(config.device.precision, device)
    keep_freed_memory()
    vocab = vocabulary_size(config.tokenizer)
    model = build_decoder(config.model, vocab_size=vocab, seed=config.seed).to(device).train()
    objective = LanguageModeling(
        model=model,
        validation=None,
        batch_size=batch_size,
        packed_apart=not config.packing.attend_across_documents,
    )
    optimizer = build_optimizer(config.pretrain.optim, objective.modules)
    generator = torch.Generator().manual_seed(config.seed)
    shape = (batch_size, config.model.context_tokens)
    tokens = torch.randint(vocab, shape, generator=generator).to(device)
    batch = {"tokens": tokens, "targets": tokens, "documents": torch.zeros_like(tokens)}
    mixed = torch.autocast(device, getattr(torch, precision), enabled=precision != "float32")
    for step in range(2):
        with mixed:
            terms = objective.losses(batch, step=step, generator=generator)
        terms["nll"].sum.backward()
        optimizer.clip()
        optimizer.optimizer.step()
        optimizer.optimizer.zero_grad(set_to_none=True)
