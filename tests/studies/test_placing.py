"""Where decoders are put: what scores and samples is on the run's device, as what trains is."""

import pytest
import stages
import torch

import lmlab
from lmlab.launch.notebook import Opened
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.inference import open_model
from lmlab.studies.scratch.model import load_trained


def test_a_decoder_is_loaded_onto_the_device_asked_for(made: Opened):
    config, part = made.config, made.reference.run.part("pretrain")
    assert isinstance(config, Config)
    there, here = (
        load_trained(part, config.model, vocab_size=300, at="last", device=device)
        for device in ("meta", "cpu")
    )
    held = [*there.model.parameters(), *there.model.buffers()]
    assert {one.device.type for one in held} == {"meta"}
    assert (there.weights, there.step) == (here.weights, here.step)
    assert {one.device.type for one in here.model.parameters()} == {"cpu"}


def test_what_a_gpu_trained_is_opened_where_there_is_none(
    made: Opened, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = made.reference.run
    stored = run.config_path.read_text()
    run.config_path.write_text(stored.replace("kind: cpu", "kind: cuda"))
    try:
        opened = open_model(run.part("pretrain"), at="last")
    finally:
        run.config_path.write_text(stored)
    assert opened.model.head_weight.device.type == "cpu"


@pytest.mark.gpu
def test_all_stages_run_on_a_gpu(tmp_path, monkeypatch: pytest.MonkeyPatch):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    monkeypatch.delenv("DEV_MODE", raising=False)
    made = lmlab.run("scratch/demo", *stages.OVERRIDES, "device.kind=cuda", name="gpu")
    assert made.model().model.head_weight.device.type == "cuda"
    assert {"trained", "sft", "dpo", "verifier"} <= {one.arm for one in made.records()}
