"""The kit: complete, the same bytes each time, without secrets and paths, and it runs again."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny
import yaml
from sample_records import make_record
from sample_runs import ATTEMPT, make_run

from lmlab.engine import provenance
from lmlab.engine.items import write_items
from lmlab.engine.records import Item
from lmlab.engine.run import Run, write_json
from lmlab.evidence.gates.grammar import GATES
from lmlab.evidence.reproduction import cleaning, kit
from lmlab.evidence.reproduction.kit import Kit, make_kit
from lmlab.evidence.reproduction.texts import shell_words

# In two pieces: this file is in the archive of the code that a kit holds.
TOKEN = "tok-" + "9f8e7d6c5b4a"
HOME = "/home/some.body"
PATH = f"{HOME}/my data/books.txt"
DIFF = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, empty, of somebody with a home and a secret."""
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("SOME_API_TOKEN", TOKEN)
    return tmp_path / "runs"


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one commit of a repository that stands for ours."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "a.txt").write_text("one\n")
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*name, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    monkeypatch.setattr(provenance, "ROOT", root)
    monkeypatch.setattr(kit, "ROOT", root)
    monkeypatch.setattr(cleaning, "ROOT", root)
    return provenance.code_state()["commit"]


def make_kept_run(commit: str, **changes: object) -> Run:
    """A run whose diff and packages were kept, as a start keeps them."""
    freeze = b"numpy==2.4.6\ntorch==2.13.0+cpu\n"
    digests = {"diff_sha256": sha256(DIFF), "environment_sha256": sha256(freeze)}
    attempt = ATTEMPT | digests | {"commit": commit, **changes}
    run = make_run(attempts=[attempt])
    run.provenance.mkdir()
    (run.provenance / f"{sha256(DIFF)}.diff").write_bytes(DIFF)
    (run.provenance / f"{sha256(freeze)}.txt").write_bytes(freeze)
    write_json(
        run.part("train").decided_path,
        {"device": "cpu", "precision": "float32", "compile": False, "threads": 1, "processes": 1},
    )
    return run


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_kit_holds_all_that_is_needed_and_its_checksums(commit: str, tmp_path: Path):
    run = make_kept_run(commit)
    item = Item(
        part="t", arm="a", at={}, metric="m", item_id="1", cluster_id="1", seed=1, value=1.0
    )
    write_items(run.results().items_path("m"), [item])
    gate = {"gate": "g", "claim": "c", "verdict": "pass", "reason": "r"}
    [stated] = GATES.glob("scratch.yaml")
    judged = {"judgements": [gate], "gates_sha256": sha256(stated.read_bytes())}
    write_json(run.folder / "gates.json", judged)
    made = make_kit("scratch/one", to=tmp_path / "kits")
    assert made.warnings == ()
    assert (made.folder / "gates" / "scratch.yaml").read_bytes() == stated.read_bytes()
    names = {path.relative_to(made.folder).as_posix() for path in files(made.folder)}
    here = "runs/scratch/one"
    assert names >= {
        "README.md", "reproduce.sh", "compare.py", "SHA256SUMS", f"code/{commit}.tar",
        f"code/{sha256(DIFF)}.diff", f"{here}/config.yaml", f"{here}/manifest.json",
        f"{here}/results.jsonl", f"{here}/items/m.parquet", f"{here}/gates.json",
        f"{here}/train/decided.json", "tables/eval_perplexity.csv", f"{here}/tables/gates.md",
    }  # fmt: skip
    assert Run(made.folder / "runs", "scratch", "one").records() == run.records()
    items = "items/m.parquet"
    assert (made.folder / here / items).read_bytes() == (run.folder / items).read_bytes()
    for line in (made.folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert sha256((made.folder / name).read_bytes()) == digest
        names.remove(name)
    assert names == {"SHA256SUMS"}


def test_gates_of_a_file_of_ones_own_are_said_to_be_missing(commit: str, tmp_path: Path):
    run = make_kept_run(commit)
    gate = {"gate": "g", "claim": "c", "verdict": "pass", "reason": "r"}
    write_json(run.folder / "gates.json", {"judgements": [gate], "gates_sha256": "ab" * 32})
    made = make_kit("scratch/one", to=tmp_path / "kits")
    assert made.warnings == (
        "runs/scratch/one: its gate file is none of lmlab's own and is not here",
    )
    assert not (made.folder / "gates").exists()


def test_the_same_run_gives_the_same_bytes(commit: str, tmp_path: Path):
    make_kept_run(commit)
    one, other = (make_kit("scratch/one", to=tmp_path / name) for name in ("a", "b"))
    assert one.archive.read_bytes() == other.archive.read_bytes()
    with tarfile.open(one.archive) as tar:
        assert {(each.mtime, each.uid, each.uname) for each in tar} == {(0, 0, "")}
        assert [each.name for each in tar] == sorted(each.name for each in tar)
        script = tar.getmember("kit_scratch_one/reproduce.sh")
        assert script.mode == 0o755


def test_no_secret_and_no_path_of_the_user_leaves(commit: str, tmp_path: Path, runs: Path):
    key = f"https://me:{TOKEN}@s3.example.org"
    private = [f"storage.endpoint_url={key}", "--launch.setup", f"[export X={TOKEN}]",
               "launch.partition=our-queue", f"data.train=[{PATH}]"]  # fmt: skip
    run = make_kept_run(commit, overrides=private, command=["lmlab", *private], host="my-laptop")
    manifest = run.manifest()
    run.write_manifest(manifest | {"overrides": private, "token": TOKEN})
    config = {"study": "scratch", "storage": {"endpoint_url": key}, "launch": {"qos": "our-queue"},
              "data": {"train": [PATH]}}  # fmt: skip
    (run.folder / "config.yaml").write_text(yaml.safe_dump(config))
    run.set_status("train", state="done", error=PATH, traceback=f'File "{PATH}"', host="my-laptop")
    said = make_record(command=f"lmlab run x --storage.to s3://mine/here 'data.train=[{PATH}]'")
    run.results().replace("evaluate", [replace(said, protocol={"dataset": f"{runs}/x/y.py:f"})])
    item = Item(part="t", arm="a", at={}, metric="m", item_id=PATH, cluster_id=TOKEN, seed=1,
                value=None, error=f"FileNotFoundError: {PATH}")  # fmt: skip
    write_items(run.results().items_path("m"), [item])
    write_json(run.folder / "gates.json", {"judgements": [], "file": PATH, "key": TOKEN})
    made = make_kit("scratch/one", to=tmp_path / "kits")
    planted = (TOKEN, HOME, "some.body", str(runs), "my-laptop", "s3.example.org", "our-queue",
               "s3://mine")  # fmt: skip
    for path in files(made.folder):
        content = path.read_bytes()
        assert [one for one in planted if one.encode() in content] == [], path
    kept = pd.read_parquet(made.folder / "runs/scratch/one/items/m.parquet").iloc[0]
    assert (kept.item_id, kept.cluster_id) == ("<path>/my data/books.txt", "***")
    [record] = Run(made.folder / "runs", "scratch", "one").records()
    assert record.command == "lmlab run x 'data.train=[<path>/my data/books.txt]'"
    assert record.protocol == {"dataset": "<path>/y.py:f"}


def test_a_secret_in_a_diff_is_refused_and_nothing_is_left(commit: str, tmp_path: Path):
    run = make_kept_run(commit)
    [diff] = run.provenance.glob("*.diff")
    diff.write_bytes(DIFF + TOKEN.encode())
    with pytest.raises(ValueError, match=r"code/\w+\.diff holds a secret"):
        make_kit("scratch/one", to=tmp_path / "kits")
    diff.write_bytes(DIFF + HOME.encode())
    with pytest.raises(ValueError, match=r"code/\w+\.diff holds the path /home/some\.body"):
        make_kit("scratch/one", to=tmp_path / "kits")
    assert list((tmp_path / "kits").iterdir()) == []


def test_a_kit_is_never_written_over(commit: str, tmp_path: Path):
    make_kept_run(commit)
    made = make_kit("scratch/one", to=tmp_path / "kits")
    with pytest.raises(ValueError, match="kit_scratch_one exists; take it away"):
        make_kit("scratch/one", to=tmp_path / "kits")
    shutil.rmtree(made.folder)
    with pytest.raises(ValueError, match=r"kit_scratch_one\.tar\.gz exists"):
        make_kit("scratch/one", to=tmp_path / "kits")


def test_a_study_is_packed_with_all_its_finished_runs(commit: str, tmp_path: Path, runs: Path):
    make_kept_run(commit)
    make_run(name="two")
    make_run(name="failed").set_status("train", state="failed")
    made = make_kit("scratch", to=tmp_path / "kits")
    assert [path.name for path in sorted((made.folder / "runs" / "scratch").iterdir())] == [
        "one",
        "two",
    ]
    assert made.warnings == (
        "scratch/two: what its environment_sha256 stands for was not kept when it was made",
    )
    assert made.warnings[0] in (made.folder / "README.md").read_text().replace("\\_", "_")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("lens", "no finished run of a study 'lens'"),
        ("scratch/none", "no run scratch/none"),
        ("scratch/empty", "scratch/empty has no records yet"),
    ],
)
def test_nothing_to_reproduce_is_an_error(tmp_path: Path, reference: str, said: str):
    make_run(name="empty").results().replace("evaluate", [])
    with pytest.raises(ValueError, match=said):
        make_kit(reference, to=tmp_path / "kits")
    assert not (tmp_path / "kits").exists()


