"""Two real models in llama2.c files: their published text, their loss, and files that are none."""

import re
import struct

import pytest
import torch
from transformers import LlamaForCausalLM

from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.generate import Ending, generate
from lmlab.models.llama2c import HEADER, read_llama2c, read_llama2c_tokenizer
from lmlab.models.load import load_decoder
from lmlab.models.loss import IGNORED, token_nll
from lmlab.models.schema import GenerationSettings

BOS = 1


def tiny_file(path, *, vocab=8):
    width, d_ff, layers, context = 4, 6, 1, 3
    per_layer = 2 * width + 4 * width * width + 3 * width * d_ff
    numbers = abs(vocab) * width + layers * per_layer + width + 2 * context * 2
    numbers += abs(vocab) * width if vocab < 0 else 0
    values = torch.randn(numbers, generator=torch.Generator().manual_seed(0))
    header = HEADER.pack(width, d_ff, layers, 1, 1, vocab, context)
    path.write_bytes(header + values.numpy().tobytes())
    return path


def mean_nll(model, rows: list[list[int]], *, unknown: int = IGNORED) -> float:
    """Nats a token of rows that begin with BOS, each cut at the context."""
    rows = [row[: model.config.context_tokens + 1] for row in rows]
    total, count = 0.0, 0
    for start in range(0, len(rows), 20):
        group = [torch.tensor(row) for row in rows[start : start + 20]]
        text = torch.nn.utils.rnn.pad_sequence(group, batch_first=True, padding_value=IGNORED)
        targets = text[:, 1:].masked_fill(text[:, 1:] == unknown, IGNORED)
        with torch.no_grad():
            hidden = model.hidden(text[:, :-1].clamp(min=0))
        total += token_nll(hidden, model.head_weight, targets).double().sum().item()
        count += int((targets != IGNORED).sum())
    return total / count


@pytest.fixture(scope="module")
def stories(real_data) -> list[str]:
    text = (real_data / "tinystories" / "smallGPT_tiny_stories.txt").read_text()
    return [story for story in re.split(r"(?<!\n)\n(?!\n)", text) if len(story) > 100][:200]


@pytest.mark.realdata
def test_stories260k_writes_its_published_text_here_and_in_transformers(real_data, tmp_path):
    place = real_data / "stories260K"
    model, tokenizer = (
        load_decoder(place / "stories260K.bin"),
        read_llama2c_tokenizer(place / "tok512.bin"),
    )
    published = re.search(r"-t 0\.0\n(Once.*?)\n```", (place / "stories260K.md").read_text(), re.S)
    assert published is not None
    settings = GenerationSettings(max_new_tokens=256, temperature=0)
    ours = generate(model, [[BOS]], settings=settings, ending=Ending(eos=BOS))[0]
    assert tokenizer.decode(ours.tokens) == published[1]
    special = SpecialTokens(bos=BOS, eos=BOS, pad=None)
    folder = export_decoder(model, folder=tmp_path / "model", special=special, card="")
    theirs = LlamaForCausalLM.from_pretrained(folder).generate(
        torch.tensor([[BOS]]), attention_mask=torch.ones(1, 1), max_new_tokens=256
    )
    assert theirs[0, 1:].tolist() == ours.tokens


@pytest.mark.realdata
def test_stories260k_has_its_loss_on_real_stories(real_data, stories):
    place = real_data / "stories260K"
    tokenizer = read_llama2c_tokenizer(place / "tok512.bin")
    model = load_decoder(place / "stories260K.bin")
    rows = [[BOS, *tokenizer.encode(story).ids] for story in stories]
    assert mean_nll(model, rows) == pytest.approx(1.76, abs=0.02)


@pytest.mark.realdata
def test_babyllama_has_its_loss_on_real_stories(real_data, stories):
    place = real_data / "babyllama-105"
    lines = (place / "tok105.vocab").read_text().split("\n")
    ids = {line.split("\t")[0]: number for number, line in enumerate(lines) if line}
    texts = ["▁" + re.sub(" +", " ", story).strip().replace(" ", "▁") for story in stories]
    rows = [[BOS, *(ids.get(letter, 0) for letter in text)] for text in texts]
    # A character that the vocabulary lacks, such as a line end, is no target.
    model = load_decoder(place / "model5000.bin")
    assert mean_nll(model, rows, unknown=0) == pytest.approx(0.78, abs=0.02)


@pytest.mark.realdata
def test_the_tokenizer_gives_text_back(real_data, stories):
    tokenizer = read_llama2c_tokenizer(real_data / "stories260K" / "tok512.bin")
    assert tokenizer.get_vocab_size() == 512
    assert tokenizer.encode("Once upon a time").tokens == ["▁Once", "▁upon", "▁a", "▁time"]
    for story in stories:
        assert tokenizer.decode(tokenizer.encode(story).ids) == re.sub(" +", " ", story.strip(" "))
    assert tokenizer.decode(tokenizer.encode("  naïve \n 🙂  x ").ids) == "naïve \n 🙂 x"


def test_a_head_of_its_own_is_read(tmp_path):
    tied, untied = (
        read_llama2c(tiny_file(tmp_path / f"{vocab}.bin", vocab=vocab)) for vocab in (8, -8)
    )
    assert tied.config.tie_embeddings
    assert "lm_head.weight" not in tied.tensors
    assert not untied.config.tie_embeddings
    assert untied.tensors["lm_head.weight"].shape == (8, 4)
    assert load_decoder(tmp_path / "-8.bin").vocab_size == 8


def test_pairs_of_neighbours_become_halves(tmp_path):
    path = tiny_file(tmp_path / "model.bin")
    values = torch.frombuffer(bytearray(path.read_bytes()[HEADER.size :]), dtype=torch.float32)
    # After the embedding (8 x 4) and the attention norm (4): wq, wk, wv of one head of two pairs.
    wq, wk, wv = values[36:84].view(3, 4, 4)
    layer, tensors = "model.layers.0.self_attn", read_llama2c(path).tensors
    assert torch.equal(tensors[f"{layer}.q_proj.weight"], wq[[0, 2, 1, 3]])
    assert torch.equal(tensors[f"{layer}.k_proj.weight"], wk[[0, 2, 1, 3]])
    assert torch.equal(tensors[f"{layer}.v_proj.weight"], wv)


@pytest.mark.parametrize("cut", [4, 10, 100])
def test_a_file_cut_short_is_refused(tmp_path, cut):
    path = tiny_file(tmp_path / "model.bin")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="cut short"):
        load_decoder(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model at all, but text that is long enough", struct.pack("<8i", *[7] * 8)],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"llama2\.c v0 file"):
        load_decoder(path)
    with pytest.raises(ValueError, match=r"no llama2\.c tokenizer"):
        read_llama2c_tokenizer(path)
