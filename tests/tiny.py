"""scratch/demo small enough to run in seconds, in this process or in one of its own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from lmlab.engine.records import Record
from lmlab.launch.notebook import Opened

PRESET = "scratch/demo"
# Without the stages after pretraining.
ALONE = ("sft=null", "dpo=null", "verifier=null")
OVERRIDES = (
    *ALONE,
    "data.documents=100",
    "data.validation_documents=10",
    "data.test_documents=10",
    "tokenizer.vocab_size=300",
    "model.num_layers=1",
    "model.d_model=32",
    "model.num_heads=2",
    "model.num_kv_heads=1",
    "model.d_ff=64",
    "model.context_tokens=64",
    "model.dropout=0.1",
    "model.init_std=0.02",
    "pretrain.max_steps=12",
    "pretrain.batch_size=4",
    "pretrain.checkpoint.save_every=3",
    "evaluate.bootstrap_draws=100",
    "evaluate.sampling.max_new_tokens=20",
    "device.kind=cpu",
    "device.precision=float32",
    "device.threads=1",
    "tracker.tensorboard=false",
)


def command(*arguments: str) -> list[str]:
    """The installed command, as people type it."""
    return [str(Path(sys.executable).with_name("lmlab")), *arguments]


def start(*arguments: str, runs: Path) -> subprocess.Popen[str]:
    """The command in a process of its own; what it says is kept."""
    environment = os.environ | {"LMLAB_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    environment.pop("DEV_MODE", None)
    return subprocess.Popen(
        command(*arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def contents(folder: Path, *below: str) -> dict[str, str]:
    """sha256 of every file of a folder, or of those whose path begins with one of `below`."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if name.startswith(below or "")
    }


def word_perplexity(made: Opened, arm: str) -> Record:
    """That of an arm under the run's own settings."""
    own = made.reference.run.results().records()
    [found] = [one for one in own if (one.arm, one.metric) == (arm, "word_perplexity")]
    return found
