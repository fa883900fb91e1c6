"""Running past the trained length: against a slow loop in numpy, in constant space."""

import pytest
import torch
from slow_decoder import VOCAB, slow_logits, small_decoder, streaming
from slow_decoder import drawn_tokens as tokens

from lmlab.models.decoder import Decoder
from lmlab.models.generate import generate, prompt_generators
from lmlab.models.schema import FirstTokens, GenerationSettings, Window, Yarn
from lmlab.models.streaming import StreamingCache

SINKS = {"none": None, "register": {"kind": "register", "num_sinks": 2}, "logit": {"kind": "logit"}}
BEYOND = {"first": FirstTokens(num_first=3, recent_tokens=5), "window": Window(recent_tokens=7)}
each_kind = pytest.mark.parametrize("sinks", SINKS)
each_beyond = pytest.mark.parametrize("beyond", BEYOND.values(), ids=BEYOND.keys())


def decoder(sinks: str = "none", **changes) -> Decoder:
    return small_decoder(SINKS[sinks], **{"context_tokens": 8} | changes)


def stream(model, text, beyond, *, pieces, pads=None) -> torch.Tensor:
    like = model.embed.weight
    cache = StreamingCache(model.config, beyond, batch=len(text), like=like)
    parts = [model(part, pads=pads, cache=cache) for part in text.split(pieces, dim=1)]
    assert cache.length == text.shape[1]
    return torch.cat(parts, dim=1)


@each_kind
@each_beyond
@pytest.mark.parametrize("kv_heads", [1, 4])
@torch.no_grad()
def test_streaming_equals_recomputation_with_slot_positions(sinks, beyond, kv_heads):
    model, text = decoder(sinks, num_kv_heads=kv_heads).double(), tokens(1, 30)
    slots = streaming(beyond.num_first, beyond.recent_tokens)
    slow = slow_logits(model, text[0].tolist(), slots)
    for pieces in ([1] * 30, [30], [3, 11, 1, 1, 14], [9, 21]):
        found = stream(model, text, beyond, pieces=pieces)[0].numpy()
        assert abs(found - slow).max() <= 1e-6


@each_kind
@each_beyond
@torch.no_grad()
def test_streaming_is_the_plain_model_until_the_cache_is_full(sinks, beyond):
    yarn = Yarn(theta=1e4, factor=4, trained_tokens=4)
    model, text = decoder(sinks, position=yarn).double(), tokens(2, 9)
    seen = beyond.num_first + beyond.recent_tokens
    found = stream(model, text, beyond, pieces=[9])
    # The tables of the plain model are float32.
    assert (found[:, :seen] - model(text[:, :seen])).abs().max() <= 1e-5


@each_kind
@each_beyond
@pytest.mark.parametrize("pieces", [[1] * 30, [30], [4, 7, 19]], ids=["1", "30", "mixed"])
@torch.no_grad()
def test_a_left_padded_row_streams_as_it_does_alone(sinks, beyond, pieces):
    model, text, pads = decoder(sinks).double(), tokens(3, 30), torch.tensor([0, 6, 21])
    found = stream(model, text, beyond, pieces=pieces, pads=pads)
    for row, skipped in enumerate(pads.tolist()):
        alone = stream(model, text[row : row + 1, skipped:], beyond, pieces=[1] * (30 - skipped))
        assert (found[row : row + 1, skipped:] - alone).abs().max() <= 1e-12
    changed = text.clone()
    changed[1, :6] = (changed[1, :6] + 1) % VOCAB
    other = stream(model, changed, beyond, pieces=pieces, pads=pads)
    assert torch.equal(other[1, 6:], found[1, 6:])


@each_kind
@each_beyond
@torch.no_grad()
def test_logits_never_depend_on_a_later_token(sinks, beyond):
    model, text = decoder(sinks), tokens(2, 30)
    before = stream(model, text, beyond, pieces=[13, 17])
    for place in (1, 7, 20):
        changed = text.clone()
        changed[:, place] = (changed[:, place] + 1) % VOCAB
        after = stream(model, changed, beyond, pieces=[13, 17])
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


