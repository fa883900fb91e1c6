"""Public models load whole, or say in a line why not: from folders and runs, with adapters."""

import importlib.util
import json
import shutil
from pathlib import Path

import pretrained_toys
import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import lmlab
from lmlab.models.complete import Completer
from lmlab.models.pretrained import (
    build_untrained,
    context_tokens,
    load_pretrained,
    load_pretrained_tokenizer,
)
from lmlab.models.schema import PretrainedConfig

LABELS = ("negative", "positive")
PROMPTS = ("Review: a fine film\nSentiment:", "Review: dull\nSentiment:", "Anna")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {kind: pretrained_toys.make_folder(kind, root / kind) for kind in pretrained_toys.MAKERS}


@pytest.mark.parametrize(
    ("kind", "read_as", "context"),
    [("gpt2", "causal", 256), ("llama", "causal", 256), ("t5", "seq2seq", None)],
)
def test_a_folder_loads_as_it_was_saved(
    folders: dict[str, str], kind: str, read_as: str, context: int | None
):
    loaded = load_pretrained(PretrainedConfig(name=folders[kind]))
    saved = pretrained_toys.make_model(kind).state_dict()
    assert (loaded.kind, loaded.fresh, set(loaded.weights)) == (read_as, (), {"base"})
    assert not loaded.model.training
    assert context_tokens(loaded.model.config) == context
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, saved[name])


def test_the_hash_is_of_the_weights_alone(folders: dict[str, str], tmp_path: Path):
    other = pretrained_toys.make_folder("llama", tmp_path / "other", seed=1)
    copied = shutil.copytree(folders["llama"], tmp_path / "copied")
    hashes = [
        load_pretrained(PretrainedConfig(name=str(one))).weights["base"]
        for one in (folders["llama"], copied, other)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_only_a_class_head_may_be_drawn_at_random_and_it_is_named(
    folders: dict[str, str], kind: str
):
    config = PretrainedConfig(name=folders[kind])
    heads = [load_pretrained(config, labels=LABELS, seed=seed) for seed in (0, 0, 1)]
    assert {one.fresh for one in heads} == {("score.weight",)}
    first, again, other = (one.model.get_parameter("score.weight") for one in heads)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({one.weights["base"] for one in heads}) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("drop", "missing: model.norm.weight"),
        ("add", "unexpected: model.layers.7.mlp.up_proj.weight"),
        ("cut", "cannot be loaded"),
    ],
)
@pytest.mark.parametrize("labels", [(), LABELS])
def test_a_tensor_too_many_too_few_or_misshapen_is_refused(
    folders: dict[str, str], tmp_path: Path, change: str, said: str, labels: tuple[str, ...]
):
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    if change != "drop":
        tensors["model.norm.weight"] = norm[:-1].clone() if change == "cut" else norm
    if change == "add":
        tensors["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=said):
        load_pretrained(PretrainedConfig(name=str(folder)), labels=labels)


def test_untrained_is_the_same_architecture_with_other_weights(folders: dict[str, str]):
    config = PretrainedConfig(name=folders["gpt2"])
    trained = load_pretrained(config)
    first, again = build_untrained(config, seed=1), build_untrained(config, seed=1)
    assert first.weights == again.weights != trained.weights
    shapes = [
        {name: one.shape for name, one in model.model.state_dict().items()}
        for model in (first, trained)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("labels", [(), LABELS])
def test_an_adapter_that_peft_wrote_gives_what_peft_gives(
    folders: dict[str, str], tmp_path: Path, labels: tuple[str, ...]
):
    config = PretrainedConfig(name=folders["gpt2"])
    lora = LoraConfig(
        r=4,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
        task_type="SEQ_CLS" if labels else "CAUSAL_LM",
    )
    theirs = get_peft_model(load_pretrained(config, labels=labels).model, lora).eval()
    for name, one in theirs.named_parameters():
        if one.requires_grad:
            generator = torch.Generator().manual_seed(len(name))
            one.data += torch.randn(one.shape, generator=generator)
    theirs.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    adapter = str(tmp_path / "adapter")
    ours = load_pretrained(config.model_copy(update={"adapter": adapter}), labels=labels, seed=5)
    tokens = torch.arange(12).view(2, 6)
    with torch.inference_mode():
        assert torch.equal(ours.model(tokens).logits, theirs(tokens).logits)
    assert set(ours.weights) == {"base", "adapter"}
    assert ours.fresh == ()


def test_an_adapter_that_lacks_a_matrix_is_refused(folders: dict[str, str], tmp_path: Path):
    config = PretrainedConfig(name=folders["llama"])
    lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    theirs = get_peft_model(load_pretrained(config).model, lora)
    theirs.save_pretrained(str(tmp_path), save_embedding_layers=False)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    del tensors["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"]
    save_file(tensors, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing: \S+layers\.1\.self_attn\.q_proj\.lora_B"):
        load_pretrained(config.model_copy(update={"adapter": str(tmp_path)}))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_prompts_answered_in_a_batch_are_answered_as_alone(folders: dict[str, str], kind: str):
    model = load_pretrained(PretrainedConfig(name=folders[kind]))
    # Larger weights: else every prompt is continued alike.
    for name, one in model.model.named_parameters():
        one.data += 0.3 * torch.randn(one.shape, generator=torch.Generator().manual_seed(len(name)))
    batched, alone = Completer(model, 3), Completer(model, 1)
    prompts = [batched.encode(one) for one in PROMPTS]
    assert len({len(one) for one in prompts}) == 3
    assert batched.write(prompts, max_new_tokens=8) == alone.write(prompts, max_new_tokens=8)
    words = torch.tensor([batched.encode_after("Sentiment:", f" {one}")[0] for one in LABELS])
    together, apart = (one.label_log_probs(prompts, words.numpy()) for one in (batched, alone))
    assert abs(together - apart).max() <= 1e-5


def test_a_models_own_habits_of_generating_are_left_and_its_end_is_kept(
    folders: dict[str, str], tmp_path: Path
):
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "model"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = torch.arange(5, 20)[None]
    plain = model.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=None)[0, 15:]
    ended = plain.tolist()[3]
    habits = {"suppress_tokens": [plain.tolist()[0]], "num_beams": 3, "eos_token_id": ended}
    (folder / "generation_config.json").write_text(json.dumps(habits), encoding="utf-8")
    loaded = load_pretrained(PretrainedConfig(name=str(folder)))
    written = Completer(loaded, 1).write([prompt[0].tolist()], max_new_tokens=8)[0]
    kept = plain.tolist()[: plain.tolist().index(ended) + 1]
    assert written == loaded.tokenizer.decode(kept, skip_special_tokens=True)


def test_the_log_probability_of_a_label_is_that_of_the_next_token(folders: dict[str, str]):
    model = AutoModelForCausalLM.from_pretrained(folders["gpt2"]).eval()
    completer = Completer(load_pretrained(PretrainedConfig(name=folders["gpt2"])), 2)
    ids = [completer.encode(one) for one in PROMPTS]
    words = torch.tensor([completer.encode_after("Sentiment:", f" {one}")[0] for one in LABELS])
    found = completer.label_log_probs(ids, words.numpy())
    for row, prompt in enumerate(ids):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)[words]
        assert abs(found[row] - expected.numpy()).max() <= 1e-5


def test_classes_are_read_at_the_last_real_token_of_a_batch(folders: dict[str, str]):
    model = load_pretrained(PretrainedConfig(name=folders["gpt2"]), labels=LABELS)
    prompts = [Completer(model, 1).encode(one) for one in PROMPTS]
    together, apart = (Completer(model, size).class_log_probs(prompts) for size in (3, 1))
    assert abs(together - apart).max() <= 1e-5


def test_a_tokenizer_without_padding_pads_with_its_end(folders: dict[str, str], tmp_path: Path):
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "model"))
    settings = folder / "tokenizer_config.json"
    text = settings.read_text(encoding="utf-8").replace('"pad_token": "<pad>"', '"extra": 1')
    settings.write_text(text, encoding="utf-8")
    tokenizer = load_pretrained_tokenizer(PretrainedConfig(name=str(folder)))
    assert tokenizer.pad_token == tokenizer.eos_token == "<eos>"
    loaded = load_pretrained(PretrainedConfig(name=str(folder)), labels=LABELS)
    assert loaded.model.config.pad_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantize": "4bit"}, "quantize=4bit needs bitsandbytes, which is not installed"),
        ({"quantize": "8bit"}, "quantize=8bit needs bitsandbytes, which is not installed"),
        ({"adapter": "/nowhere/adapter"}, "/nowhere/adapter cannot be loaded"),
        ({"name": "/nowhere/model"}, "/nowhere/model cannot be loaded"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(
    folders: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, str],
    said: str,
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else real(name, *rest),
    )
    config = PretrainedConfig(name=folders["gpt2"]).model_copy(update=changes)
    with pytest.raises(ValueError, match=said) as raised:
        load_pretrained(config)
    assert "\n" not in str(raised.value)


