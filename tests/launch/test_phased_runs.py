"""Runs by phases: the gates between them, and independent ones at once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import tiny
from commands import PATIENCE_SECONDS, type_command, until

from lmlab.engine.config import Resolved, load_preset
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run
from lmlab.evidence.reading import read_run
from lmlab.launch.local import Options, choose_run, start
from lmlab.launch.phases import GateFailedError

STUDY = "phased_study"
PRESET = f"{STUDY}/small"
FILES = {
    "__init__.py": "",
    "config.py": """
from lmlab.engine.schema import StudyConfig

class Config(StudyConfig):
    pass
""",
    "steps.py": """
from lmlab.engine.steps import Step

def _step(name, phase, *needs):
    return Step(name, f"phased_study.work:{name}", reads=("seed",), needs=needs, phase=phase)

STEPS = (
    _step("prepare", None),
    _step("short", "sanity", "prepare"),
    _step("long", "core", "short"),
    _step("ablate", "ablation", "long"),
    _step("diagnose", "diagnosis", "long"),
    _step("pack", None, "ablate", "diagnose"),
)
""",
    "work.py": """
import os
import time
from lmlab.engine.records import Record

def _work(config, run, name):
    with (run.folder / "calls").open("a") as file:
        file.write(name + " ")
    record = Record(
        study="phased_study", run=run.reference, part="all", step=name, training_step=None,
        arm="model", at={}, metric=f"{name}_accuracy", unit="share", better="higher",
        value=float(os.environ.get("TOY_VALUE", "0.9")), n=100, n_error=0,
        interval=None, interval_method="exact", protocol={}, data={}, data_kind="generated",
        weights={"model": "00"}, seed=config.seed, dev=config.dev, command="", commit="",
    )
    run.results().replace(name, [record])

def _meet(run, name):
    # Each waits for the other: one after the other they would never end.
    (run.folder / f"{name}.pid").write_text(str(os.getpid()))
    until = time.monotonic() + 60
    while len(list(run.folder.glob("*.pid"))) < 2 or (run.folder / "hold").exists():
        if time.monotonic() > until:
            raise TimeoutError(name)
        time.sleep(0.01)

def prepare(config, run):
    _work(config, run, "prepare")

def short(config, run):
    _work(config, run, "short")

def long(config, run):
    _work(config, run, "long")

def ablate(config, run):
    if config.launch.workers > 1:
        _meet(run, "ablate")
    _work(config, run, "ablate")

def diagnose(config, run):
    if (run.folder / "break").exists():
        raise KeyError("broken")
    if config.launch.workers > 1:
        _meet(run, "diagnose")
    _work(config, run, "diagnose")

def pack(config, run):
    _work(config, run, "pack")
""",
    "conf/small.yaml": "# Does one phase follow another?\nstudy: phased_study\n",
    "conf/gates/phased_study.yaml": """
study: phased_study
question: Does one phase follow another?
gates:
  - id: short_is_right
    claim: The short test is right nine times in ten.
    phase: sanity
    metric: short_accuracy
    arm: model
    test: {kind: threshold, at_least: 0.8}
    unit: record
""",
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable study outside the repository, for worker processes too; no runs yet."""
    for name, text in FILES.items():
        path = tmp_path / "outside" / STUDY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "outside")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "outside"))
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DEV_MODE", raising=False)
    yield tmp_path / "outside" / STUDY
    for name in [one for one in sys.modules if one.split(".")[0] == STUDY]:
        del sys.modules[name]


def test_phases_run_in_order_once_and_again_go_on(study: Path):
    run = begin()
    assert calls(run) == "prepare short long ablate diagnose pack"
    begin()
    assert calls(run) == "prepare short long ablate diagnose pack"


def test_a_failing_gate_stops_what_comes_after_its_phase(study: Path):
    asked: list[tuple[str, ...]] = []

    def failing(run: Run, phases: Sequence[str]) -> list[str]:
        asked.append(tuple(phases))
        return ["g of phase core (3 < 4)"] if "core" in phases and not mended else []

    mended = False
    with pytest.raises(GateFailedError, match=r"phase ablation was not begun.*g of phase core"):
        begin(failing=failing)
    run = newest()
    assert calls(run) == "prepare short long"
    mended = True
    begin(failing=failing)
    assert calls(run) == "prepare short long ablate diagnose pack"
    # An independent phase is not asked about, and nothing is judged for steps of no phase.
    assert asked == [("sanity",), ("sanity", "core"), ("sanity", "core")]


def test_a_reason_begins_the_next_phase_and_is_kept_and_shown(study: Path):
    failing = lambda run, phases: ["g (3 < 4)"] if "core" in phases else []  # noqa: E731
    run = begin("--continue is a test", failing=failing)
    assert calls(run) == "prepare short long ablate diagnose pack"
    begin("--continue is a test", redo="ablate", failing=failing)
    assert calls(run).endswith(" pack ablate pack")
    assert run.manifest()["continued"] == [
        {"phase": "ablation", "gates": ["g (3 < 4)"], "why": "--continue is a test"}
    ]
    [said] = [line for line in read_run(run).warnings if "gate" in line]
    assert said == (
        "Phase ablation was begun although a gate failed: g (3 < 4). The reason given: "
        "--continue is a test"
    )
    with pytest.raises(ValueError, match="needs a reason"):
        Options(why=" ")