@torch.no_grad()
def test_first_tokens_are_seen_forever_and_others_are_not():
    model, text = decoder(num_layers=1), tokens(1, 30)
    before = stream(model, text, BEYOND["first"], pieces=[30])
    for place, last in ((1, 29), (10, 14)):
        changed = text.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCAB
        after = stream(model, changed, BEYOND["first"], pieces=[30])
        touched = (after != before).any(-1)[0]
        assert touched.nonzero()[:, 0].tolist() == list(range(place, last + 1))


@each_beyond
@torch.inference_mode()
def test_the_cache_stays_as_large_as_it_was_over_a_hundred_thousand_tokens(beyond):
    model = decoder("register", num_layers=1, d_model=8, num_heads=2, d_ff=8)
    cache = StreamingCache(model.config, beyond, batch=1, like=model.embed.weight)
    text, sizes = tokens(1, 100_000), set()
    for part in text.split([1] * 100 + [128] * 780 + [60], dim=1):
        last = model(part, cache=cache)[:, -1:]
        held = [kept for kept in vars(cache).values() if isinstance(kept, torch.Tensor)]
        sizes.add((cache.num_bytes, sum(kept.untyped_storage().nbytes() for kept in held)))
    assert cache.length == 100_000
    assert len(sizes) == 1
    # With one layer, the tokens that are seen at the end are a text that ends in the same place.
    recent = text[:, -beyond.recent_tokens :]
    short = torch.cat((text[:, : beyond.num_first], recent), dim=1)
    assert (stream(model, short, beyond, pieces=[short.shape[1]])[:, -1:] - last).abs().max() < 1e-5


PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [8, 9], tokens(150).tolist()]


@each_kind
@each_beyond
def test_a_text_grows_past_the_context_as_a_slow_loop_would_write_it(sinks, beyond):
    model = decoder(sinks)
    settings = GenerationSettings(max_new_tokens=20, temperature=0, beyond=beyond)
    slots = streaming(beyond.num_first, beyond.recent_tokens)
    for prompt, generation in zip(
        PROMPTS, generate(model, PROMPTS, settings=settings), strict=True
    ):
        assert generation.reason == "length"
        assert len(generation.tokens) == 20
        logits = slow_logits(model, prompt + generation.tokens, slots)
        assert logits.argmax(1)[len(prompt) - 1 : -1].tolist() == generation.tokens


@each_kind
@each_beyond
def test_a_prompt_continues_past_the_context_the_same_alone_and_in_a_batch(sinks, beyond):
    model = decoder(sinks)
    settings = GenerationSettings(max_new_tokens=30, temperature=1.2, beyond=beyond)

    def sampled(rows: list[int]):
        drawn = prompt_generators(seed=1, num_prompts=3)
        prompts, generators = [PROMPTS[row] for row in rows], [drawn[row] for row in rows]
        return generate(model, prompts, settings=settings, generators=generators)

    assert sampled([0, 1, 2]) == [sampled([row])[0] for row in range(3)]


def test_within_the_context_streaming_writes_what_the_plain_cache_writes():
    model = decoder(context_tokens=64)
    plain = GenerationSettings(max_new_tokens=20, temperature=0)
    streamed = plain.model_copy(update={"beyond": FirstTokens(recent_tokens=60)})
    prompts = PROMPTS[:2]
    assert generate(model, prompts, settings=plain) == generate(model, prompts, settings=streamed)


def test_a_cache_that_does_not_fit_the_training_is_refused_with_the_numbers():
    settings = GenerationSettings(temperature=0, beyond=FirstTokens(num_first=4, recent_tokens=5))
    with pytest.raises(ValueError, match=r"4 first and 5 recent tokens are 9.*context of 8"):
        generate(decoder(), [[1]], settings=settings)
    narrow = decoder(window_tokens=3)
    with pytest.raises(ValueError, match=r"7 recent tokens.*window of 3"):
        StreamingCache(narrow.config, BEYOND["window"], batch=1, like=narrow.embed.weight)
    model = decoder()
    with pytest.raises(ValueError, match=r"129 tokens.*pieces"):
        stream(model, tokens(1, 129), BEYOND["window"], pieces=[129])
