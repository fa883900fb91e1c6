"""Checkpoints: killed saves, full disks, damage, and what is kept (checks T4, T5 and B8)."""

import errno
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from children import in_child
from torch import nn

from lmlab.engine import checkpoint
from lmlab.engine.checkpoint import CheckpointError, Snapshot
from lmlab.engine.weights import state_tensors, weights_hash

KILLED = 9
FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


# Saving


def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path):
    path = checkpoint.save(tmp_path, _snapshot(7), step=7)
    assert path.name == "step_00000007"
    loaded = checkpoint.load(path)
    assert {name: set(one) for name, one in loaded.tensors.items()} == {
        "model": {"net.weight", "net.bias"},
        "optimizer": {"net.weight/exp_avg"},
    }
    assert torch.equal(loaded.tensors["model"]["net.weight"], _model(7).weight)
    assert loaded.state == {"step": 7, "pi": 3.141592653589793}
    assert loaded.identity["run"] == "toy/run"
    assert loaded.identity["step"] == 7
    assert loaded.identity["weights"] == weights_hash(_snapshot(7).tensors["model"])


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_save_killed_at_any_call_leaves_the_last_complete_one(
    tmp_path: Path, when: str, replaced: bool
):
    for at in itertools.count():
        folder = tmp_path / str(at)
        checkpoint.save(_made(folder), _snapshot(1), step=1)
        if replaced:
            checkpoint.save(folder, _snapshot(2), step=2)
        ended = _save_and_die(folder, at=at, when=when)
        assert ended in (0, KILLED)
        found = checkpoint.newest_intact(folder)
        assert found is not None
        assert not found.skipped
        step = checkpoint.load(found.path).state["step"]
        assert found.path.name == f"step_{step:08d}"
        assert step == 2 if ended == 0 else step in (1, 2)
        checkpoint.save(folder, _snapshot(3), step=3)
        assert not list(folder.glob(".tmp*"))
        if ended == 0:
            assert at > 12
            break


def test_an_unfinished_folder_is_no_checkpoint(tmp_path: Path):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    for name in (".tmp-step_00000002-17", "step_00000002.tmp", "step_2", "step_0000000x"):
        shutil.copytree(path, tmp_path / name)
    assert checkpoint.checkpoints(tmp_path) == [(1, path)]


