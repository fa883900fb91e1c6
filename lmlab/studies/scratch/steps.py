"""The stages of the scratch study, in order."""

from lmlab.engine.steps import Step

STEPS = (
    Step("prepare", "lmlab.studies.scratch.prepare:prepare", reads=("data", "tokenizer")),
    Step(
        "pretrain",
        "lmlab.studies.scratch.pretrain:pretrain",
        reads=("model", "packing", "pretrain", "seed"),
        needs=("prepare",),
        parts=("pretrain",),
    ),
    Step(
        "evaluate",
        "lmlab.studies.scratch.evaluate:evaluate",
        reads=("evaluate",),
        needs=("pretrain",),
        evaluation=True,
    ),
)