def test_a_commit_that_is_not_here_is_an_error(commit: str, tmp_path: Path):
    make_kept_run("ab" * 20)
    with pytest.raises(ValueError, match=f"the code of scratch/one, commit {'ab' * 6}, is not in"):
        make_kit("scratch/one", to=tmp_path / "kits")


def test_many_items_are_left_out_and_that_is_said(
    commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = make_kept_run(commit)
    run.results().items_path("m").write_bytes(b"0" * 2000)
    monkeypatch.setattr(kit, "ITEMS_BYTES", 1999)
    made = make_kit("scratch/one", to=tmp_path / "kits")
    assert made.warnings == ("scratch/one: its 0 MB of items were left out",)
    assert not list(made.folder.rglob("items"))


def test_the_script_unpacks_the_code_and_repeats_what_was_decided(commit: str, tmp_path: Path):
    """With a python that stands for lmlab: it tells what it was given, and makes no numbers."""
    make_kept_run(commit, overrides=["seed=1", "device.threads=7", "x='a b'"])
    made = make_kit("scratch/one", to=tmp_path / "kits")
    fake = tmp_path / "python"
    fake.write_text(f"""#!/bin/sh
if [ "$1" != -m ]; then exec {sys.executable} "$@"; fi
printf '%s|' "$DEV_MODE" "$OMP_NUM_THREADS" "$(cat "$PYTHONPATH/a.txt")" "$(pwd)" "$@" >> told
echo >> told
""")
    fake.chmod(0o755)
    done = reproduce(made, tmp_path / "work", python=str(fake))
    assert done.returncode == 1
    assert "scratch/one: 0 of 2 measurements are equal" in done.stdout
    inputs = tmp_path / "work" / "inputs"
    start = ["false", "1", "two", str(inputs), "-m", "lmlab.cli", "run", "scratch/demo"]
    pinned = ["device.kind=cpu", "device.precision=float32", "device.compile=false",
              "device.threads=1", "--name", "one"]  # fmt: skip
    told = [line.split("|")[:-1] for line in (inputs / "told").read_text().splitlines()]
    assert told == [[*start, "seed=1", *pinned], [*start, "seed=1", "x='a b'", *pinned]]


def test_a_changed_file_stops_the_script(commit: str, tmp_path: Path):
    make_kept_run(commit)
    made = make_kit("scratch/one", to=tmp_path / "kits")
    path = made.folder / "runs/scratch/one/results.jsonl"
    path.write_text(path.read_text().replace("12.34", "12.35"))
    done = reproduce(made, tmp_path / "work", python="/bin/false")
    assert done.returncode != 0
    assert "results.jsonl" in done.stdout + done.stderr
    assert not (tmp_path / "work" / "code").exists()


def test_the_comparison_names_what_differs(commit: str, tmp_path: Path):
    make_kept_run(commit)
    made = make_kit("scratch/one", to=tmp_path / "kits")
    new = tmp_path / "new"
    shutil.copytree(made.folder / "runs", new)
    assert compare(made, new) == (0, "2 of 2 measurements are equal, bit for bit")
    run = Run(new, "scratch", "one")
    trained, control = run.records()
    more = replace(control, arm="bigram")
    close = replace(trained, value=trained.value * (1 + 2**-52), command="another", commit="1" * 40)
    run.results().replace("evaluate", [close, control, more])
    code, said = compare(made, new)
    assert code == 1
    assert f"value: {trained.value} stored, {close.value} here" in said
    assert "1 of 2 measurements are equal, bit for bit" in said
    assert "1 more were measured here" in said
    run.results().replace("evaluate", [replace(control, protocol={"window": 64})])
    code, said = compare(made, new)
    assert code == 1
    assert said.count("missing here: ") == 2


def test_words_are_quoted_and_own_files_are_looked_for_among_the_inputs():
    words = ["a b", "", "x=<path>/b c.txt", "y=[<path>/1,<path>/2]", "$HOME"]
    script = f"inputs='/in put'; printf '%s|' {shell_words(words)}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("|")[:-1] == [
        "a b", "", "x=/in put/b c.txt", "y=[/in put/1,/in put/2]", "$HOME"
    ]  # fmt: skip


