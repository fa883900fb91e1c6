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
        "sft",
        "lmlab.studies.scratch.sft:sft",
        reads=("sft",),
        needs=("pretrain",),
        parts=("sft",),
        section="sft",
    ),
    Step(
        "dpo",
        "lmlab.studies.scratch.dpo:dpo",
        reads=("dpo",),
        needs=("pretrain", "sft"),
        parts=("dpo",),
        section="dpo",
    ),
    Step(
        "solve",
        "lmlab.studies.scratch.solve:solve",
        reads=("verifier",),
        needs=("pretrain", "sft", "dpo"),
        section="verifier",
    ),
    Step(
        "verifier",
        "lmlab.studies.scratch.verifier:train_verifier",
        reads=("verifier",),
        needs=("solve",),
        parts=("verifier",),
        section="verifier",
    ),
    Step(
        "baselines",
        "lmlab.studies.scratch.baselines:baselines",
        reads=("baselines", "seed"),
        parts=("baselines",),
        section="baselines",
    ),
    Step(
        "sinks",
        "lmlab.studies.scratch.sinks:sinks",
        reads=("sinks",),
        needs=("pretrain",),
        parts=("sinks",),
        section="sinks",
    ),
    Step(
        "evaluate",
        "lmlab.studies.scratch.evaluate:evaluate",
        reads=("evaluate",),
        needs=("pretrain", "sft", "dpo", "verifier"),
        evaluation=True,
    ),
)
