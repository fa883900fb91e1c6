"""What a decoder must never do: see ahead, a pad or another document, or start by accident."""

import pytest
import torch
import torch.nn.functional as F

from lmlab.models.attention import KeyValueCache
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.schema import DecoderConfig, Yarn

VOCAB = 40


def config(**changes) -> DecoderConfig:
    shape = {
        "num_layers": 2,
        "d_model": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "d_ff": 48,
        "context_tokens": 24,
        "init_std": 0.2,
    }
    return DecoderConfig.model_validate(shape | changes)


def decoder(**changes) -> Decoder:
    model = Decoder(config(**changes), vocab_size=VOCAB)
    init_weights(model, seed=3)
    return model.eval()


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


VARIANTS = {
    "plain": {},
    "window": {"window_tokens": 5},
    "yarn": {"position": Yarn(theta=1e4, factor=4, trained_tokens=8)},
    "untied": {"tie_embeddings": False},
    "register": {"sinks": {"kind": "register"}},
    "logit": {"sinks": {"kind": "logit"}},
    "register, window": {"sinks": {"kind": "register", "num_sinks": 4}, "window_tokens": 5},
    "logit, window": {"sinks": {"kind": "logit"}, "window_tokens": 5},
}
each_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())


@each_variant
@torch.no_grad()
def test_logits_never_depend_on_a_later_token(changes):
    model, text = decoder(**changes), tokens(2, 20)
    before = model(text)
    for place in (1, 7, 19):
        changed = text.clone()
        changed[:, place] = (changed[:, place] + 1) % VOCAB
        after = model(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


@torch.no_grad()
def test_a_window_forgets_exactly_what_is_behind_it():
    model, text = decoder(window_tokens=5, num_layers=1), tokens(1, 20)
    before = model(text)
    changed = text.clone()
    changed[0, 4] = (changed[0, 4] + 1) % VOCAB
    same = (model(changed) == before).all(-1)[0]
    assert same.tolist() == [not 4 <= place < 9 for place in range(20)]


@each_variant
@torch.no_grad()
def test_a_packed_document_never_sees_the_others(changes):
    model, text = decoder(**changes), tokens(1, 20)
    documents = torch.tensor([[0] * 6 + [1] * 9 + [2] * 5])
    before = model(text, documents=documents)
    changed = text.clone()
    changed[0, :6] = (changed[0, :6] + 1) % VOCAB
    changed[0, 15:] = (changed[0, 15:] + 1) % VOCAB
    after = model(changed, documents=documents)
    assert torch.equal(after[0, 6:15], before[0, 6:15])
    assert not torch.equal(after[0, :6], before[0, :6])


@each_variant
@torch.no_grad()
def test_the_loss_of_a_packed_document_is_its_own(changes):
    model, lengths = decoder(**changes), (6, 9, 5)
    texts = [tokens(1, length, seed=length) for length in lengths]
    documents = torch.tensor([[n for n, length in enumerate(lengths) for _ in range(length)]])
    packed = model(torch.cat(texts, dim=1), documents=documents).split(lengths, dim=1)
    for logits, text in zip(packed, texts, strict=True):
        ours = F.cross_entropy(logits[0, :-1], text[0, 1:])
        alone = F.cross_entropy(model(text)[0, :-1], text[0, 1:])
        assert abs(ours - alone) <= 1e-6


@each_variant
@torch.no_grad()
def test_a_left_padded_row_equals_itself_alone_whatever_the_pads_are(changes):
    model, long, short = decoder(**changes), tokens(1, 12), tokens(1, 7, seed=1)
    pads = torch.tensor([0, 5])
    rows = [torch.cat((long, F.pad(short, (5, 0), value=filler))) for filler in (0, 9)]
    first, second = (model(row, pads=pads) for row in rows)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1, 5:], second[1, 5:])
    assert (first[:1] - model(long)).abs().max() <= 1e-5
    assert (first[1:, 5:] - model(short)).abs().max() <= 1e-5


