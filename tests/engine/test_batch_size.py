"""The batch-size finder against memory models, and against processes that really take memory."""

import os
import signal
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tiny
import torch

from lmlab.engine.batch_size import find_batch_size, measured_apart, rough_batch_size
from lmlab.engine.config import load_preset
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.sizing import training_step

MB = 10**6


def model(*, base: int, row: int, breaks_at: int = 10**9, floor: int = 0) -> Callable[[int], int]:
    """A machine on which `rows` take base + rows * row bytes, and too many break it."""

    def step(rows: int) -> int:
        if rows >= breaks_at:
            raise MemoryError
        return max(floor, base + rows * row)

    return step


@pytest.mark.parametrize(
    ("base", "row", "free", "largest", "expected"),
    [
        (500, 10, 2000, 4096, 110),  # 500 + 110 x 10 = 1,600, 80 % of 2,000
        (500, 10, 2000, 100, 100),
        (0, 1, 2000, 4096, 1600),
        (0, 700, 1000, 8, 1),
        (790, 9, 1000, 8, 1),
    ],
)
def test_the_answer_is_the_largest_within_80_percent_of_what_is_free(
    base: int, row: int, free: int, largest: int, expected: int
):
    found = find_batch_size(model(base=base, row=row), free_bytes=free, largest=largest)
    assert found.batch_size == expected
    # Measured, not only computed.
    peaks = {one.batch_size: one.peak_bytes for one in found.probes}
    assert peaks[expected] == base + expected * row
    assert found.limit_bytes == 0.8 * free


def test_no_try_goes_far_beyond_the_limit():
    found = find_batch_size(model(base=500, row=10), free_bytes=2000, largest=4096)
    peaks = [one.peak_bytes for one in found.probes]
    assert all(peak is not None and peak <= found.limit_bytes for peak in peaks[:-1])
    assert len(peaks) < 12


@pytest.mark.parametrize("breaks_at", [2, 3, 5, 37, 64, 65])
def test_where_memory_fails_the_answer_is_the_largest_that_did_not(breaks_at: int):
    step = model(base=0, row=1, breaks_at=breaks_at)
    found = find_batch_size(step, free_bytes=10**9, largest=512)
    assert found.batch_size == breaks_at - 1


def test_what_a_process_holds_before_its_first_row_hides_no_slope():
    """The peak is flat until the rows exceed what the start took."""
    found = find_batch_size(model(base=100, row=10, floor=400), free_bytes=1000, largest=512)
    assert found.batch_size == 70


@pytest.mark.parametrize("seed", range(20))
def test_noisy_peaks_never_lead_beyond_the_limit(seed: int):
    generator = np.random.default_rng(seed)
    noisy = lambda rows: int((300 + 7 * rows) * generator.uniform(0.97, 1.03))  # noqa: E731
    found = find_batch_size(noisy, free_bytes=2000, largest=4096)
    held = [one.peak_bytes for one in found.probes if one.batch_size == found.batch_size]
    assert held[0] is not None
    assert held[0] <= 1600
    assert 160 <= found.batch_size <= 200
    assert len(found.probes) < 25


def test_one_row_that_is_too_much_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"one row needs more than 80% .* gradient checkpointing"):
        find_batch_size(model(base=900, row=10), free_bytes=1000, largest=8)


def test_the_rough_formula_is_the_published_one():
    # (0.8 x 24e9 - 4 x 1e8 x 4) / (4 x 1024 x 1e4 x 4) = 107.4
    known = {"num_parameters": 10**8, "context_tokens": 1024}
    assert rough_batch_size(free_bytes=24 * 10**9, **known) == 107
    assert rough_batch_size(free_bytes=10**12, **known) == 128
    assert rough_batch_size(free_bytes=10**9, **known) == 1


def hold(rows: int) -> None:
    """Take 50 MB a row; more than four are one too many, each in another way."""
    match rows:
        case 7:
            os.kill(os.getpid(), signal.SIGKILL)
        case 8:
            torch.empty(2**60, dtype=torch.uint8)
        case 9:
            raise KeyError("broken")
    bytearray(b"x" * (50 * MB * rows))


def test_a_peak_is_of_the_step_alone_however_much_this_process_holds():
    weight = b"x" * (800 * MB)
    try_step = measured_apart(hold)
    one, four = try_step(1), try_step(4)
    assert four - one == pytest.approx(2 * 3 * 50 * MB, rel=0.2)  # the bytes and their copy
    assert one < len(weight)


@pytest.mark.parametrize("rows", [7, 8])
def test_a_process_that_is_killed_or_refused_memory_had_too_little(rows: int):
    with pytest.raises(MemoryError):
        measured_apart(hold)(rows)


def test_a_step_that_fails_otherwise_is_no_answer(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError, match="a step of 9 rows failed"):
        measured_apart(hold)(9)
    assert "KeyError: 'broken'" in capfd.readouterr().err


@pytest.mark.slow
def test_a_real_decoder_grows_by_the_row_and_the_answer_keeps_within_the_limit():
    wide = ("model.d_model=128", "model.d_ff=512", "model.context_tokens=256")
    config = load_preset(tiny.PRESET, [*tiny.OVERRIDES, *wide], dev=False).config
    assert isinstance(config, Config)
    try_step = measured_apart(partial(training_step, config))
    peaks = {rows: try_step(rows) for rows in (16, 32, 64)}
    row = (peaks[64] - peaks[32]) / 32
    assert (peaks[32] - peaks[16]) / 16 == pytest.approx(row, rel=0.25)
    free = int((peaks[32] + 10 * row) / 0.8)
    found = find_batch_size(try_step, free_bytes=free, largest=512)
    assert found.batch_size == pytest.approx(42, abs=7)
    assert try_step(found.batch_size) <= 1.05 * found.limit_bytes
