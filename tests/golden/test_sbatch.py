"""Batch scripts of SLURM are files: what a changed template does to them is seen in review.

`make golden` rewrites the files.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmlab.engine.run import Run
from lmlab.engine.schema import LaunchConfig
from lmlab.engine.steps import Step
from lmlab.launch.sbatch import array_script, step_script

GOLDEN = Path(__file__).parent / "sbatch"
WRITE = os.environ.get("LMLAB_GOLDEN") == "write"
ROOT = Path("/runs")
TRAINING = Step("pretrain", "study:pretrain", reads=(), needs=("prepare",), parts=("pretrain",))
PREPARING = Step("prepare", "study:prepare", reads=())
NASTY = "data.text='x; touch y' $(touch z) `touch z` \"\\\n#"
CLUSTER = LaunchConfig(
    nodes=2,
    processes=2,
    gpus={"pretrain": 2},
    cpus=8,
    memory_gb=64,
    time_limit="1-12:00:00",
    partition="gpu",
    account="lab",
    qos="long",
    nodelist="node[03-04]",
    signal_seconds=90,
    setup=("module load cuda", 'source "$HOME/env/bin/activate"'),
)


@pytest.mark.parametrize(
    ("name", "step", "launch", "overrides"),
    [
        ("one_process", TRAINING, LaunchConfig(), ("pretrain.max_steps=10",)),
        ("two_nodes", TRAINING, CLUSTER, ()),
        ("two_nodes_preparing", PREPARING, CLUSTER, ()),
        ("nasty", TRAINING, LaunchConfig(), (NASTY,)),
    ],
)
def test_a_script_is_its_golden_file(
    name: str, step: Step, launch: LaunchConfig, overrides: Sequence[str]
):
    compare(name, step_script(step, Run(ROOT, "scratch", "tiny"), launch, overrides=overrides))


def test_an_array_is_its_golden_file():
    cells = [["run", "scratch/demo", f"seed={seed}", "--name", f"cell-{seed}"] for seed in (1, 2)]
    launch = LaunchConfig(concurrent=4, gpus={"pretrain": 1}, partition="gpu")
    folder = ROOT / "sweeps" / "seeds"
    compare("array", array_script(cells, root=ROOT, folder=folder, launch=launch))


def compare(name: str, script: str) -> None:
    """With the golden file; the folder of this machine's python is left out."""
    script = script.replace(shlex.quote(str(Path(sys.executable).parent)), "/env/bin")
    path = GOLDEN / f"{name}.sbatch"
    if WRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(script, encoding="utf-8")
    assert path.is_file(), "no golden file; look at what `make golden` writes"
    assert script == path.read_text(encoding="utf-8"), "look at the difference; `make golden`"
