"""Where a run comes from: commit, changes and packages can be had back from what was kept."""

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

import pytest

from lmlab.engine import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit that stands for ours."""
    root = tmp_path / "checkout"
    (root / "lmlab").mkdir(parents=True)
    (root / "lmlab" / "old.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("ignored.py\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "ROOT", root)
    return root


def test_the_diff_gives_back_changed_new_and_binary_files(checkout: Path, tmp_path: Path):
    (checkout / "lmlab" / "old.py").write_bytes(b"x = '\xe9'\n")
    (checkout / "lmlab" / "new file.py").write_text("y = 2\n")
    (checkout / "lmlab" / "table.bin").write_bytes(bytes(range(256)))
    (checkout / "lmlab" / "ignored.py").write_text("z = 3\n")
    (checkout / "outside.txt").write_text("no code")
    state = provenance.code_state()
    [diff] = [text for name, text in provenance.sources().items() if name.endswith(".diff")]
    assert state["diff_sha256"] == hashlib.sha256(diff).hexdigest()
    there = tmp_path / "there"
    there.mkdir()
    git(checkout, "archive", "-o", str(tmp_path / "code.tar"), state["commit"])
    subprocess.run(["tar", "-xf", str(tmp_path / "code.tar"), "-C", str(there)], check=True)
    subprocess.run(["git", "apply", "-"], cwd=there, input=diff, check=True)
    assert {path.name: path.read_bytes() for path in (there / "lmlab").iterdir()} == {
        "old.py": b"x = '\xe9'\n",
        "new file.py": b"y = 2\n",
        "table.bin": bytes(range(256)),
    }


def test_what_is_edited_while_a_run_goes_on_is_not_what_runs(checkout: Path):
    (checkout / "lmlab" / "old.py").write_text("x = 2\n")
    before, kept = provenance.code_state(), provenance.sources()
    (checkout / "lmlab" / "old.py").write_text("x = 3\n")
    assert provenance.code_state() == before
    assert f"{before['diff_sha256']}.diff" in kept.keys() & provenance.sources().keys()


def test_without_changes_there_is_no_diff(checkout: Path):
    assert provenance.code_state()["diff_sha256"] == ""
    assert [name for name in provenance.sources() if name.endswith(".diff")] == []


def test_outside_git_the_code_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.code_state() == {"commit": "", "diff_sha256": ""}
    assert len(provenance.sources()) == 1


def test_every_installed_package_is_named_with_its_version():
    lines = provenance.installed_packages().decode().splitlines()
    assert f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert [line for line in lines if line.startswith("lmlab==")] == []
    digest = hashlib.sha256(provenance.installed_packages()).hexdigest()
    assert provenance.provenance(["lmlab"])["environment_sha256"] == digest
    assert f"{digest}.txt" in provenance.sources()


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)
