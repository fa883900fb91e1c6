"""LoRA against its formula and PEFT's own use; what is trained, and what checkpoints hold."""

from dataclasses import replace
from pathlib import Path

import pretrained_toys
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from lmlab.engine.checkpoint import module_tensors
from lmlab.models.adapt import Adapted, adapt, save_adapted
from lmlab.models.pretrained import Pretrained, load_pretrained
from lmlab.models.schema import FullTuning, Lora, PretrainedConfig, Probe

LABELS = ("negative", "positive")
TARGETS = {"gpt2": ("c_attn", "c_proj"), "llama": ("q_proj", "v_proj"), "t5": ("q", "v")}
TOKENS = torch.arange(24).view(2, 12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {kind: pretrained_toys.make_folder(kind, root / kind) for kind in pretrained_toys.MAKERS}


def load(folders: dict[str, str], kind: str, labels: tuple[str, ...] = ()) -> Pretrained:
    return load_pretrained(PretrainedConfig(name=folders[kind]), labels=labels)


def shake(model: nn.Module) -> None:
    """B is zero at the start; a test of A and B needs both."""
    for name, one in model.named_parameters():
        if "lora_B" in name:
            one.data += torch.randn(one.shape, generator=torch.Generator().manual_seed(len(name)))


def logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    extra = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    return model(input_ids=tokens, **extra).logits


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("gpt2", "transformer.h.1.mlp.c_proj"), ("llama", "model.layers.1.self_attn.v_proj")],
)
@pytest.mark.parametrize(
    ("r", "alpha", "rslora"), [(4, 8.0, False), (9, 6.0, True), (1, 0.5, False)]
)
def test_a_layer_gives_its_own_product_plus_the_scaled_low_rank_one(
    folders: dict[str, str], kind: str, layer: str, r: int, alpha: float, rslora: bool
):
    method = Lora(kind="lora", r=r, alpha=alpha, rslora=rslora, target_modules=TARGETS[kind])
    base = load(folders, kind)
    plain = base.model.get_submodule(layer)
    # GPT-2's Conv1D keeps [in, out], torch's Linear [out, in].
    weight = plain.weight.detach().clone() if kind == "llama" else plain.weight.detach().T.clone()
    bias = 0 if plain.bias is None else plain.bias.detach().clone()
    adapted = adapt(base, method, seed=0)
    shake(adapted.model)
    module = adapted.model.get_submodule(f"base_model.model.{layer}")
    a, b = (
        module.get_submodule(one).get_submodule("default").weight for one in ("lora_A", "lora_B")
    )
    assert (a.shape, b.shape) == ((r, weight.shape[1]), (weight.shape[0], r))
    x = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(1))
    scale = alpha / (r**0.5 if rslora else r)
    expected = x @ weight.T + bias + scale * (x @ a.T) @ b.T
    assert (module(x) - expected).abs().max() <= 1e-6
    out = torch.randn(3, weight.shape[0], generator=torch.Generator().manual_seed(2))
    module(x).backward(out)
    assert (a.grad - scale * (out @ b).T @ x).abs().max() <= 1e-5
    assert (b.grad - scale * out.T @ (x @ a.T)).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_forward_and_backward_are_those_of_peft_by_hand(folders: dict[str, str], kind: str):
    method = Lora(kind="lora", r=4, alpha=10, rslora=True, target_modules=TARGETS[kind])
    ours = adapt(load(folders, kind), method, seed=0).model
    config = LoraConfig(
        r=4,
        lora_alpha=10,
        use_rslora=True,
        target_modules=list(TARGETS[kind]),
        fan_in_fan_out=kind == "gpt2",
        task_type="SEQ_2_SEQ_LM" if kind == "t5" else "CAUSAL_LM",
    )
    theirs = get_peft_model(load(folders, kind).model, config)
    shake(ours)
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    assert torch.equal(logits(ours), logits(theirs))
    logits(ours).square().mean().backward()
    logits(theirs).square().mean().backward()
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    assert sum(one.grad is not None for one, _ in pairs) == sum(
        one.requires_grad for one, _ in pairs
    )
    for one, other in pairs:
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_merged_into_the_weights_it_gives_the_same(folders: dict[str, str], kind: str):
    adapted = adapt(
        load(folders, kind), Lora(kind="lora", r=4, target_modules=TARGETS[kind]), seed=0
    )
    for name, one in adapted.model.named_parameters():
        if "lora_B" in name:
            one.data += 0.01 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    # In float64: what is left is the merge's own error, not that of another order of sums.
    model = adapted.model.eval().double()
    with torch.inference_mode():
        apart = logits(model)
        assert isinstance(model, PeftModel)
        merged = logits(model.merge_and_unload())
        plain = logits(load(folders, kind).model.double())
    assert (apart - merged).abs().max() <= 1e-6
    assert (apart - plain).abs().max() > 1e-4


