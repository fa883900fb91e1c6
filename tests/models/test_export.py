"""An exported folder means the same to transformers as the decoder does to us."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    MixtralForCausalLM,
)

from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.generate import Ending, generate
from lmlab.models.load import load_decoder
from lmlab.models.schema import (
    DecoderConfig,
    ExpertsConfig,
    GenerationSettings,
    Llama3,
    Proportional,
    Rope,
    RopeLinear,
    RopeNtk,
    Yarn,
)

VOCAB = 50
SPECIAL = SpecialTokens(bos=0, eos=1, pad=2)
VARIANTS = {
    "tied": {},
    "untied": {"tie_embeddings": False},
    "all_heads": {"num_kv_heads": None},
    "one_kv_head": {"num_kv_heads": 1, "norm_eps": 1e-6, "position": Rope(theta=5e5)},
    "window": {"window_tokens": 5},
    "linear": {"position": RopeLinear(theta=1e4, factor=4)},
    "ntk": {"position": RopeNtk(theta=1e4, factor=4)},
    "yarn": {"position": Yarn(theta=1e4, factor=4, trained_tokens=8)},
    "llama3": {"position": Llama3(theta=1e4, factor=4, trained_tokens=16)},
    "proportional": {"position": Proportional(theta=1e4, fraction=0.5)},
    "experts": {"experts": ExpertsConfig(balance_weight=0.02)},
    "experts_window": {
        "experts": ExpertsConfig(num_experts=3, top_k=1),
        "window_tokens": 5,
        "tie_embeddings": False,
    },
}


def decoder(**changes) -> Decoder:
    shape = {
        "num_layers": 2,
        "d_model": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "d_ff": 48,
        "context_tokens": 32,
        "init_std": 0.2,
    }
    model = Decoder(DecoderConfig.model_validate(shape | changes), vocab_size=VOCAB)
    init_weights(model, seed=11)
    with torch.no_grad():
        # Norms of one would hide a norm that is forgotten or swapped.
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    return model.eval()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_transformers_computes_the_same_logits_and_the_weights_come_back_bit_equal(
    changes, tmp_path
):
    model = decoder(**changes)
    folder = export_decoder(model, folder=tmp_path / "model", special=SPECIAL, card="# Card\n")
    kind = LlamaForCausalLM if model.config.window_tokens is None else MistralForCausalLM
    if model.config.experts is not None:
        kind = MixtralForCausalLM
    theirs = kind.from_pretrained(folder).eval()
    text = torch.randint(VOCAB, (2, 24), generator=torch.Generator().manual_seed(0))
    assert theirs.dtype == torch.float32
    assert (theirs(text).logits - model(text)).abs().max() <= 1e-5
    back = load_decoder(folder)
    assert torch.equal(back(text), model(text)) or isinstance(model.config.position, RopeNtk)
    state = back.state_dict()
    assert set(state) == set(model.state_dict())
    assert all(torch.equal(state[name], one) for name, one in model.state_dict().items())


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_shape_comes_back_as_it_was(changes, tmp_path):
    model = decoder(**changes)
    folder = export_decoder(model, folder=tmp_path / "model", special=SPECIAL, card="")
    back = load_decoder(folder).config
    if isinstance(model.config.position, RopeNtk):
        # Written as the theta that it amounts to.
        assert isinstance(back.position, Rope)
        back = back.model_copy(update={"position": model.config.position})
    given = model.config.model_copy(update={"num_kv_heads": model.config.kv_heads})
    assert back == given


@torch.no_grad()
def test_a_capacity_bounds_training_and_no_exported_model(tmp_path):
    model = decoder(experts=ExpertsConfig(capacity_factor=0.5))
    folder = export_decoder(model, folder=tmp_path / "model", special=SPECIAL, card="")
    theirs = MixtralForCausalLM.from_pretrained(folder).eval()
    text = torch.randint(VOCAB, (2, 24), generator=torch.Generator().manual_seed(0))
    assert (theirs(text).logits - model(text)).abs().max() <= 1e-5
    assert (model.train()(text) - theirs(text).logits).abs().max() > 0.1
    assert load_decoder(folder).config.experts == ExpertsConfig()


def test_the_folder_says_what_versions_of_transformers_disagree_about(tmp_path):
    folder = export_decoder(decoder(), folder=tmp_path, special=SPECIAL, card="# A card\n")
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["tie_word_embeddings"] is True
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 10_000.0}
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 1, 2)
    assert (folder / "README.md").read_text() == "# A card\n"
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.eos_token_id == 1


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        export_decoder(decoder(), folder=tmp_path, special=SPECIAL, card="")


@pytest.mark.parametrize("window", [None, 5])
def test_greedy_text_equals_that_of_transformers(window, tmp_path):
    model = decoder(window_tokens=window)
    folder = export_decoder(model, folder=tmp_path / "model", special=SPECIAL, card="")
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    prompts = [[5, 6, 7, 8], [9, 10], [11]]
    settings = GenerationSettings(max_new_tokens=20, temperature=0, repetition_penalty=1.2)
    ours = generate(model, prompts, settings=settings, ending=Ending(eos=1))
    for prompt, one in zip(prompts, ours, strict=True):
        text = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=20,
            repetition_penalty=1.2,
        )
        new = text[0, len(prompt) :].tolist()
        assert one.tokens == (new[:-1] if new[-1] == 1 else new)


def test_the_folder_loads_where_our_package_is_not(tmp_path):
    folder = export_decoder(decoder(), folder=tmp_path / "model", special=SPECIAL, card="")
    code = (
        "import sys; sys.modules['lmlab'] = None\n"
        "from transformers import AutoModelForCausalLM\n"
        f"print(type(AutoModelForCausalLM.from_pretrained({str(folder)!r})).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "LlamaForCausalLM"
