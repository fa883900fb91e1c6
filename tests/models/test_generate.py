"""Generated text against a slow loop, and the choice of a token against transformers."""

import itertools

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.generate import (
    Candidates,
    Ending,
    candidates,
    draw,
    generate,
    penalize,
    prompt_generators,
)
from lmlab.models.schema import DecoderConfig, GenerationSettings

VOCAB = 30
GREEDY = GenerationSettings(max_new_tokens=12, temperature=0)
STOPPING = GREEDY.model_copy(update={"stop": ("x",)})
PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]


@pytest.fixture(scope="module")
def model() -> Decoder:
    config = DecoderConfig(
        num_layers=2,
        d_model=32,
        num_heads=4,
        num_kv_heads=2,
        d_ff=48,
        context_tokens=24,
        init_std=0.3,
        tie_embeddings=False,
    )
    decoder = Decoder(config, vocab_size=VOCAB)
    init_weights(decoder, seed=0)
    return decoder.eval()


def sampled(model: Decoder, prompts, *, seeds, **changes):
    settings = GenerationSettings.model_validate(
        {"max_new_tokens": 12, "temperature": 1.3, "top_k": 20} | changes
    )
    drawn = prompt_generators(seed=7, num_prompts=len(PROMPTS))
    return generate(model, prompts, settings=settings, generators=[drawn[n] for n in seeds])


@torch.no_grad()
def test_greedy_text_equals_a_loop_without_a_cache(model):
    for prompt, generation in zip(PROMPTS, generate(model, PROMPTS, settings=GREEDY), strict=True):
        text = list(prompt)
        for _ in range(12):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert generation.tokens == text[len(prompt) :]
        assert generation.reason == "length"


def test_a_prompt_continues_the_same_alone_and_in_a_batch(model):
    assert generate(model, PROMPTS, settings=GREEDY) == [
        generate(model, [prompt], settings=GREEDY)[0] for prompt in PROMPTS
    ]
    together = sampled(model, PROMPTS, seeds=(0, 1, 2))
    alone = [sampled(model, [prompt], seeds=(n,))[0] for n, prompt in enumerate(PROMPTS)]
    assert together == alone


def test_a_seed_gives_its_text_and_another_seed_another(model):
    first = sampled(model, PROMPTS[:1], seeds=(0,))
    assert first == sampled(model, PROMPTS[:1], seeds=(0,))
    assert first != sampled(model, PROMPTS[:1], seeds=(1,))


def test_a_text_ends_at_eos_and_leaves_it_out(model):
    full = generate(model, PROMPTS, settings=GREEDY)
    eos = full[0].tokens[4]
    cut = generate(model, PROMPTS, settings=GREEDY, ending=Ending(eos=eos))
    assert cut[0].tokens == full[0].tokens[: full[0].tokens.index(eos)]
    assert cut[0].reason == "eos"
    for before, after in zip(full, cut, strict=True):
        assert after.tokens == before.tokens[: len(after.tokens)]
        assert (after.reason == "eos") == (eos in before.tokens)


def test_eos_is_not_chosen_before_a_text_is_long_enough(model):
    full = generate(model, PROMPTS, settings=GREEDY)
    eos = full[0].tokens[0]
    for least in (0, 1, 7, 12):
        ending = Ending(eos=eos, least_tokens=least)
        found = generate(model, PROMPTS, settings=GREEDY, ending=ending)
        assert all(len(one.tokens) >= least and eos not in one.tokens for one in found)
        assert len(found[0].tokens) == 0 or least > 0