def test_a_hub_id_without_a_network_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"nobody/none cannot be loaded: .*HF_HUB_OFFLINE"):
        load_pretrained(PretrainedConfig(name="nobody/none"))


def test_code_that_comes_with_a_model_is_not_run_unless_asked(
    folders: dict[str, str], tmp_path: Path
):
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "model"))
    config = (folder / "config.json").read_text(encoding="utf-8")
    own = '{"auto_map": {"AutoConfig": "planted.Planted"}, "model_type": "planted",'
    (folder / "config.json").write_text(
        config.replace("{", own, 1).replace('"model_type": "gpt2"', '"other": 1'), encoding="utf-8"
    )
    (folder / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_pretrained(PretrainedConfig(name=str(folder)))
    assert not (tmp_path / "ran").exists()


def test_a_run_is_named_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    monkeypatch.delenv("DEV_MODE", raising=False)
    made = lmlab.run(
        tiny.PRESET, *tiny.OVERRIDES, "sft=null", "dpo=null", "verifier=null", name="a"
    )
    loaded = load_pretrained(PretrainedConfig(name="scratch/a:pretrain@last"))
    tokens = torch.randint(3, 300, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = loaded.model(tokens).logits - made.model().model(tokens)
    assert difference.abs().max() <= 1e-5
    with pytest.raises(ValueError, match="no run scratch/b"):
        load_pretrained(PretrainedConfig(name="scratch/b:pretrain"))
