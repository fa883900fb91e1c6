"""What preference optimisation did: which answers of held-out pairs it moved towards, and how far.

Implicit rewards are beta times the log ratio to the reference (Rafailov et al. 2023). Beside them
stand the longer and the shorter answer, which need no model, and the likelihood itself, with which
every stage ranks the answers of a pair.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64

from lmlab.data.tokenizer import TextTokenizer
from lmlab.metrics.preference import preferred, score_preferences
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.dpo import load_pair_examples, measure_kl, score_pairs
from lmlab.studies.scratch.model import TrainedDecoder
from lmlab.studies.scratch.scored import Scored, Task, of_stage
from lmlab.studies.scratch.stage import stage_before

SPLIT = "test"


def judge_preferences(
    config: Config, decoders: Mapping[str, TrainedDecoder], *, tokenizer: TextTokenizer
) -> list[Scored]:
    """Accuracy and margin of the implicit rewards, KL, and every stage's ranking by likelihood."""
    assert config.dpo is not None
    context = config.model.context_tokens
    pairs = load_pair_examples(config.dpo, SPLIT, tokenizer=tokenizer, context_tokens=context)
    protocol = {
        "prompt": "instruction",
        "joining": config.dpo.joining,
        "tokenizer": tokenizer.sha256,
        "score": "sum over response tokens, EOS included",
        "left_out": {**pairs.data.dropped, "too long": len(pairs.data.records) - len(pairs)},
    }
    task = Task("pairs", pairs.data, protocol, pairs.ids)
    logps = {name: _numpy(score_pairs(one.model, pairs)) for name, one in decoders.items()}
    found = [
        Scored(
            task, "likelihood_accuracy", preferred(np.subtract(*logps[name])), **of_stage(name, one)
        )
        for name, one in decoders.items()
    ]
    before = stage_before(config, "dpo")
    rewards = config.dpo.beta * (logps["dpo"] - logps[before])
    moved = measure_kl(decoders["dpo"].model, decoders[before].model, pairs)
    scores = score_preferences(
        *rewards,
        chosen_lengths=np.array([len(one.response) for one in pairs.chosen]),
        rejected_lengths=np.array([len(one.response) for one in pairs.rejected]),
    )
    mine = of_stage("dpo", decoders["dpo"])
    return [
        *found,
        Scored(task, "preference_accuracy", scores.values, **mine),
        *(
            Scored(task, "preference_accuracy", values, arm=arm, part="dpo", weights={})
            for arm, values in (
                ("longer answer", scores.longer),
                ("shorter answer", 1 - scores.longer),
            )
        ),
        Scored(task, "reward_margin", scores.margins, unit="nats times beta", **mine),
        Scored(
            task, "kl_to_reference", moved.numpy(), unit="nats per token", better="lower", **mine
        ),
    ]


def _numpy(logps: torch.Tensor) -> Float64[np.ndarray, "two pairs"]:
    return logps.double().numpy()
