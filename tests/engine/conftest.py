"""A study outside the repository, and an empty folder of runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

STUDY = "outside_study"
FILES = {
    "__init__.py": "",
    "config.py": """
from typing import Annotated, Literal
from pydantic import Field
from lmlab.engine.schema import FREE, StudyConfig, TrainConfig, Values

class Plain(Values):
    kind: Literal["plain"] = "plain"
    words: int = 3

class Custom(Values):
    kind: Literal["python"]
    path: str

class Evaluate(Values):
    items: int = 10
    batch: int = Field(default=4, json_schema_extra=FREE)

class Config(StudyConfig):
    source: Annotated[Plain | Custom, Field(discriminator="kind")] = Plain()
    train: TrainConfig
    evaluate: Evaluate = Evaluate()
""",
    "steps.py": """
from lmlab.engine.steps import Step

STEPS = (
    Step("dump", "outside_study.work:dump", reads=("source", "seed")),
    Step("train", "outside_study.work:train", reads=("train",), needs=("dump",)),
    Step("evaluate", "outside_study.work:evaluate", reads=("evaluate",), needs=("train",),
         evaluation=True),
)
""",
    "work.py": """
from lmlab.engine.preempt import Preempted

def _note(run, name):
    with (run.folder / "calls").open("a") as file:
        file.write(name + " ")

def dump(config, run):
    _note(run, "dump")

def train(config, run):
    _note(run, "train")
    if (run.folder / "break").exists():
        raise KeyError("broken")
    if (run.folder / "stop").exists():
        raise Preempted("SIGTERM at step 3")

def evaluate(config, run):
    _note(run, f"evaluate{config.evaluate.items}")
""",
    "conf/small.yaml": """# Does it find a package outside?
study: outside_study
train: {max_steps: 10, batch_size: 4, optim: {learning_rate: 0.001}}
""",
}


@pytest.fixture
def outside_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an importable study with the preset `outside_study/small`."""
    for name, text in FILES.items():
        path = tmp_path / "outside" / STUDY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "outside")
    monkeypatch.delenv("DEV_MODE", raising=False)
    yield tmp_path / "outside" / STUDY
    for name in [one for one in sys.modules if one.split(".")[0] == STUDY]:
        del sys.modules[name]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, empty."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"