@pytest.mark.parametrize("call", ["save_file", "fsync", "open"])
def test_on_a_full_disk_the_earlier_checkpoint_stays_and_the_message_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    earlier = checkpoint.save(tmp_path, _snapshot(1), step=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = {"save_file": checkpoint, "fsync": os, "open": Path}[call]
    monkeypatch.setattr(owner, call, full)
    with pytest.raises(OSError, match="the disk is full") as raised:
        checkpoint.save(tmp_path, _snapshot(2), step=2)
    monkeypatch.undo()
    _assert_unharmed(tmp_path, earlier, str(raised.value))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """256 kB that are really full when they are full."""
    folder = _made(tmp_path / "small")
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_really_full_the_earlier_checkpoint_stays(small_disk: Path):
    earlier = checkpoint.save(small_disk, _snapshot(1), step=1)
    large = _snapshot(2, extra=torch.ones(100_000))
    with pytest.raises(OSError, match="the disk is full") as raised:
        checkpoint.save(small_disk, large, step=2)
    _assert_unharmed(small_disk, earlier, str(raised.value))


# Loading


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_anywhere_is_found_and_named(tmp_path: Path, name: str):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    whole = (path / name).read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"step_00000001.*(damaged|format|lacks)"):
            checkpoint.load(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_truncated_file_is_found_and_named(tmp_path: Path, name: str, kept: float):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CheckpointError, match=f"{path}/{name} is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=f"(lacks|no) {name}"):
        checkpoint.load(path)


def test_a_wrong_hash_another_format_and_a_foreign_folder_are_errors(tmp_path: Path):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    manifest = json.loads((path / "manifest.json").read_text())
    other = manifest | {"files": manifest["files"] | {"state.json": "0" * 64}}
    (path / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        checkpoint.load(path)
    for foreign in ({**manifest, "format": 2}, {}, []):
        (path / "manifest.json").write_text(json.dumps(foreign))
        with pytest.raises(CheckpointError, match=r"has checkpoint format (2|None); this .* reads"):
            checkpoint.load(path)
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it has no manifest\.json"):
        checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        checkpoint.load(path / "state.json")


def test_weights_are_put_in_and_their_hash_returned(tmp_path: Path):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    model = _model(5)
    found = checkpoint.load_weights(path, {"net": model})
    assert torch.equal(model.weight, _model(1).weight)
    named = {f"net.{name}": tensor for name, tensor in state_tensors(model).items()}
    assert found == weights_hash(named)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Linear(3, 2, bias=False), r"unexpected: net\.bias$"),
        (nn.Sequential(nn.Linear(3, 2)), r"missing: net\.0\.bias, net\.0\.weight; unexpected: "),
        (nn.Linear(4, 2), r"of another shape: net\.weight \(2, 3\) for \(2, 4\)$"),
        (nn.Linear(3, 2).double(), r"of another shape: net\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_changed(
    tmp_path: Path, module: nn.Module, said: str
):
    path = checkpoint.save(tmp_path, _snapshot(1), step=1)
    before = weights_hash(state_tensors(module))
    with pytest.raises(CheckpointError, match=rf"step_00000001 does not fit this model: {said}"):
        checkpoint.load_weights(path, {"net": module})
    assert weights_hash(state_tensors(module)) == before


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path):
    embed, head = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
    head.weight = embed.weight
    tied = nn.ModuleDict({"embed": embed, "head": head})
    tensors = checkpoint.module_tensors({"net": tied})
    assert list(tensors) == ["net.embed.weight"]
    path = checkpoint.save(tmp_path, Snapshot({"model": tensors}, {}, {}), step=1)
    before = embed.weight.detach().clone()
    with torch.no_grad():
        head.weight.zero_()
    checkpoint.load_weights(path, {"net": tied})
    assert torch.equal(head.weight, before)


# Finding


def test_the_newest_intact_one_is_chosen_and_the_skipped_one_said(tmp_path: Path):
    assert checkpoint.newest_intact(tmp_path) is None
    paths = [checkpoint.save(tmp_path, _snapshot(step), step=step) for step in (1, 2, 10)]
    found = checkpoint.newest_intact(tmp_path)
    assert found is not None
    assert (found.path, found.skipped) == (paths[2], ())
    _damage(paths[2])
    found = checkpoint.newest_intact(tmp_path)
    assert found is not None
    assert found.path == paths[1]
    assert len(found.skipped) == 1
    assert "step_00000010/state.json is damaged" in found.skipped[0]


def test_with_none_intact_the_error_says_each_reason_and_what_to_do(tmp_path: Path):
    for step in (1, 2):
        _damage(checkpoint.save(tmp_path, _snapshot(step), step=step))
    said = r"can be loaded: .*step_00000002.*step_00000001.* Put an intact copy"
    with pytest.raises(CheckpointError, match=said):
        checkpoint.newest_intact(tmp_path)