def test_independent_phases_run_at_once_and_lose_no_record(study: Path):
    run = begin(overrides=["launch.workers=2"])
    assert {entry["state"] for entry in run.status()["steps"].values()} == {"done"}
    assert sorted(run.status()["steps"]) == sorted(calls(run).split())
    assert {record.step for record in run.records()} == set(calls(run).split())
    assert calls(run).endswith(" pack")
    assert {path.name for path in (run.folder / "logs").iterdir()} == {
        "1.log",
        "1.ablation.log",
        "1.diagnosis.log",
    }


def test_a_phase_that_fails_stops_no_other_and_goes_on_later(study: Path):
    begin(steps=("prepare", "short", "long"))
    run = newest()
    (run.folder / "break").touch()
    (run.folder / "other.pid").touch()
    with pytest.raises(RuntimeError, match=r"1 of 2 phases failed: see .*1\.diagnosis\.log|2\."):
        begin(overrides=["launch.workers=2"])
    states = {name: entry["state"] for name, entry in run.status()["steps"].items()}
    assert (states["ablate"], states["diagnose"], "pack" in states) == ("done", "failed", False)
    assert run.status()["steps"]["diagnose"]["error"] == "KeyError: 'broken'"
    (run.folder / "break").unlink()
    begin(overrides=["launch.workers=2"])
    assert calls(run) == "prepare short long ablate diagnose pack"


def test_a_notice_stops_all_of_them_and_the_same_command_goes_on(study: Path):
    begin(steps=("prepare", "short", "long"))
    run = newest()
    (run.folder / "hold").touch()
    chosen = choose_run(resolve(["launch.workers=2"]), Options())

    def notify() -> None:
        until(lambda: len(list(run.folder.glob("*.pid"))) == 2)
        chosen.run.notice.ask("a test")

    asking = threading.Thread(target=notify)
    asking.start()
    with pytest.raises(Preempted, match="a test"):
        start(resolve(["launch.workers=2"]), chosen, Options())
    asking.join()
    states = {name: entry["state"] for name, entry in run.status()["steps"].items()}
    assert (states["ablate"], states["diagnose"]) == ("preempted", "preempted")
    (run.folder / "hold").unlink()
    begin(overrides=["launch.workers=2"])
    assert calls(run).endswith("pack")


def test_workers_leave_when_what_started_them_is_killed(study: Path):
    begin(steps=("prepare", "short", "long"))
    run = newest()
    (run.folder / "hold").touch()
    process = tiny.start("run", PRESET, "launch.workers=2", runs=run.root)
    until(lambda: len([one for one in run.folder.glob("*.pid") if one.read_text()]) == 2)
    pids = [int(path.read_text()) for path in run.folder.glob("*.pid")]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    until(lambda: not any(map(psutil.pid_exists, pids)))
    assert "ablate" not in calls(run)


def test_the_command_judges_the_gates_of_the_study(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TOY_VALUE", "0.5")
    assert type_command(monkeypatch, "run", PRESET) == 1
    said = capsys.readouterr().err
    assert "phase core was not begun, for a gate fails: short_is_right of phase sanity" in said
    assert calls(newest()) == "prepare short"
    assert type_command(monkeypatch, "run", PRESET, "--phases", "2", "--continue", "to see") == 0
    assert calls(newest()) == "prepare short long"
    monkeypatch.setenv("TOY_VALUE", "0.9")
    assert type_command(monkeypatch, "run", PRESET, "--new", "--phases", "core") == 64
    assert type_command(monkeypatch, "run", PRESET, "--phases", "3", "--steps", "long") == 64
    assert type_command(monkeypatch, "run", PRESET, "--new") == 0
    assert calls(newest()) == "prepare short long ablate diagnose pack"


def test_processes_that_write_one_status_and_one_result_set_lose_nothing(tmp_path: Path):
    program = """
import sys
from pathlib import Path
from sample_records import make_record
from lmlab.engine.run import Run
run = Run(Path(sys.argv[1]), "toy", "run")
for number in range(30):
    name = f"{sys.argv[2]}{number}"
    run.set_status(name, state="done")
    run.results().replace(name, [make_record(step=name)])
"""
    run = Run(tmp_path, "toy", "run")
    run.folder.mkdir(parents=True)
    tests = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], env=tests)
        for name in "ab"
    ]
    assert [one.wait(PATIENCE_SECONDS) for one in writers] == [0, 0]
    expected = {f"{name}{number}" for name in "ab" for number in range(30)}
    assert run.status()["steps"].keys() == expected
    assert {one.step for one in run.records()} == expected


def resolve(overrides: Sequence[str] = ()) -> Resolved:
    """The preset."""
    return load_preset(PRESET, overrides, dev=False)


def begin(
    why: str | None = None,
    *,
    overrides: Sequence[str] = (),
    steps: tuple[str, ...] = (),
    redo: str | None = None,
    failing: Callable[[Run, Sequence[str]], list[str]] = lambda run, phases: [],
) -> Run:
    """Start the preset's run, or go on with it."""
    options = Options(steps=steps, redo=redo, why=why)
    chosen = choose_run(resolve(overrides), options)
    start(resolve(overrides), chosen, options, failing)
    return chosen.run


def newest() -> Run:
    """The run that was made last."""
    root = Path(os.environ["LMLAB_RUNS"])
    made = max(
        (root / STUDY).iterdir(), key=lambda path: Run(root, STUDY, path.name).manifest()["created"]
    )
    return Run(root, STUDY, made.name)


def calls(run: Run) -> str:
    """The steps that did their work, in order."""
    return (run.folder / "calls").read_text().strip()
