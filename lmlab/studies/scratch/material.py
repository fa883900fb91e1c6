"""The records of tasks that a configuration trains on, and those that it is judged by."""

from collections.abc import Iterator

from lmlab.data.tasks.load import load_instructions, load_pairs, load_problems
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.overlap import ScoredRecords
from lmlab.studies.scratch.prompting import load_records

# What the stages are judged on; the baselines' split is in their own settings.
SPLIT = "test"


def trained_records(config: Config) -> dict[str, list[str]]:
    """Step -> the text of every record of its training split."""
    found: dict[str, list[str]] = {}
    for one in _records(config, training=True):
        found.setdefault(one.part, []).extend(one.data.documents)
    return found


def judged_records(config: Config) -> list[ScoredRecords]:
    """What every task is scored on."""
    return list(_records(config, training=False))


def _records(config: Config, *, training: bool) -> Iterator[ScoredRecords]:
    split = "train" if training else SPLIT
    if (sft := config.sft) is not None:
        yield ScoredRecords("instructions", "sft", load_instructions(sft.data, split))
        if sft.problems is not None:
            yield ScoredRecords("problems", "sft", load_problems(sft.problems, split))
    if config.dpo is not None:
        yield ScoredRecords("pairs", "dpo", load_pairs(config.dpo.data, split))
    if config.verifier is not None:
        yield ScoredRecords("problems", "verifier", load_problems(config.verifier.data, split))
    if (baselines := config.baselines) is not None:
        where = "train" if training else baselines.split
        data = load_records(baselines, where)
        yield ScoredRecords(baselines.name, "baselines", data)