def test_the_layers_that_were_hit_are_named_also_those_that_nobody_meant(folders: dict[str, str]):
    """ "c_proj" is the projection of the attention and of the MLP."""
    method = Lora(kind="lora", target_modules=("c_attn", "c_proj"))
    found = adapt(load(folders, "gpt2"), method, seed=0).hit
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_proj")
    assert set(found) == {f"transformer.h.{block}.{one}" for block in (0, 1) for one in layers}


def test_a_target_that_no_layer_has_is_refused_though_others_are_there(folders: dict[str, str]):
    method = Lora(kind="lora", target_modules=("q_proj", "c_attn"))
    with pytest.raises(ValueError, match=r"no layer is called 'c_attn'; there are .*v_proj"):
        adapt(load(folders, "llama"), method, seed=0)
    with pytest.raises(ValueError, match="LoRA on"):
        adapt(load(folders, "llama"), Lora(kind="lora", target_modules=("wq",)), seed=0)


def trained_names(adapted: Adapted) -> set[str]:
    return {name.removeprefix("adapter.") for name in module_tensors({"adapter": adapted.trained})}


def test_a_checkpoint_holds_what_is_trained_and_nothing_else(folders: dict[str, str]):
    lora = adapt(load(folders, "llama"), Lora(kind="lora", target_modules=("q_proj",)), seed=0)
    assert all(".lora_" in name for name in trained_names(lora))
    assert len(trained_names(lora)) == 4
    classifier = load(folders, "gpt2", LABELS)
    head = adapt(classifier, Lora(kind="lora", target_modules=("c_attn",)), seed=0)
    others = {name for name in trained_names(head) if ".lora_" not in name}
    assert others == {"base_model.model.score.modules_to_save.default.weight"}
    probe = adapt(load(folders, "gpt2", LABELS), Probe(kind="probe"), seed=0)
    assert trained_names(probe) == {"score.weight"}
    full = adapt(load(folders, "gpt2", LABELS), FullTuning(kind="full"), seed=0)
    assert trained_names(full) == {name for name, _ in full.model.named_parameters()}
    with pytest.raises(ValueError, match="a probe trains a class head"):
        adapt(load(folders, "gpt2"), Probe(kind="probe"), seed=0)


def test_what_is_trained_is_the_models_own_and_switches_it_whole(folders: dict[str, str]):
    method = Lora(kind="lora", dropout=0.5, target_modules=("q_proj",))
    adapted = adapt(load(folders, "llama"), method, seed=0)
    shake(adapted.model)
    adapted.trained.eval()
    assert torch.equal(logits(adapted.model), logits(adapted.model))
    adapted.trained.train()
    assert not torch.equal(logits(adapted.model), logits(adapted.model))
    adapted.trained.eval()
    before = logits(adapted.model)
    with torch.no_grad():
        for one in adapted.trained.parameters():
            one.zero_()
    assert not torch.equal(logits(adapted.model), before)
    assert torch.equal(logits(adapted.model), logits(load(folders, "llama").model))
    adapted.trained.to(torch.float64)
    assert {one.dtype for one in adapted.model.parameters()} == {torch.float64}


def test_the_start_is_that_of_the_seed(folders: dict[str, str]):
    method = Lora(kind="lora", target_modules=("q_proj",))
    starts = [adapt(load(folders, "llama"), method, seed=seed) for seed in (0, 0, 1)]
    tensors = [module_tensors({"adapter": one.trained}) for one in starts]
    a = next(name for name in tensors[0] if "lora_A" in name)
    assert torch.equal(tensors[0][a], tensors[1][a])
    assert not torch.equal(tensors[0][a], tensors[2][a])
    assert all(not one.any() for name, one in tensors[0].items() if "lora_B" in name)


def test_an_exported_adapter_loads_in_peft(folders: dict[str, str], tmp_path: Path):
    base = load(folders, "gpt2")
    method = Lora(kind="lora", r=4, alpha=9, rslora=True, target_modules=TARGETS["gpt2"])
    adapted = adapt(base, method, seed=0)
    shake(adapted.model)
    save_adapted(adapted, base, tmp_path / "adapter")
    theirs = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter")).eval()
    with torch.inference_mode():
        assert torch.equal(logits(theirs), logits(adapted.model.eval()))
    assert {one.name for one in tmp_path.iterdir()} == {"adapter"}
    assert (tmp_path / "adapter" / "tokenizer.json").is_file()


def test_a_model_trained_whole_is_exported_whole(folders: dict[str, str], tmp_path: Path):
    base = load(folders, "gpt2", LABELS)
    adapted = adapt(base, FullTuning(kind="full"), seed=0)
    save_adapted(adapted, base, tmp_path / "model")
    again = load_pretrained(PretrainedConfig(name=str(tmp_path / "model")), labels=LABELS)
    assert again.fresh == ()
    with torch.inference_mode():
        assert torch.equal(logits(again.model), logits(adapted.model.eval()))


def test_a_model_that_its_loader_placed_is_not_moved(folders: dict[str, str]):
    base = replace(load(folders, "llama"), placed=True)
    adapted = adapt(base, FullTuning(kind="full"), seed=0)
    adapted.trained.to(torch.float64)
    assert {one.dtype for one in adapted.model.parameters()} == {torch.float32}
