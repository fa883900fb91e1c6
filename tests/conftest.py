"""What tests share: where the real data lies, and one thread, so that bits can be compared."""

import os
from pathlib import Path

import pytest

REQUIRED = set(filter(None, os.environ.get("LMLAB_REQUIRE", "").split(",")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: LMLAB_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("LMLAB_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing; name the folder in LMLAB_DATA")
    return folder


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """A skip of what LMLAB_REQUIRE names is a failure: a check that never ran proves nothing."""
    if call.excinfo is None or not call.excinfo.errisinstance(pytest.skip.Exception):
        return
    missing = {mark.name for mark in item.iter_markers()} & REQUIRED
    if missing:
        pytest.fail(
            f"{', '.join(sorted(missing))} is required here but was skipped: {call.excinfo}"
        )
