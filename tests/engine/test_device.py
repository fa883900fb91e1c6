"""Device, precision and threads are decided once and kept; random states come back whole."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import toys

from lmlab.engine import device
from lmlab.engine.device import (
    Decided,
    choose_device,
    choose_precision,
    decide,
    keep_freed_memory,
    peak_flops,
    prepare_scoring,
    rng_state,
    seed_everything,
    set_rng_state,
    undisturbed_rng,
)
from lmlab.engine.distributed import ALONE, World
from lmlab.engine.doctor import examine
from lmlab.engine.run import Part
from lmlab.engine.schema import DeviceConfig, TrainConfig


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What this machine is said to reach; a test may change it."""
    found = {"float32": 100e9, "bfloat16": 300e9}
    monkeypatch.setattr(device, "measured_gemm", lambda kind: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return found


def _draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


@pytest.mark.parametrize(("bfloat16", "chosen"), [(300e9, "bfloat16"), (60e9, "float32")])
def test_precision_on_a_cpu_is_bfloat16_only_where_it_is_faster(
    speeds: dict[str, float], bfloat16: float, chosen: str
) -> None:
    speeds["bfloat16"] = bfloat16
    assert choose_precision("auto", "cpu") == chosen
    assert choose_precision("float32", "cpu") == "float32"


def test_float16_on_a_cpu_and_a_gpu_that_is_not_there_are_refused(
    speeds: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match="use bfloat16 or float32"):
        choose_precision("float16", "cpu")
    with pytest.raises(ValueError, match=r"use device\.kind=auto"):
        choose_device("cuda")
    assert choose_device("auto") == "cpu"


def test_what_was_decided_at_the_first_start_is_kept(
    speeds: dict[str, float], tmp_path: Path
) -> None:
    part = toys.make_part(tmp_path)
    first = _decide(DeviceConfig(threads=1), part)
    assert (first.precision, first.threads, first.micro_batch_size) == ("bfloat16", 1, 8)
    speeds["bfloat16"] = 1e9
    changed = DeviceConfig(threads=2, precision="float32", compile=True)
    assert _decide(changed, part, micro_batch_size=2).micro_batch_size == 2
    assert _decide(DeviceConfig(threads=1, precision="bfloat16"), part) == first
    (part.checkpoints / "step_00000001").mkdir()
    assert _decide(changed, part, micro_batch_size=2) == first
    with pytest.raises(ValueError, match="begun by 1 processes and cannot go on with 2"):
        _decide(changed, part, world=World(0, 2))


@pytest.mark.parametrize(("compiler", "compiled"), [("sh", True), ("no-such-compiler", False)])
def test_compile_auto_follows_the_compiler(
    speeds: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiler: str,
    compiled: bool,
) -> None:
    monkeypatch.setenv("CXX", compiler)
    config = DeviceConfig(compile="auto")
    found = _decide(config, toys.make_part(tmp_path))
    assert found.compile is compiled


def test_every_global_generator_comes_back() -> None:
    seed_everything(3)
    plain, tensors = rng_state()
    first = _draws()
    set_rng_state(plain, tensors)
    assert _draws()[1:] == first[1:]
    random.seed(5)
    plain, tensors = rng_state()
    expected = random.getstate()
    random.random()
    set_rng_state(plain, tensors)
    assert random.getstate() == expected


def test_draws_inside_leave_those_outside_as_they_were() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    expected = _draws()[1:]
    torch.manual_seed(1)
    np.random.seed(1)
    with undisturbed_rng():
        _draws()
    assert _draws()[1:] == expected


def test_a_measured_peak_is_kept_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMLAB_CACHE", str(tmp_path))
    calls = iter([100.0, 300.0])
    monkeypatch.setattr(device, "gemm_flops", lambda kind, dtype: next(calls))
    assert peak_flops("cpu") == 300.0
    assert peak_flops("cpu") == 300.0


def test_the_doctor_says_what_a_training_here_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    keep_freed_memory()
    found = examine()
    assert found["precision=auto means"] in {"bfloat16", "float32"}
    assert "GFLOP/s measured" in found["float32 products"]
    assert str(tmp_path) in found["runs"]


def _decide(
    config: DeviceConfig, part: Part, *, world: World = ALONE, micro_batch_size: int | None = None
) -> Decided:
    train = TrainConfig.model_validate(
        {
            "max_steps": 1,
            "batch_size": 8,
            "micro_batch_size": micro_batch_size,
            "optim": {"learning_rate": 1.0},
        }
    )
    return decide(config, train, shard="none", world=world, part=part)


@pytest.fixture
def tf32() -> Iterator[None]:
    """Allowed, as by a training; afterwards as it was."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
def test_what_is_scored_is_true_float32_though_a_training_allowed_tf32(
    monkeypatch: pytest.MonkeyPatch,
):
    assert prepare_scoring(DeviceConfig(kind="cpu")) == "cpu"
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepare_scoring(DeviceConfig()) == "cuda"
