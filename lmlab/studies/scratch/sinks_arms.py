"""What the sinks experiment compares: decoders that differ in their sinks, and how each reads on.

| arm               | decoder            | past its context it sees                         |
|-------------------|--------------------|--------------------------------------------------|
| `window`          | the run's own      | the most recent tokens                           |
| `first_tokens`    | the run's own      | the first tokens and the most recent ones        |
| `recompute`       | the run's own      | the most recent tokens, each time read anew      |
| `full`            | the run's own      | everything, at positions it was never trained on |
| `register+window` | learned registers  | its registers and the most recent tokens         |
| `logit+window`    | learned logits     | the most recent tokens                           |

The first four see as many tokens as the context has, but for `full`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lmlab.models.schema import FirstTokens, Full, Logit, LongText, Recompute, Register, Window
from lmlab.studies.scratch.config import Config

STEP = "sinks"
OWN = "pretrain"
# Lengths in contexts: what was trained on, three times as long, sixteen times as long.
MULTIPLES = (1, 3, 16)
WRITTEN_MULTIPLE = 3


@dataclass(frozen=True)
class Variant:
    """One training: a run's configuration with other sinks, or from another seed."""

    part: str
    config: Config


def variants_of(config: Config) -> list[Variant]:
    """Seed by seed the plain decoder, the one with registers, the one with logits.

    The first is the run's own: it is trained already.
    """
    settings = config.sinks
    assert settings is not None
    kinds = {
        "plain": None,
        "register": Register(num_sinks=settings.num_registers),
        "logit": Logit(),
    }
    found = []
    for seed in range(config.seed, config.seed + settings.num_seeds):
        for name, sinks in kinds.items():
            own = sinks is None and seed == config.seed
            model = config.model.model_copy(update={"sinks": sinks})
            changed = config.model_copy(update={"model": model, "seed": seed})
            found.append(Variant(OWN if own else f"{STEP}/{name}/seed_{seed}", changed))
    return found


def arms_of(config: Config) -> Mapping[str, LongText]:
    """By name, the ways in which a variant's decoder reads a text beyond its context."""
    assert config.sinks is not None
    context, num_first = config.model.context_tokens, config.sinks.num_first
    window = Window(recent_tokens=context)
    match config.model.sinks:
        case Register():
            return {"register+window": window}
        case Logit():
            return {"logit+window": window}
        case None:
            return {
                "window": window,
                "first_tokens": FirstTokens(num_first=num_first, recent_tokens=context - num_first),
                "recompute": Recompute(recent_tokens=context),
                "full": Full(context_tokens=longest(config)),
            }


def longest(config: Config) -> int:
    """Tokens that are predicted of every text."""
    return MULTIPLES[-1] * config.model.context_tokens
