"""Batch scripts: what a job asks of SLURM and what it runs, rendered from values alone.

Every value is quoted for the shell, or refused where SLURM itself would misread it. No secret is
written: a job gets its environment from the shell that submits it.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from lmlab.engine.preempt import SIGNALS
from lmlab.engine.run import Run
from lmlab.engine.schema import LaunchConfig
from lmlab.engine.steps import Step

TEMPLATES = Path(__file__).parent / "templates"

# SLURM's forms: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S.
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_PLAIN = re.compile(r"[^\s\"'\\#]+")


def step_script(step: Step, run: Run, launch: LaunchConfig, *, overrides: Sequence[str]) -> str:
    """The job of one step. Raises ValueError for a setting that SLURM could not read."""
    spread = bool(step.parts)
    nodes = launch.nodes if spread else 1
    num_processes = nodes * launch.processes if spread else 1
    return _render(
        directives=[
            *_common(launch, nodes=nodes, num_gpus=launch.gpus.get(step.name, 0)),
            _option("job-name", f"{run.name}.{step.name}"),
            f"--output={_output(run.folder / 'logs', 'slurm-%j.out')}",
            # What is no training has nothing to save: out of time it is ended, not begun again.
            *([f"--signal=USR1@{launch.signal_seconds}"] if spread else []),
        ],
        runs=run.root,
        launch=launch,
        work={
            "srun": _srun(launch, nodes=nodes),
            "command": ["step", run.reference, step.name, *overrides],
            "torchrun": _torchrun(launch) if num_processes > 1 else [],
            "cells": [],
        },
    )


def array_script(
    cells: Sequence[Sequence[str]], *, root: Path, folder: Path, launch: LaunchConfig
) -> str:
    """The job array whose task i runs `lmlab` with the arguments `cells[i]` on one node."""
    if launch.nodes > 1:
        raise ValueError(f"launch.nodes={launch.nodes}: a cell of a sweep runs on one node")
    return _render(
        directives=[
            *_common(launch, nodes=1, num_gpus=max([0, *launch.gpus.values()])),
            _option("job-name", folder.name),
            f"--output={_output(folder / 'logs', 'slurm-%A_%a.out')}",
            f"--array=0-{len(cells) - 1}%{launch.concurrent}",
            f"--signal=USR1@{launch.signal_seconds}",
        ],
        runs=root,
        launch=launch,
        work={"srun": _srun(launch, nodes=1), "cells": cells},
    )


def time_seconds(written: str) -> int:
    """Seconds of a time limit in SLURM's form. Raises ValueError for another."""
    found = _TIME.fullmatch(written)
    if found is None:
        raise ValueError(f"launch.time_limit={written!r}: write minutes, H:M:S or D-H:M:S")
    fields = [int(one) for one in found["rest"].split(":")]
    if found["days"] is not None:
        units = (3600, 60, 1)
        seconds = int(found["days"]) * 86400
    else:
        units = {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}[len(fields)]
        seconds = 0
    # `1-12` is a day and 12 hours: what follows the last field is left out.
    return seconds + sum(field * unit for field, unit in zip(fields, units, strict=False))


def first_node(nodelist: str) -> str:
    """`gpu[03-05,9],x` -> `gpu03`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodelist)
    assert first is not None
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])


def _common(launch: LaunchConfig, *, nodes: int, num_gpus: int) -> list[str]:
    """What every job of these settings asks for."""
    if launch.time_limit and time_seconds(launch.time_limit) <= launch.signal_seconds:
        raise ValueError(
            f"launch.time_limit={launch.time_limit} is no longer than "
            f"launch.signal_seconds={launch.signal_seconds}: the job could only stop and start"
        )
    nodelist = launch.nodelist
    if nodelist is not None and nodes < launch.nodes:
        nodelist = first_node(nodelist)
    asked = {
        "nodes": nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": launch.cpus,
        "mem": f"{launch.memory_gb}G" if launch.memory_gb else None,
        "gres": f"gpu:{num_gpus}" if num_gpus else None,
        "time": launch.time_limit,
        "partition": launch.partition,
        "account": launch.account,
        "qos": launch.qos,
        "nodelist": nodelist,
    }
    given = [_option(name, value) for name, value in asked.items() if value is not None]
    return [*given, "--requeue", "--open-mode=append", "--export=ALL"]


def _option(name: str, value: str | int) -> str:
    """Raises ValueError for what SLURM would split or unquote."""
    if not _PLAIN.fullmatch(str(value)):
        raise ValueError(f"--{name}={value!r} is nothing that SLURM can read: no spaces, no quotes")
    return f"--{name}={value}"


def _output(folder: Path, name: str) -> str:
    """A path of whose letters SLURM replaces only those of `name`."""
    written = str(folder).replace("%", "%%")
    if re.search(r'["\\\n]', written):
        raise ValueError(f"SLURM cannot write below {folder}: take a folder of plainer name")
    return f'"{written}/{name}"'


def _srun(launch: LaunchConfig, *, nodes: int) -> list[str]:
    """SLURM 22.05 and newer do not hand the job's `--cpus-per-task` on to srun."""
    cpus = [f"--cpus-per-task={launch.cpus}"] if launch.cpus else []
    # The other nodes may have to save when one is through; one that is left alone must not hang.
    wait = [f"--wait={launch.signal_seconds}"] if nodes > 1 else []
    return [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", *cpus, *wait]


def _torchrun(launch: LaunchConfig) -> list[str]:
    return [
        f"--nnodes={launch.nodes}",
        f"--nproc-per-node={launch.processes}",
        f"--signals-to-handle={','.join(number.name for number in SIGNALS)}",
        f"--shutdown-timeout={launch.signal_seconds}",
    ]


def _render(
    *, directives: Sequence[str], runs: Path, launch: LaunchConfig, work: Mapping[str, Sequence]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quote": shlex.quote, "join_quoted": shlex.join}
    return environment.get_template("job.sbatch").render(
        directives=directives,
        # Not resolved: a virtual environment's python is a link out of it.
        python_folder=str(Path(sys.executable).parent),
        runs=str(runs),
        setup=launch.setup,
        **work,
    )