@pytest.mark.slow
def test_an_unpacked_kit_makes_the_numbers_again_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DEV_MODE", raising=False)
    evaluated = [*tiny.OVERRIDES, "evaluate.window_tokens=16"]
    for overrides in (tiny.OVERRIDES, evaluated):
        done = tiny.start("run", tiny.PRESET, *overrides, "--name", "t", runs=tmp_path / "runs")
        said, _ = done.communicate()
        assert done.returncode == 0, said
    num_records = len(Run(tmp_path / "runs", "scratch", "t").records())
    made = make_kit("scratch/t", to=tmp_path / "kits")
    elsewhere = tmp_path / "elsewhere"
    with tarfile.open(made.archive) as tar:
        tar.extractall(elsewhere, filter="data")
    shutil.rmtree(made.folder)
    shutil.rmtree(tmp_path / "runs")
    unpacked = Kit(elsewhere / "kit_scratch_t", made.archive, ())
    done = reproduce(unpacked, elsewhere / "work", python=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    said = f"scratch/t: {num_records} of {num_records} measurements are equal, bit for bit"
    assert num_records >= 24
    assert said in done.stdout
    [code] = (elsewhere / "work" / "code").iterdir()
    assert (code / "lmlab" / "cli.py").is_file()


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def reproduce(made: Kit, work: Path, *, python: str) -> subprocess.CompletedProcess[str]:
    """Its script, in the environment of `python`."""
    environment = os.environ | {"LMLAB_KIT_PYTHON": python}
    return subprocess.run(
        [str(made.folder / "reproduce.sh"), str(work)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def compare(made: Kit, new: Path) -> tuple[int, str]:
    """The exit code and the words of `compare.py`, without those about machines."""
    command = [sys.executable, str(made.folder / "compare.py"), str(made.folder / "runs"), str(new)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if " on A Processor" not in line]
    return done.returncode, "\n".join(lines).replace("scratch/one: ", "", 1)
