"""Every preset's resolved configuration is a file: a changed default is seen in review.

`make golden` rewrites the files.
"""

import os
from pathlib import Path

import pytest
import yaml

from lmlab.engine.config import dump, load_preset
from lmlab.engine.presets import list_presets

HERE = Path(__file__).parent
WRITE = os.environ.get("LMLAB_GOLDEN") == "write"
PRESETS = [preset.name for preset in list_presets()]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_to_its_golden_file(name: str):
    resolved = yaml.safe_dump(dump(load_preset(name, dev=False).config), sort_keys=False)
    path = HERE / f"{name.replace('/', '_')}.yaml"
    if WRITE:
        path.write_text(resolved, encoding="utf-8")
    assert path.is_file(), "no golden file; look at what `make golden` writes"
    assert resolved == path.read_text(encoding="utf-8"), "look at the difference; `make golden`"


def test_no_golden_file_is_left_of_a_preset_that_is_gone():
    expected = {f"{name.replace('/', '_')}.yaml" for name in PRESETS}
    assert {path.name for path in HERE.glob("*.yaml")} <= expected
