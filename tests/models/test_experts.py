"""A mixture of experts against slow loops, and what its routing must never depend on."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from lmlab.models.attention import KeyValueCache
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.experts import (
    Experts,
    Routing,
    Usage,
    balance_sum,
    expert_usage,
    over_capacity,
)
from lmlab.models.generate import generate
from lmlab.models.schema import DecoderConfig, ExpertsConfig, GenerationSettings

VOCAB = 40
CHOICES = {
    "top_2": {},
    "top_1": {"top_k": 1},
    "all": {"top_k": 4},
    "tight": {"capacity_factor": 0.5},
}
each_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())


def decoder(choice: dict, **changes) -> Decoder:
    shape = {
        "num_layers": 2,
        "d_model": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "d_ff": 48,
        "context_tokens": 24,
        "init_std": 0.2,
        "experts": ExpertsConfig.model_validate(choice),
    }
    model = Decoder(DecoderConfig.model_validate(shape | changes), vocab_size=VOCAB)
    init_weights(model, seed=3)
    return model.eval()


def layer(choice: dict) -> tuple[Experts, torch.Tensor]:
    """A layer in float64, and states of two rows."""
    experts = decoder(choice).double().get_submodule("blocks.0.mlp")
    assert isinstance(experts, Experts)
    x = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return experts, x.requires_grad_()


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def one_expert(experts: Experts, x: torch.Tensor, e: int) -> torch.Tensor:
    gate, up = experts.gate_up[e].chunk(2)
    return (F.silu(x @ gate.T) * (x @ up.T)) @ experts.down[e].T


def slow(experts: Experts, x: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """A token at a time."""
    rows = []
    for state, without in zip(x.flatten(0, 1), dropped.flatten(0, 1), strict=True):
        p = (experts.router.weight @ state).softmax(0)
        likeliest = sorted(range(4), key=lambda e: -p[e].item())[: experts.top_k]
        shares = p[likeliest] / p[likeliest].sum()
        rows.append(
            sum(
                share * one_expert(experts, state, e) * (not left_out)
                for share, e, left_out in zip(shares, likeliest, without, strict=True)
            )
        )
    return torch.stack(rows).view_as(x)


def assert_close_with_gradients(experts: Experts, x: torch.Tensor, pair: Sequence[torch.Tensor]):
    inputs = [x, *experts.parameters()]
    gradients = [torch.autograd.grad(one.square().sum(), inputs) for one in pair]
    for ours, theirs in zip((pair[0], *gradients[0]), (pair[1], *gradients[1]), strict=True):
        assert (ours - theirs).abs().max() <= 1e-6


def test_with_all_experts_chosen_the_output_is_their_weighted_sum():
    experts, x = layer({"top_k": 4})
    p = (x @ experts.router.weight.T).softmax(-1)
    dense = sum(p[..., e, None] * one_expert(experts, x, e) for e in range(4))
    assert isinstance(dense, torch.Tensor)
    assert_close_with_gradients(experts, x, (experts(x, experts.route(x, None)), dense))


@each_choice
def test_output_and_gradients_equal_those_of_a_loop_over_tokens(choice):
    experts, x = layer(choice)
    experts.train()
    routing = experts.route(x, None)
    none = torch.zeros_like(routing.chosen, dtype=torch.bool)
    dropped = none if routing.over is None else routing.over
    assert dropped.any() == ("capacity_factor" in choice)
    assert_close_with_gradients(experts, x, (experts(x, routing), slow(experts, x, dropped)))


def test_an_expert_without_a_token_has_a_gradient_of_zero():
    experts, x = layer({"top_k": 1})
    routing = experts.route(x, None)
    alone = routing._replace(chosen=torch.zeros_like(routing.chosen))
    experts(x, alone).sum().backward()
    assert experts.gate_up.grad is not None
    assert experts.gate_up.grad[0].any()
    assert not experts.gate_up.grad[1:].any()


def test_the_capacity_goes_to_a_rows_earlier_tokens_and_to_no_pad():
    # Row 0: expert 0 is wanted by all; row 1: its first two tokens are pads.
    chosen = torch.tensor([[[0, 1], [0, 2], [0, 3], [0, 1]], [[0, 1], [0, 1], [0, 1], [0, 2]]])
    real = torch.tensor([[True] * 4, [False, False, True, True]])
    over = over_capacity(chosen, real, factor=1.0, num_experts=4)
    # Row 0 may send ceil(4 tokens * 2 slots / 4 experts) = 2 to each, row 1 ceil(2 * 2 / 4) = 1.
    assert over[:, :, 0].tolist() == [[False, False, True, True], [False, False, False, True]]
    assert not over[:, :, 1].any()


def test_slots_over_capacity_are_counted_in_any_mode_and_dropped_in_training_alone():
    model = decoder({"capacity_factor": 0.5})
    free = decoder({})
    text, found = tokens(2, 20), []
    hidden = [model.hidden(text, routings=found), free.hidden(text)]
    counted = expert_usage(found, real=None).over
    assert torch.equal(*hidden)
    # Whatever the router likes, 4 experts take 5 of 40 slots each.
    assert (counted >= 20).all()
    assert torch.equal(counted, torch.stack([one.over.sum((1, 2)).float() for one in found]))
    assert not torch.equal(model.train().hidden(text), hidden[1])


def routed(p: torch.Tensor, top_k: int) -> Routing:
    best = p.topk(top_k, dim=-1)
    return Routing(p, best.indices, best.values, None)


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_balance_of_one_row_equals_that_of_transformers(top_k: int, padded: bool):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(1, 12, 4, generator=generator) for _ in range(3)]
    real = torch.arange(12)[None] < (7 if padded else 12)
    usage = expert_usage([routed(one.softmax(-1), top_k) for one in logits], real=real)
    ours = balance_sum(usage, top_k=top_k, row_units=torch.tensor([5])) / 5
    theirs = load_balancing_loss_func(
        tuple(one[0] for one in logits), 4, top_k, attention_mask=real.long() if padded else None
    )
    assert isinstance(theirs, torch.Tensor)
    assert abs(ours - theirs) <= 1e-6


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_balance_is_top_k_where_every_expert_gets_the_same(top_k: int):
    slots, p = torch.full((1, 3, 4), 2.0 * top_k), torch.full((1, 3, 4), 2.0)
    usage = Usage(slots, p, torch.zeros(1, 3))
    units = torch.tensor([8, 1, 0])
    assert balance_sum(usage, top_k=top_k, row_units=units) / 9 == pytest.approx(top_k)


def test_balance_is_worse_for_one_expert_alone_and_its_gradient_turns_the_router_away():
    logits = torch.tensor([3.0, 0.0, 0.0, 0.0]).expand(1, 6, 4).clone().requires_grad_()
    usage = expert_usage([routed(logits.softmax(-1), 1)], real=None)
    balance = balance_sum(usage, top_k=1, row_units=torch.tensor([1]))
    assert balance.item() == pytest.approx(4 * logits.softmax(-1)[0, 0, 0].item())
    (gradient,) = torch.autograd.grad(balance, logits)
    assert (gradient[..., 0] > 0).all()
    assert (gradient[..., 1:] < 0).all()


@each_choice
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_logits_depend_on_no_later_token_and_no_other_row(choice, training: bool):
    model, text = decoder(choice).train(training), tokens(2, 20)
    before = model(text)
    for place in (1, 7, 19):
        changed = text.clone()
        changed[0, place:] = (changed[0, place:] + 1) % VOCAB
        after = model(changed)
        assert (after[0, :place] - before[0, :place]).abs().max() <= 1e-6
        assert (after[1] - before[1]).abs().max() <= 1e-6
        assert (after[0, place] - before[0, place]).abs().max() > 1e-3


@each_choice
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_a_left_padded_row_equals_itself_alone_whatever_the_pads_are(choice, training: bool):
    model = decoder(choice).train(training)
    long, short = tokens(1, 12), tokens(1, 7, seed=1)
    pads = torch.tensor([0, 5])
    rows = [torch.cat((long, F.pad(short, (5, 0), value=filler))) for filler in (0, 9)]
    first, second = (model(row, pads=pads) for row in rows)
    assert (first[0] - second[0]).abs().max() <= 1e-6
    assert (first[1, 5:] - second[1, 5:]).abs().max() <= 1e-6
    assert (first[:1] - model(long)).abs().max() <= 1e-5
    assert (first[1:, 5:] - model(short)).abs().max() <= 1e-5


@each_choice
@torch.no_grad()
def test_a_packed_document_equals_itself_alone(choice):
    model, lengths = decoder(choice), (6, 9, 5)
    texts = [tokens(1, length, seed=length) for length in lengths]
    documents = torch.tensor([[n for n, length in enumerate(lengths) for _ in range(length)]])
    packed = model(torch.cat(texts, dim=1), documents=documents).split(lengths, dim=1)
    for logits, text in zip(packed, texts, strict=True):
        assert (logits - model(text)).abs().max() <= 1e-5


@each_choice
@pytest.mark.parametrize("chunks", [(12, 1, 1, 1, 1), (5, 6, 5), (1,) * 16], ids=str)
@torch.no_grad()
def test_prefill_and_decode_equal_one_pass(choice, chunks):
    model, text, pads = decoder(choice), tokens(3, 16), torch.tensor([0, 3, 1])
    cache = KeyValueCache(model.config, batch=3, num_tokens=16, like=model.embed.weight)
    parts = [model(part, pads=pads, cache=cache) for part in text.split(chunks, dim=1)]
    whole = model(text, pads=pads)
    for row, skipped in enumerate(pads.tolist()):
        difference = torch.cat(parts, dim=1)[row, skipped:] - whole[row, skipped:]
        assert difference.abs().max() <= 1e-5


@each_choice
@torch.no_grad()
def test_greedy_text_equals_a_loop_without_a_cache(choice):
    model, prompts = decoder(choice), [[1, 2, 3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]
    settings = GenerationSettings(max_new_tokens=12, temperature=0)
    for prompt, generation in zip(
        prompts, generate(model, prompts, settings=settings), strict=True
    ):
        text = list(prompt)
        for _ in range(12):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert generation.tokens == text[len(prompt) :]


@each_choice
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_and_flops_are_as_many_as_the_formulas_say(choice, tied: bool):
    model = decoder(choice, tie_embeddings=tied)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    assert sum(sizes.values()) == model.config.num_parameters(VOCAB)
    experts = model.config.experts
    assert experts is not None
    used = VOCAB * 32
    for name, size in sizes.items():
        share = experts.top_k / 4 if name.endswith(("mlp.gate_up", "mlp.down")) else 1
        used += int(size * share) if "embed" not in name and "head" not in name else 0
    assert model.config.flops_per_token(VOCAB) == 6 * used + 12 * 2 * 32 * 24


def test_an_expert_starts_with_the_spread_of_a_dense_layer():
    model = decoder({}, d_model=128, d_ff=256, init_std=0.02)
    mlp = model.get_submodule("blocks.0.mlp")
    assert mlp.get_parameter("gate_up").std().item() == pytest.approx(0.02, rel=0.02)
    assert mlp.get_parameter("router.weight").std().item() == pytest.approx(0.02, rel=0.1)
    # Two layers: 1 / sqrt(2 * 2).
    assert mlp.get_parameter("down").std().item() == pytest.approx(0.01, rel=0.02)


def test_under_bfloat16_the_router_reads_in_float32_and_the_states_stay_close():
    model, text = decoder({"top_k": 4}, init_std=0.02), tokens(2, 16)
    plain: list[Routing] = []
    rough: list[Routing] = []
    exact = model.hidden(text, routings=plain)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.hidden(text, routings=rough)
        state = torch.randn(1, 5, 32)
        mlp = model.get_submodule("blocks.0.mlp")
        assert isinstance(mlp, Experts)
        routing = mlp.route(state, None)
    assert (hidden - exact).norm() / exact.norm() < 0.02
    assert rough[0].probabilities.dtype == torch.float32
    assert torch.equal(routing.probabilities, (state @ mlp.router.weight.T).softmax(-1))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"top_k": 5}, "top_k 5 is more than num_experts 4"),
        ({"num_experts": 1}, "greater than or equal to 2"),
        ({"capacity_factor": 0.0}, "greater than 0"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(choice, message):
    with pytest.raises(ValidationError, match=message):
        ExpertsConfig.model_validate(choice)
