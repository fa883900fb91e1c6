"""A finished run of scratch, small, and what its evaluation measured with."""

from collections.abc import Iterator

import pytest
import tiny

import lmlab
from lmlab.launch.notebook import Opened
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.setting import Setting


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("DEV_MODE", raising=False)
        yield lmlab.run(tiny.PRESET, *tiny.OVERRIDES, name="tiny")


@pytest.fixture(scope="module")
def setting(made: Opened) -> Setting:
    """What its evaluation measured with."""
    run, config = made.reference.run, made.config
    assert isinstance(config, Config)
    prepared = load_prepared(run)
    return Setting(config, run, prepared, prepared.tokenizer, {"pretrain": made.model().trained})