def test_a_text_ends_where_a_stop_string_is_complete(model):
    def decode(tokens: list[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)

    full = generate(model, PROMPTS[:1], settings=GREEDY)[0]
    stop = decode(full.tokens)[3:5]
    settings = GREEDY.model_copy(update={"stop": (stop,)})
    cut = generate(model, PROMPTS[:1], settings=settings, ending=Ending(decode=decode))[0]
    assert cut.reason == "stop"
    assert decode(cut.tokens).endswith(stop)
    assert stop not in decode(cut.tokens)[:-1]


def test_a_row_that_has_ended_draws_no_more(model):
    eos = sampled(model, PROMPTS[:1], seeds=(0,))[0].tokens[2]
    settings = GenerationSettings(max_new_tokens=12, temperature=1.3, top_k=20)
    states = []
    for prompts in (PROMPTS[:1], PROMPTS):
        drawn = prompt_generators(seed=7, num_prompts=len(prompts))
        generate(model, prompts, settings=settings, generators=drawn, ending=Ending(eos=eos))
        states.append(drawn[0].get_state())
    assert torch.equal(*states)


GRID = list(itertools.product((0.3, 1.0, 2.0), (None, 1, 5, 200), (None, 0.1, 0.7, 1.0)))


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), GRID)
def test_candidates_equal_those_of_transformers(temperature, top_k, top_p):
    logits = torch.randn(64, 100, generator=torch.Generator().manual_seed(5)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p is not None and top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    theirs = warpers(torch.zeros(64, 1, dtype=torch.long), logits).softmax(-1)
    settings = GenerationSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    found = candidates(logits, settings=settings)
    shares = found.weights / found.weights.sum(-1, keepdim=True)
    ours = torch.zeros_like(logits).scatter(1, found.tokens, shares)
    assert torch.equal(ours > 0, theirs > 0)
    assert (ours - theirs).abs().max() <= 1e-6


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
def test_the_repetition_penalty_equals_that_of_transformers(penalty):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(8, 50, generator=generator)
    text = torch.randint(50, (8, 20), generator=generator)
    seen = torch.zeros(8, 50, dtype=torch.bool).scatter(1, text, value=True)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(text, logits.clone())
    assert torch.equal(penalize(logits, seen, penalty), theirs)


def test_generating_leaves_the_weights_where_and_as_they_were(model):
    before = {name: (p.data_ptr(), p.stride()) for name, p in model.named_parameters()}
    values = {name: p.clone() for name, p in model.named_parameters()}
    generate(model, PROMPTS, settings=GREEDY)
    with pytest.raises(ValueError, match="decode failed"):
        generate(model, PROMPTS, settings=STOPPING, ending=Ending(decode=failing))
    assert before == {name: (p.data_ptr(), p.stride()) for name, p in model.named_parameters()}
    assert all(torch.equal(values[name], p) for name, p in model.named_parameters())
    model(torch.tensor([[1, 2]])).sum().backward()
    model.zero_grad()


def failing(tokens: list[int]) -> str:
    raise ValueError("decode failed")


def test_repeated_tokens_become_rarer_under_the_penalty(model):
    plain = generate(model, PROMPTS[:1], settings=GREEDY)[0].tokens
    settings = GREEDY.model_copy(update={"repetition_penalty": 50.0})
    punished = generate(model, PROMPTS[:1], settings=settings)[0].tokens
    assert len(set(punished)) > len(set(plain))
    assert not set(punished) & set(PROMPTS[0])


def test_a_token_is_drawn_as_often_as_its_share():
    among = Candidates(
        weights=torch.tensor([[0.5, 0.25, 0.0, 0.25]]).expand(1000, 4),
        tokens=torch.tensor([[3, 1, 0, 2]]).expand(1000, 4),
    )
    chosen = draw(among, torch.arange(1000, dtype=torch.float64) / 1000)
    assert chosen.bincount(minlength=4).tolist() == [0, 250, 250, 500]


def test_impossible_requests_are_refused_with_the_numbers(model):
    with pytest.raises(ValueError, match=r"13 tokens and 12 new ones are 25.*context of 24"):
        generate(model, [[1], [1] * 13], settings=GREEDY)
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        generate(model, [[1], []], settings=GREEDY)
    with pytest.raises(ValueError, match=r"outside 0\.\.29"):
        generate(model, [[30]], settings=GREEDY)
    with pytest.raises(ValueError, match="1 prompts need as many generators"):
        generate(model, [[1]], settings=GenerationSettings(max_new_tokens=2))
    with pytest.raises(ValueError, match="decoder"):
        generate(model, [[1]], settings=STOPPING)
    with pytest.raises(ValueError, match="training mode"):
        generate(Decoder(model.config, vocab_size=VOCAB), [[1]], settings=GREEDY)
    assert generate(model, [], settings=GREEDY) == []
