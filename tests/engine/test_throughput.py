"""Throughput by arithmetic, and a table of dense peaks only (check B11)."""

import re
from pathlib import Path

import pytest

from lmlab.engine.throughput import PEAKS, dense_peak, per_second, utilization
from lmlab.models.schema import DecoderConfig

# The makers' figures "with sparsity", twice the dense ones.
SPARSE = {624e12, 1979e12, 1513e12, 1671e12, 330.4e12, 142e12, 242e12}


def test_a_rate_is_units_over_seconds():
    assert per_second(4096, 0.5) == 8192.0
    with pytest.raises(ValueError, match="no duration"):
        per_second(1, 0.0)


def test_utilisation_is_the_share_of_the_peak():
    share = utilization(flops_per_token=6e9, tokens_per_second=50_000.0, peak_flops=989e12)
    assert share == pytest.approx(3e14 / 9.89e14, rel=1e-12)


def test_more_than_the_peak_is_an_error():
    with pytest.raises(ValueError, match=r"104% of the peak is impossible"):
        utilization(flops_per_token=1e9, tokens_per_second=104_000.0, peak_flops=1e14)


def test_the_table_holds_dense_peaks_alone():
    assert not SPARSE & {one.bfloat16 for one in PEAKS.values()}


def test_the_page_on_hardware_lists_every_peak_and_no_other():
    page = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:NVIDIA|Tesla) [^|]*) \| (\S+) \| (\S+) \|", page, re.MULTILINE)
    listed = {name: (bfloat16, float32) for name, bfloat16, float32 in rows}
    tera = lambda flops: "-" if flops is None else f"{flops / 1e12:g}"  # noqa: E731
    assert listed == {name: (tera(one.bfloat16), tera(one.float32)) for name, one in PEAKS.items()}


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("Tesla T4", None),
        ("NVIDIA L40S", None),
        ("AMD EPYC", None),
    ],
)
def test_a_gpu_is_known_by_its_whole_name_or_not_at_all(name: str, peak: float | None):
    assert dense_peak(name) == peak


def test_precisions_are_never_mixed():
    assert dense_peak("NVIDIA A100-SXM4-80GB", "float32") == 19.5e12
    assert dense_peak("Tesla V100-SXM2-16GB", "float32") == 15.7e12
    assert dense_peak("Tesla V100-SXM2-16GB", "bfloat16") is None


def test_parameters_and_flops_of_the_large_decoder_are_the_written_ones():
    config = DecoderConfig(
        num_layers=12, d_model=1024, num_heads=16, d_ff=4096, context_tokens=1024
    )
    assert config.num_parameters(50_257) == 252_815_360
    assert config.flops_per_token(50_257) == 6 * 252_815_360 + 12 * 12 * 1024 * 1024


def test_an_untied_head_adds_parameters_and_no_flops():
    shape = {"num_layers": 2, "d_model": 8, "num_heads": 2, "d_ff": 16, "context_tokens": 4}
    tied, untied = (DecoderConfig(**shape, tie_embeddings=tie) for tie in (True, False))
    assert untied.num_parameters(10) - tied.num_parameters(10) == 80
    assert untied.flops_per_token(10) == tied.flops_per_token(10)


def test_grouped_queries_have_smaller_keys_and_values():
    config = DecoderConfig(
        num_layers=1, d_model=8, num_heads=4, num_kv_heads=2, d_ff=16, context_tokens=4
    )
    block = 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 16 + 2 * 8
    assert config.num_parameters(10) == 10 * 8 + block + 8
