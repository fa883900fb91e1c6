"""Registers and sink logits: their algebra, what they may not change, where they are refused."""

import pytest
import torch
from slow_decoder import VOCAB, slow_logits, small_decoder
from slow_decoder import drawn_tokens as tokens

from lmlab.models.attention import attend, causal_products
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.llama import to_llama
from lmlab.models.sinks import Heads, add_sink_logits

SINKS = {"register": {"kind": "register", "num_sinks": 3}, "logit": {"kind": "logit"}}
each_kind = pytest.mark.parametrize("kind", SINKS)


def decoder(kind: str | None, **changes) -> Decoder:
    return small_decoder(kind and SINKS[kind], **{"context_tokens": 24} | changes)


@pytest.mark.parametrize("kind", [None, *SINKS])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 4])
@torch.no_grad()
def test_logits_equal_a_slow_loop_in_numpy(kind, kv_heads, window):
    model = decoder(kind, num_kv_heads=kv_heads, window_tokens=window).double()
    text = tokens(1, 12)

    def seen(t: int) -> list[tuple[int, int]]:
        return [(j, j) for j in range(t + 1) if window is None or t - j < window]

    slow = slow_logits(model, text[0].tolist(), seen)
    assert abs(model(text)[0].numpy() - slow).max() <= 1e-6
    # In a packed row, beside pads and at the first of single steps it is the same.
    packed = torch.cat((tokens(1, 5, seed=1), text), dim=1)
    documents = torch.tensor([[0] * 5 + [1] * 12])
    assert abs(model(packed, documents=documents)[0, 5:].numpy() - slow).max() <= 1e-6
    assert abs(model(packed, pads=torch.tensor([5]))[0, 5:].numpy() - slow).max() <= 1e-6
    assert abs(model(text[:, :1])[0].numpy() - slow[:1]).max() <= 1e-6


def reference(q, k, v, logits):
    """The softmax with a column of its own for the sink, which is then dropped."""
    k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for part in (k, v))
    scores = q @ k.mT / q.shape[3] ** 0.5
    ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    column = logits.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    scores = torch.cat((scores.masked_fill(ahead, -torch.inf), column), dim=3)
    return scores.softmax(-1)[..., :-1] @ v


@pytest.mark.parametrize("attention", [attend, causal_products])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_a_sink_logit_and_its_gradients_are_those_of_the_formula(attention, kv_heads):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 10, 8, dtype=torch.float64, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, 10, 8, dtype=torch.float64, generator=generator)
    logits = torch.randn(4, dtype=torch.float64, generator=generator)
    given = [part.clone().requires_grad_() for part in (q, k, v, logits)]
    wide = add_sink_logits(Heads(*given[:3]), given[3], opens=True)
    options = {"mask": None} if attention is attend else {"block": 4}
    mixed = attention(wide.q, wide.k, wide.v, scale=8**-0.5, **options)
    expected_from = [part.clone().requires_grad_() for part in (q, k, v, logits)]
    expected = reference(*expected_from)
    assert (mixed[:, :, 1:, :8] - expected).abs().max() <= 1e-12
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    (mixed[:, :, 1:, :8] * weights).sum().backward()
    (expected * weights).sum().backward()
    for ours, theirs in zip(given, expected_from, strict=True):
        assert (ours.grad - theirs.grad).abs().max() <= 1e-12


@torch.no_grad()
def test_sinks_change_no_other_weight_and_a_silent_logit_changes_nothing():
    text = tokens(2, 16)
    for kind in SINKS:
        with_sinks = decoder(kind)
        state = {
            name: value
            for name, value in with_sinks.state_dict().items()
            if "registers" not in name and "sink_logits" not in name
        }
        plain = decoder(None)
        assert set(state) == set(plain.state_dict())
        assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())
        assert not torch.allclose(with_sinks(text), plain(text), atol=1e-2)
    silent = decoder("logit")
    for name, parameter in silent.named_parameters():
        if name.endswith("sink_logits"):
            parameter.fill_(-1e4)
    assert (silent(text) - decoder(None)(text)).abs().max() <= 1e-5


@each_kind
def test_every_sink_learns(kind):
    model = decoder(kind).train()
    model(tokens(2, 12)).square().mean().backward()
    for block in model.blocks:
        sinks = block.attention.registers if kind == "register" else block.attention.sink_logits
        assert sinks.grad.abs().min() > 0


@each_kind
def test_recomputing_activations_changes_no_gradient(kind):
    gradients = []
    for recompute in (False, True):
        model = decoder(kind, gradient_checkpointing=recompute).train()
        model(tokens(2, 10)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


@each_kind
@torch.no_grad()
def test_bfloat16_products_keep_the_states_close_and_never_see_ahead(kind):
    model, text = decoder(kind, init_std=0.02), tokens(2, 16)
    exact = model(text)
    changed = text.clone()
    changed[:, 9] = (changed[:, 9] + 1) % VOCAB
    with torch.autocast("cpu", torch.bfloat16):
        rough, other = model(text), model(changed)
    assert (rough.float() - exact).norm() / exact.norm() < 0.02
    assert torch.equal(rough[:, :9], other[:, :9])


def test_sink_logits_start_at_zero_and_registers_with_the_spread_asked_for():
    model = Decoder(decoder("logit").config, vocab_size=VOCAB)
    init_weights(model, seed=0)
    assert not model.get_parameter("blocks.1.attention.sink_logits").any()
    wide = decoder("register", d_model=2048, init_std=0.02)
    registers = wide.get_parameter("blocks.0.attention.registers")
    assert registers.std().item() == pytest.approx(0.02, rel=0.05)


@each_kind
def test_a_model_with_sinks_is_not_exported_as_another_model(kind, tmp_path):
    model, special = decoder(kind), SpecialTokens(bos=None, eos=None, pad=None)
    with pytest.raises(ValueError, match=f"{kind} sinks cannot be exported.*no learned"):
        export_decoder(model, folder=tmp_path / "out", special=special, card="")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="cannot be exported"):
        to_llama(model.state_dict(), model.config)
