"""What the doctor says of a GPU, and the records of a measured batch size."""

from pathlib import Path

import pytest
import tiny

from lmlab.engine import doctor
from lmlab.engine.monitor import Gpu
from lmlab.engine.records import read_records

NOTHING = Gpu(None, None, None, None, None, None, None, None)


def test_a_gpu_is_described_by_what_its_driver_reports():
    known = Gpu("NVIDIA H100 PCIe", "9.0", 81_559.0, 1000.0, 79_000.0, 3.0, 41.0, 61.5)
    assert doctor.describe(known) == (
        "NVIDIA H100 PCIe, compute capability 9.0, 81,559 MB, 79,000 MB free, 3 % busy, 41 °C, "
        "62 W, bfloat16 peak 756 TFLOP/s"
    )
    assert doctor.describe(NOTHING) == "unnamed, bfloat16 peak unknown"


def test_a_measured_batch_size_is_said_and_recorded(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, "LARGEST_BATCH", 1)
    monkeypatch.setenv("LMLAB_CACHE", str(tmp_path))
    said = doctor.report_batch_size(tiny.PRESET, tiny.OVERRIDES)
    (path,) = runs.glob("doctor/*/results.jsonl")
    records = read_records(path)
    assert [one.at["rows"] for one in records] == [1]
    assert all(one.value > 50 for one in records)
    assert {one.metric for one in records} == {"peak_memory_mb"}
    assert " 128 rows by the rough formula" in said[1]
    assert "largest micro-batch measured: 1 or more" in said[-1]
