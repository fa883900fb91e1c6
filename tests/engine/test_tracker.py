"""metrics.jsonl goes on where the checkpoint says, whatever TensorBoard does (T9)."""

import errno
import json
import logging
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from lmlab.engine import boards
from lmlab.engine.run import Part, Run
from lmlab.engine.tracker import ConsoleProgress, Tracker, clock


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """A training that begins."""
    return Run(tmp_path, "toy", "run").part("train")


def test_a_row_holds_step_numbers_fields_and_time(part: Part):
    with_rows = _write(part, steps=[1, 2])
    assert with_rows == part.metrics_path.stat().st_size
    first, second = _rows(part)
    assert first.pop("time") <= second.pop("time")
    assert first == {"step": 1, "epoch": 0, "train/loss": 0.5}


def test_reopening_at_an_offset_cuts_what_came_after(part: Part):
    saved = _write(part, steps=[1, 2])
    before = part.metrics_path.read_bytes()
    with part.metrics_path.open("ab") as file:
        file.write(b'{"step": 3}\n{"step": 4, "half a li')
    _write(part, steps=[], offset=saved)
    assert part.metrics_path.read_bytes() == before
    _write(part, steps=[3, 4], offset=saved)
    assert [row["step"] for row in _rows(part)] == [1, 2, 3, 4]


def test_from_the_beginning_nothing_old_is_left(part: Part):
    _write(part, steps=[1, 2, 3])
    _write(part, steps=[1])
    assert [row["step"] for row in _rows(part)] == [1]


@pytest.mark.parametrize("text", [None, "", '{"step": 1}\n'])
def test_a_file_shorter_than_the_offset_is_an_error(part: Part, text: str | None):
    if text is not None:
        part.metrics_path.write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.jsonl is shorter than .*\(500 bytes\)"):
        Tracker(part, offset=500, step=1, tensorboard=False, wandb=None)


def test_every_number_reaches_tensorboard(part: Part):
    tracking = Tracker(part, offset=0, step=0, tensorboard=True, wandb=None)
    tracking.log({"train/loss": 0.5, "eval/f1": 0.25}, step=3, epoch=1)
    tracking.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(part.tensorboard)).Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "eval/f1"}
    (scalar,) = events.Scalars("eval/f1")
    assert (scalar.step, scalar.value) == (3, 0.25)


def test_without_tensorboard_there_is_no_folder(part: Part):
    _write(part, steps=[1])
    assert not part.tensorboard.exists()


def test_a_tensorboard_that_cannot_be_written_is_a_warning(
    part: Part, caplog: pytest.LogCaptureFixture
):
    part.tensorboard.write_text("in the way")
    _write(part, steps=[1, 2], tensorboard=True)
    assert [row["step"] for row in _rows(part)] == [1, 2]
    assert "TensorBoard is off" in caplog.text
    assert "metrics.jsonl goes on" in caplog.text


@pytest.mark.parametrize(
    ("call", "said"),
    [("add_scalar", "TensorBoard stopped"), ("close", "TensorBoard is incomplete")],
)
def test_a_tensorboard_that_fails_later_is_a_warning(
    part: Part,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    said: str,
):
    class Full(SummaryWriter):
        pass

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Full, call, full)
    monkeypatch.setattr(boards, "SummaryWriter", Full)
    _write(part, steps=[1, 2, 3], tensorboard=True)
    assert [row["step"] for row in _rows(part)] == [1, 2, 3]
    assert caplog.text.count(said) == 1


def test_the_console_says_where_it_is_and_when_it_ends(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="lmlab.engine.tracker")
    progress = ConsoleProgress("train", step=10, total=100)
    progress.say({"train/loss": 2.5}, step=10)
    for step, seconds in [(11, 2.0), (12, 2.0), (13, 60.0), (14, 1.0), (15, 2.0)]:
        progress.update(step=step, seconds=seconds)
    progress.say({"train/loss": 1.23456, "train/lr": 3e-4}, step=15)
    progress.close()
    assert caplog.messages == [
        "train 10/100  loss 2.5  ETA 0:00",
        "train 15/100  loss 1.235  lr 0.0003  ETA 2:50",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (123, "2:03"), (3723.0, "1:02:03")]
)
def test_seconds_are_shown_as_a_clock(seconds: float, shown: str):
    assert clock(float(seconds)) == shown


def _write(part: Part, *, steps: list[int], offset: int = 0, tensorboard: bool = False) -> int:
    tracking = Tracker(part, offset=offset, step=0, tensorboard=tensorboard, wandb=None)
    for step in steps:
        tracking.log({"train/loss": 0.5 / step}, step=step, epoch=0)
    end = tracking.offset
    tracking.close()
    return end


def _rows(part: Part) -> list[dict[str, float]]:
    return [json.loads(line) for line in part.metrics_path.read_text().splitlines()]
