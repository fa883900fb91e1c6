"""The mask against a slow loop, and the cache."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from lmlab.models.attention import KeyValueCache, attend, attention_mask, causal_products
from lmlab.models.schema import DecoderConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("queries", "window", "packed", "padded"),
    list(itertools.product((1, 3, 7), (None, 2, 4), (False, True), (False, True))),
)
def test_the_mask_equals_its_definition(queries, window, packed, padded):
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [4, 4, 4, 4, 4, 4, 9]])
    pads = torch.tensor([2, 0])
    mask = attention_mask(
        num_queries=queries,
        num_keys=7,
        window=window,
        documents=documents if packed else None,
        pads=pads if padded else None,
        device=CPU,
    )
    if mask is None:
        assert window is None
        assert not packed
        assert not padded
        return
    mask = mask.expand(2, 1, queries, 7)
    for row, place, key in itertools.product(range(2), range(queries), range(7)):
        query = 7 - queries + place
        seen = key <= query and (window is None or query - key < window)
        seen = seen and (not packed or bool(documents[row, query] == documents[row, key]))
        seen = seen and (not padded or key >= int(pads[row]))
        assert mask[row, 0, place, key] == (seen or (padded and key == query))


def test_a_window_wider_than_the_text_needs_no_mask():
    mask = attention_mask(
        num_queries=5, num_keys=5, window=5, documents=None, pads=None, device=CPU
    )
    assert mask is None


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("block", [3, 5, 64])
def test_plain_products_equal_the_fused_kernel(kv_heads, block):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 10, 8, dtype=torch.float64, generator=generator)
    k, v = torch.randn(2, 2, kv_heads, 10, 8, dtype=torch.float64, generator=generator)
    fused = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert (causal_products(q, k, v, block=block) - fused).abs().max() <= 1e-12


def test_bfloat16_never_sees_ahead_and_stays_close_to_float32():
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 200, 8, generator=generator).bfloat16()
    mixed = attend(q, k, v, mask=None)
    exact = attend(q.float(), k.float(), v.float(), mask=None)
    assert (mixed.float() - exact).abs().max() <= 0.02
    k[:, :, 150], v[:, :, 150] = 5.0, 5.0
    assert torch.equal(attend(q, k, v, mask=None)[:, :, :150], mixed[:, :, :150])


def test_the_cache_returns_what_was_stored_and_allocates_once():
    config = DecoderConfig(num_layers=2, d_model=8, num_heads=2, d_ff=8, context_tokens=6)
    cache = KeyValueCache(config, batch=1, num_tokens=6, like=torch.zeros(()))
    place = cache.keys.data_ptr()
    keys = torch.arange(2 * 5 * 4.0).view(1, 2, 5, 4)
    for start, end in ((0, 3), (3, 5)):
        new = keys[:, :, start:end]
        for layer in range(2):
            all_keys, all_values = cache.append(layer, keys=new + layer, values=-new)
            assert torch.equal(all_keys, keys[:, :, :end] + layer)
            assert torch.equal(all_values, -keys[:, :, :end])
        cache.advance(end - start)
    assert cache.length == 5
    assert cache.keys.data_ptr() == place