def test_a_moment_is_found_by_last_best_or_step(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        checkpoint.find(tmp_path, "last")
    _save_scores(tmp_path, {1: None})
    with pytest.raises(ValueError, match="has a score; set best_metric"):
        checkpoint.find(tmp_path, "best")
    _save_scores(tmp_path, {2: 3.0, 3: 1.0, 4: 1.0, 5: 2.0})
    assert checkpoint.find(tmp_path, "last").name == "step_00000005"
    assert checkpoint.find(tmp_path, "best").name == "step_00000003"
    assert checkpoint.find(tmp_path, "2").name == "step_00000002"
    with pytest.raises(ValueError, match="has no step 9; there are: 1, 2, 3, 4, 5"):
        checkpoint.find(tmp_path, "9")


def test_the_best_may_be_the_greatest(tmp_path: Path):
    _save_scores(tmp_path, {1: 0.1, 2: 0.9, 3: 0.5}, mode="max")
    assert checkpoint.find(tmp_path, "best").name == "step_00000002"


# Keeping


@pytest.mark.parametrize(("keep_last", "keep_best"), [(1, 0), (1, 1), (2, 1), (3, 2), (2, 3)])
def test_what_is_kept_follows_the_rule_after_every_save(
    tmp_path: Path, keep_last: int, keep_best: int
):
    scores = {1: 5.0, 2: 1.0, 3: None, 4: 4.0, 5: 2.0, 6: 1.5, 7: None, 8: 9.0, 9: 1.0, 10: 3.0}
    there: set[int] = set()
    for step, score in scores.items():
        _save_scores(tmp_path, {step: score})
        if step == 4:
            (tmp_path / "step_00000004" / checkpoint.PINNED).touch()
        checkpoint.apply_retention(tmp_path, keep_last=keep_last, keep_best=keep_best)
        there |= {step}
        scored = sorted((s, one) for one in there if (s := scores[one]) is not None)
        best = {one for _, one in scored[:keep_best]}
        there = set(sorted(there)[-keep_last:]) | best | (there & {4})
        assert {one for one, _ in checkpoint.checkpoints(tmp_path)} == there
    assert (2 in there) == (keep_best > 0)


def test_a_fresh_process_keeps_what_an_earlier_one_found_best(tmp_path: Path):
    scores: dict[int, float | None] = {1: 0.5, 2: 0.7}
    assert in_child(lambda: _save_scores(tmp_path, scores)) == 0
    _save_scores(tmp_path, {3: 0.9})
    checkpoint.apply_retention(tmp_path, keep_last=1, keep_best=1)
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [3, 1]


def test_a_damaged_checkpoint_has_no_score_and_hides_no_best(tmp_path: Path):
    _save_scores(tmp_path, {1: 0.5, 2: 0.1, 3: 0.7})
    (tmp_path / "step_00000002" / "manifest.json").write_text("{")
    checkpoint.apply_retention(tmp_path, keep_last=1, keep_best=1)
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [3, 1]


def _model(seed: int) -> nn.Linear:
    model = nn.Linear(3, 2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


def _snapshot(step: int, extra: torch.Tensor | None = None, **identity: Any) -> Snapshot:
    moments = {"net.weight/exp_avg": torch.full((2, 3), float(step))}
    if extra is not None:
        moments["net.extra/exp_avg"] = extra
    return Snapshot(
        tensors={
            "model": checkpoint.module_tensors({"net": _model(step)}),
            "optimizer": moments,
        },
        state={"step": step, "pi": 3.141592653589793},
        identity={"run": "toy/run", **identity},
    )


def _save_scores(folder: Path, scores: dict[int, float | None], *, mode: str = "min") -> None:
    for step, score in scores.items():
        checkpoint.save(folder, _snapshot(step, score=score, score_mode=mode), step=step)


def _save_and_die(folder: Path, *, at: int, when: str) -> int:
    """Save step 2 in a child that ends without a word at its call number `at`; its exit code."""
    calls = itertools.count()

    def fatal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            last = next(calls) == at
            if last and when == "before":
                os._exit(KILLED)
            result = call(*args, **kwargs)
            if last:
                os._exit(KILLED)
            return result

        return wrapped

    def save() -> None:
        os.fsync, shutil.rmtree = fatal(os.fsync), fatal(shutil.rmtree)
        for name in ("open", "mkdir", "rename"):
            setattr(Path, name, fatal(getattr(Path, name)))
        checkpoint.save_file = fatal(checkpoint.save_file)
        checkpoint.save(folder, _snapshot(2), step=2)

    return in_child(save)


def _assert_unharmed(folder: Path, earlier: Path, said: str) -> None:
    assert str(folder) in said
    assert "Earlier checkpoints are untouched; make room and run the same command" in said
    assert [path.name for path in folder.iterdir()] == [earlier.name]
    assert checkpoint.load(earlier).state["step"] == 1


def _damage(path: Path) -> None:
    (path / "state.json").write_text('{"step": 99}')


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
