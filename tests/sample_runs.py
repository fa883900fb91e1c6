"""A finished run to test with: what a training and an evaluation leave, made by hand."""

from dataclasses import replace
from typing import Any

from sample_records import make_record

from lmlab.engine.run import Run, create_run

CREATED = 1_790_000_000.0
ATTEMPT: dict[str, Any] = {
    "started": CREATED, "overrides": ["seed=1"], "command": ["lmlab", "run", "scratch/demo"],
    "commit": "0f" * 20, "diff_sha256": "", "environment_sha256": "ab" * 32, "host": "box",
    "python": "3.11.7", "system": "Linux", "cpu_count": 2, "processor": "A Processor",
    "gpus": [], "versions": {"torch": "2.13.0"},
}  # fmt: skip


def make_run(study: str = "scratch", name: str = "one", **manifest: Any) -> Run:
    """A done run with two arms, one of them a control; `manifest` changes what its own says."""
    about = {
        "preset": f"{study}/demo", "question": "What is learned?", "overrides": ["seed=1"],
        "seed": 1, "dev": False, "created": CREATED, "fingerprints": {}, "attempts": [ATTEMPT],
    }  # fmt: skip
    config = {"study": study, "seed": 1}
    run = create_run(study, name, config=config, manifest=about | manifest, unique=False)
    run.set_status("train", state="done", started=CREATED, seconds=61.0, attempt=1)
    run.set_status("evaluate", state="done", started=CREATED + 61, seconds=9.0, attempt=1)
    trained = make_record(study=study, run=run.reference, at={"split": "test"})
    control = replace(
        trained, arm="unigram", value=30.5, interval=(29.0, 31.0), weights={}, weightless=True
    )
    run.results().replace("evaluate", [trained, control])
    return run
