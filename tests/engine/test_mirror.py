"""The mirror of a run in a folder: what is visible when, who may write, what is restored (T6)."""

import itertools
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import tiny
from children import in_child
from mirror_toys import (
    PATIENCE_SECONDS,
    Hooked,
    do_damage,
    make_run,
    pull,
    save,
    without_state,
    write_status,
)

from lmlab.engine.mirror import Mirror, MirrorError, MirrorTakenError
from lmlab.engine.run import Run
from lmlab.engine.storage import Folder
from lmlab.launch import local

CHECKPOINT_FILES = {"model.safetensors", "state.json", "manifest.json"}


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    """An empty folder to mirror to."""
    return Folder(tmp_path / "far")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in the midst of its training."""
    return make_run(tmp_path / "here")


# What is mirrored


def test_a_pulled_run_is_the_pushed_one_without_locks_and_temporary_files(
    run: Run, storage: Folder, tmp_path: Path
):
    before = tiny.contents(run.folder)
    for name in ("lock", "lock.guard", ".status.json.17.tmp", "train/checkpoints/.tmp-step_3/a"):
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("mine")
    (run.folder / "lockstep").mkdir()
    (run.folder / "lockstep" / "a").write_text("a")
    Mirror(storage, run).push()
    pulled = pull(storage, tmp_path / "there")
    found = tiny.contents(pulled.folder)
    assert found.pop("lockstep/a")
    assert found.pop("mirror.json")
    assert found == before


def test_an_object_is_written_once_and_never_again(run: Run, storage: Folder):
    written: list[str] = []
    hooked = Hooked(storage.root, written.append)
    Mirror(hooked, run).push()
    first = len(written)
    save(run, 20)
    write_status(run, "running")  # the same bytes in a new file
    Mirror(hooked, run).push()
    # model, state, manifest of step 20, and an index
    assert len(written) == first + 4
    assert len(set(written)) == len(written)


def test_only_the_two_newest_indexes_and_what_they_name_stay(run: Run, storage: Folder):
    mirror = Mirror(storage, run)
    for step in (20, 30, 40, 50):
        shutil.rmtree(run.folder / f"train/checkpoints/step_{step - 10:08d}")
        save(run, step)
        mirror.push()
        mirror.tidy()
    (storage.root / "study/one/objects/.tmp-killed").write_text("half")
    mirror.tidy()
    assert storage.keys("study/one/index/") == [
        "study/one/index/00000003.json",
        "study/one/index/00000004.json",
    ]
    indexes = [json.loads(path.read_text()) for path in storage.root.glob("*/one/index/*")]
    needed = {sha256 for index in indexes for sha256, _ in index["files"].values()}
    assert {path.name for path in (storage.root / "study/one/objects").iterdir()} == needed
    assert {steps_in(index["files"]) for index in indexes} == {(40,), (50,)}


def test_a_file_that_grows_meanwhile_is_taken_as_the_bytes_read(
    run: Run, storage: Folder, tmp_path: Path
):
    metrics = run.folder / "train/metrics.jsonl"

    def grow(key: str) -> None:
        with metrics.open("a") as file:
            file.write("more\n")

    before = metrics.read_text()
    Mirror(Hooked(storage.root, grow), run).push()
    pulled = pull(storage, tmp_path / "there")
    found = (pulled.folder / "train/metrics.jsonl").read_text()
    assert found.startswith(before)
    assert metrics.read_text().startswith(found)


def test_a_training_that_ends_meanwhile_is_not_done_without_its_last_checkpoint(
    run: Run, storage: Folder, tmp_path: Path
):
    ended: list[str] = []

    def end(key: str) -> None:
        if not ended:
            ended.append(key)
            save(run, 99)
            write_status(run, "done")

    Mirror(Hooked(storage.root, end), run).push()
    pulled = pull(storage, tmp_path / "there")
    done = pulled.status()["steps"]["train"]["state"] == "done"
    assert not done or (pulled.folder / "train/checkpoints/step_00000099").exists()
    Mirror(storage, run).push()
    again = pull(storage, tmp_path / "later")
    assert again.status()["steps"]["train"]["state"] == "done"
    assert (again.folder / "train/checkpoints/step_00000099").exists()


def test_metrics_reach_to_where_every_checkpoint_goes_on_from(
    run: Run, storage: Folder, tmp_path: Path
):
    def train(key: str) -> None:
        with (run.folder / "train/metrics.jsonl").open("a") as file:
            file.write("another step\n")
        save(run, next(steps))

    steps = itertools.count(20)
    for number in range(3):
        Mirror(Hooked(storage.root, train), run).push()
        pulled = pull(storage, tmp_path / str(number))
        size = (pulled.folder / "train/metrics.jsonl").stat().st_size
        for path in pulled.folder.glob("train/checkpoints/*/state.json"):
            assert json.loads(path.read_text())["metrics_offset"] <= size


def test_a_checkpoint_that_retention_deletes_meanwhile_is_whole_or_not_there(
    run: Run, storage: Folder
):
    ended = threading.Event()

    def train() -> None:
        for step in itertools.count(20):
            if ended.is_set():
                return
            save(run, step)
            old = run.folder / f"train/checkpoints/step_{step - 1:08d}"
            if old.exists():
                shutil.rmtree(old.rename(old.with_name(f".tmp-old-{old.name}")))

    training = threading.Thread(target=train)
    training.start()
    try:
        for _ in range(40):
            files = Mirror(storage, run).push().files
            found: dict[str, set[str]] = {}
            for path in files:
                if "/step_" in path:
                    folder, _, name = path.rpartition("/")
                    found.setdefault(folder, set()).add(name)
            assert found
            assert set(map(frozenset, found.values())) == {frozenset(CHECKPOINT_FILES)}
    finally:
        ended.set()
        training.join()


# What is visible


def test_a_push_killed_at_any_write_leaves_a_whole_state_behind(
    run: Run, storage: Folder, tmp_path: Path
):
    """At each moment a bare machine gets the state before or the one after, never a mixture."""
    Mirror(storage, run).push()
    old = without_state(run)
    save(run, 20)
    write_status(run, "done")
    new = without_state(run)
    for at in itertools.count():
        far, here = tmp_path / f"far-{at}", tmp_path / f"here-{at}"
        shutil.copytree(storage.root, far)
        shutil.copytree(run.root, here)
        killed = push_and_die(Hooked(far, lambda _: None), Run(here, "study", "one"), at=at)
        assert not missing_objects(far)
        found = without_state(pull(Folder(far), tmp_path / f"there-{at}"))
        assert found == (old if killed else new)
        # What was left behind disturbs nobody, and nothing is missing in the end.
        Mirror(Folder(far), Run(here, "study", "one")).push()
        assert without_state(pull(Folder(far), tmp_path / f"after-{at}")) == new
        if not killed:
            assert at == 5  # status, three files of a checkpoint, and an index
            break


def test_a_killed_pull_leaves_nothing_that_looks_like_a_run(
    run: Run, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Mirror(storage, run).push()
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "there"))
    total = len(tiny.contents(run.folder)) - 1

    class Mortal(Folder):
        left = 0

        def fetch(self, key: str, path: Path, *, size: int) -> bool:
            if self.left == 0:
                os._exit(9)
            self.left -= 1
            return super().fetch(key, path, size=size)

    for at in range(total):
        mortal = Mortal(storage.root)
        mortal.left = at
        assert in_child(lambda mortal=mortal: pull(mortal, tmp_path / "there")) == 9
        assert local.find_runs() == []
        assert not (tmp_path / "there/study/one").exists()
    pull(storage, tmp_path / "there")
    assert [one.name for one in local.find_runs()] == ["one"]


# Two writers


def test_of_two_writers_exactly_one_wins(run: Run, storage: Folder, tmp_path: Path):
    Mirror(storage, run).push()
    for attempt in range(15):
        runs = [pull(storage, tmp_path / f"{attempt}-{number}") for number in range(3)]
        assert sorted(race(runs, storage)) == ["refused", "refused", "won"]


def test_two_that_begin_a_run_of_one_name_cannot_both_win(storage: Folder, tmp_path: Path):
    runs = [make_run(tmp_path / str(number)) for number in range(4)]
    assert sorted(race(runs, storage)) == [*["refused"] * 3, "won"]


def test_the_one_left_behind_is_told_what_to_do(run: Run, storage: Folder, tmp_path: Path):
    Mirror(storage, run).push()
    other = pull(storage, tmp_path / "there")
    save(other, 20)
    Mirror(storage, other).push()
    for refused in (Mirror(storage, run).push, Mirror(storage, run).next_number):
        with pytest.raises(MirrorTakenError, match=r"index 2.* move .*here/study/one away and run"):
            refused()
    # It may not throw away what the other one needs, either.
    before = tiny.contents(storage.root)
    with pytest.raises(MirrorTakenError):
        Mirror(storage, run).tidy()
    assert tiny.contents(storage.root) == before
    run.folder.rename(tmp_path / "away")
    assert without_state(pull(storage, run.root)) == without_state(other)


def test_an_index_that_was_written_but_not_noted_is_its_own(run: Run, storage: Folder):
    mirror = Mirror(storage, run)
    mirror.push()
    noted = run.mirror_path.read_text()
    mirror.push()
    run.mirror_path.write_text(noted)
    assert Mirror(storage, run).push().number == 3


def test_an_index_whose_answer_was_lost_counts_as_written(storage: Folder):
    assert storage.create("a", b"mine")
    assert storage.create("a", b"mine")
    assert not storage.create("a", b"another's")
    assert storage.read("a") == b"mine"


# Damage


@pytest.mark.parametrize("damage", ["flipped", "shorter", "missing"])
@pytest.mark.parametrize("what", ["object", "index"])
def test_damage_is_refused_and_the_index_before_is_used(
    run: Run, storage: Folder, tmp_path: Path, damage: str, what: str
):
    Mirror(storage, run).push()
    old = without_state(run)
    save(run, 20)
    index = Mirror(storage, run).push()
    sha256, _ = index.files["train/checkpoints/step_00000020/model.safetensors"]
    path = {"object": f"objects/{sha256}", "index": "index/00000002.json"}[what]
    do_damage(storage.root / "study/one" / path, damage)
    pulled = pull(storage, tmp_path / "there")
    assert without_state(pulled) == old
    # It makes the same bytes again, and does not rely on what lies there under their name.
    save(pulled, 20)
    Mirror(storage, pulled).push()
    assert without_state(pull(storage, tmp_path / "later")) == without_state(run)


def test_an_index_that_somebody_changed_is_refused(run: Run, storage: Folder, tmp_path: Path):
    Mirror(storage, run).push()
    path = storage.root / "study/one/index/00000001.json"
    index = json.loads(path.read_text())
    del index["files"]["train/metrics.jsonl"]
    path.write_text(json.dumps(index, sort_keys=True))
    with pytest.raises(MirrorError, match="index 1 is damaged"):
        pull(storage, tmp_path / "there")


def test_with_nothing_whole_the_error_says_each_reason_and_what_to_do(
    run: Run, storage: Folder, tmp_path: Path
):
    with pytest.raises(MirrorError, match="there is no index"):
        pull(storage, tmp_path / "there")
    Mirror(storage, run).push()
    index = Mirror(storage, run).push()
    do_damage(storage.root / "study/one/objects" / index.files["config.yaml"][0], "flipped")
    with pytest.raises(MirrorError, match=r"index 2 is damaged; config\.yaml of index 1 .*--new"):
        pull(storage, tmp_path / "there")
    assert not (tmp_path / "there/study").exists() or not any((tmp_path / "there/study").iterdir())


@pytest.mark.parametrize("path", ["../../escaped", "/tmp/escaped", "a/../../../escaped"])
def test_a_name_from_a_bucket_cannot_leave_the_runs_folder(
    run: Run, storage: Folder, tmp_path: Path, path: str
):
    index = Mirror(storage, run).push()
    index.files[path] = index.files["config.yaml"]  # type: ignore[index]
    (storage.root / "study/one/index/00000001.json").write_bytes(index.encoded())
    with pytest.raises(MirrorError, match="index 1 is damaged"):
        pull(storage, tmp_path / "there")
    assert not list(tmp_path.rglob("escaped"))


def steps_in(files: dict[str, list[object]]) -> tuple[int, ...]:
    """Steps of which there is a checkpoint."""
    return tuple(sorted({int(path.split("step_")[1][:8]) for path in files if "step_" in path}))


def missing_objects(far: Path) -> set[str]:
    """What indexes name and nobody can read."""
    indexes = [json.loads(path.read_text()) for path in far.glob("*/*/index/*.json")]
    named = {sha256 for index in indexes for sha256, _ in index["files"].values()}
    return named - {path.name for path in far.glob("*/*/objects/*")}


def race(runs: list[Run], storage: Folder) -> list[str]:
    """Every run pushes at once, each from its own thread; won or refused."""
    outcomes: list[str] = []
    barrier = threading.Barrier(len(runs))

    def push(run: Run, number: int) -> None:
        (run.folder / "own").write_text(str(number))

        def together(key: str) -> None:
            if "/index/" in key:
                barrier.wait(PATIENCE_SECONDS)

        try:
            Mirror(Hooked(storage.root, together), run).push()
        except MirrorTakenError:
            outcomes.append("refused")
        else:
            outcomes.append("won")

    threads = [threading.Thread(target=push, args=(run, number)) for number, run in enumerate(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def push_and_die(storage: Hooked, run: Run, *, at: int) -> bool:
    """Push in a child that ends without a word before its write number `at`; whether it did."""
    writes = itertools.count()

    def die(key: str) -> None:
        if next(writes) == at:
            os._exit(9)

    storage.before = die
    return in_child(lambda: Mirror(storage, run).push()) == 9