@each_variant
@pytest.mark.parametrize("chunks", [(12, 1, 1, 1, 1), (5, 6, 5), (1,) * 16], ids=str)
@torch.no_grad()
def test_prefill_and_decode_equal_one_pass(changes, chunks):
    model, text = decoder(**changes), tokens(3, 16)
    pads = torch.tensor([0, 3, 1])
    for given in (None, pads):
        cache = KeyValueCache(model.config, batch=3, num_tokens=16, like=model.embed.weight)
        parts = [model(part, pads=given, cache=cache) for part in text.split(chunks, dim=1)]
        whole = model(text, pads=given)
        assert cache.length == 16
        for row, skipped in enumerate(pads.tolist() if given is not None else (0, 0, 0)):
            difference = torch.cat(parts, dim=1)[row, skipped:] - whole[row, skipped:]
            assert difference.abs().max() <= 1e-5


@torch.no_grad()
def test_a_row_is_independent_of_its_batch_mates():
    model, text = decoder(), tokens(4, 16)
    mates = tokens(4, 16, seed=8)
    mates[1] = text[1]
    assert torch.equal(model(text)[1], model(mates)[1])
    assert (model(text)[1] - model(text[1:2])[0]).abs().max() <= 1e-5


@each_variant
def test_the_parameters_are_as_many_as_the_formula_says(changes):
    model = decoder(**changes)
    assert sum(p.numel() for p in model.parameters()) == model.config.num_parameters(VOCAB)


def test_known_models_have_their_known_sizes():
    shape = {"d_model": 64, "num_layers": 5, "num_heads": 8, "num_kv_heads": 4, "d_ff": 172}
    stories = DecoderConfig.model_validate(shape | {"context_tokens": 512})
    assert stories.num_parameters(512) == 260_032


def test_a_parameter_starts_the_same_whatever_else_the_model_has():
    small, large = decoder(), decoder(num_layers=2, tie_embeddings=False)
    for name, parameter in small.named_parameters():
        assert torch.equal(parameter, large.get_parameter(name))
    other = Decoder(config(), vocab_size=VOCAB)
    init_weights(other, seed=4)
    assert not torch.equal(other.embed.weight, small.embed.weight)


def test_weights_start_with_the_spread_that_was_asked_for():
    model = Decoder(config(d_model=128, d_ff=256, init_std=0.02), vocab_size=500)
    init_weights(model, seed=0)
    mlp = model.get_submodule("blocks.0.mlp")
    assert model.embed.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert mlp.get_parameter("gate_up.weight").std().item() == pytest.approx(0.02, rel=0.02)
    # Two layers: 1 / sqrt(2 * 2).
    assert mlp.get_parameter("down.weight").std().item() == pytest.approx(0.01, rel=0.02)
    assert torch.equal(model.final_norm.weight, torch.ones(128))


def test_the_state_holds_parameters_alone():
    model = decoder()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_recomputing_activations_changes_no_gradient():
    text = tokens(2, 10)
    gradients = []
    for recompute in (False, True):
        model = decoder(gradient_checkpointing=recompute, dropout=0.2).train()
        torch.manual_seed(0)
        model(text).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_dropout_works_in_training_alone():
    model, text = decoder(dropout=0.5), tokens(1, 8)
    assert torch.equal(model(text), model(text))
    model.train()
    assert not torch.equal(model(text), model(text))


def test_a_text_longer_than_the_context_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"25 tokens.*context of 24"):
        decoder()(tokens(1, 25))
    model = decoder()
    cache = KeyValueCache(model.config, batch=1, num_tokens=4, like=model.embed.weight)
    with pytest.raises(ValueError, match=r"5 tokens.*cache of 4"):
        model(tokens(1, 5), cache=cache)


def test_packing_goes_with_neither_pads_nor_a_cache():
    text = tokens(1, 8)
    with pytest.raises(ValueError, match="packed documents"):
        decoder()(text, documents=torch.zeros_like(text), pads=torch.tensor([1]))


def test_bfloat16_products_keep_the_states_close():
    model, text = decoder(init_std=0.02), tokens(2, 16)
    exact = model(text)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(text)
    assert (rough.float() - exact).norm() / exact.norm() < 0.02
