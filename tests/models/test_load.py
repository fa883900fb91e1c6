"""Folders that transformers wrote are read whole, and broken ones are refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from lmlab.models.load import load_decoder
from lmlab.models.schema import ExpertsConfig

TEXT = torch.arange(20)[None] % 40
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def reconfigure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_a_llama_gives_the_logits_of_transformers(tied, tmp_path):
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=tied)).eval()
    theirs.save_pretrained(tmp_path)
    assert (load_decoder(tmp_path)(TEXT) - theirs(TEXT).logits).abs().max() <= 1e-5


@torch.no_grad()
def test_a_mistral_gives_the_logits_of_transformers(tmp_path):
    torch.manual_seed(0)
    theirs = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=6)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_decoder(tmp_path)
    assert ours.config.window_tokens == 6
    assert (ours(TEXT) - theirs(TEXT).logits).abs().max() <= 1e-5


@torch.no_grad()
def test_a_mixtral_gives_the_logits_of_transformers(tmp_path):
    torch.manual_seed(0)
    theirs = MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=3)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_decoder(tmp_path)
    assert ours.config.experts == ExpertsConfig(num_experts=3, top_k=2, balance_weight=0.001)
    assert (ours(TEXT) - theirs(TEXT).logits).abs().max() <= 1e-5
    rewrite(tmp_path, lambda t: t.pop("model.layers.1.block_sparse_moe.experts.2.w2.weight"))
    with pytest.raises(ValueError, match=r"missing model\.layers\.1\..*experts\.2\.w2\.weight"):
        load_decoder(tmp_path)


@torch.no_grad()
def test_shards_are_joined(folder):
    whole = load_decoder(folder)(TEXT)
    theirs = LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert torch.equal(load_decoder(folder)(TEXT), whole)
    next(iter(sorted(folder.glob("model-*.safetensors")))).unlink()
    with pytest.raises(ValueError, match="model-00001"):
        load_decoder(folder)


@torch.no_grad()
def test_a_config_from_before_transformers_5_means_the_same(folder):
    new = load_decoder(folder)(TEXT)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    path.write_text(json.dumps(config | {"rope_theta": rope["rope_theta"], "rope_scaling": None}))
    assert torch.equal(load_decoder(folder)(TEXT), new)


def test_a_missing_and_an_unexpected_tensor_are_named(folder):
    def change(tensors):
        tensors["model.layers.9.extra"] = tensors.pop("model.norm.weight")

    rewrite(folder, change)
    with pytest.raises(ValueError, match=r"missing model\.norm\.weight; unexpected .*9\.extra"):
        load_decoder(folder)


def test_a_tied_model_may_carry_its_head_but_no_other(folder):
    reconfigure(folder, tie_word_embeddings=True)
    with pytest.raises(ValueError, match=r"unexpected lm_head\.weight"):
        load_decoder(folder)
    rewrite(
        folder,
        lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}),
    )
    assert load_decoder(folder).head is None


def test_a_tensor_of_another_shape_is_named(folder):
    reconfigure(folder, intermediate_size=56)
    with pytest.raises(ValueError, match=r"mlp\.gate_up\.weight is \(96, 32\).*\(112, 32\)"):
        load_decoder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"head_dim": 16}, "4 heads of 16"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "longrope"),
    ],
)
def test_what_our_decoder_cannot_be_is_refused(folder, changes, message):
    reconfigure(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_decoder(folder)


def test_a_file_cut_short_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        load_decoder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read as JSON"):
        load_decoder(folder)


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_decoder(tmp_path / "nothing")
