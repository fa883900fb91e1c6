"""Prompts and responses as rows: only responses are targets, EOS among them, and nothing leaks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer, models, pre_tokenizers

from lmlab.data.examples import Example, ExampleRows, best_fit, encode_examples, right_padded
from lmlab.data.instruct import CHAT_TEMPLATE, render_prompt
from lmlab.data.pack import NO_TARGET
from lmlab.data.tokenizer import TextTokenizer, train_bpe, wrap_tokenizer
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.loss import cross_entropy_sum
from lmlab.models.schema import DecoderConfig

EXAMPLES = [
    Example([0, 5, 6, 7], [8, 9, 1]),
    Example([0, 5], [10, 11, 12, 13, 1]),
    Example([0, 14, 15], [16, 1]),
    Example([0, 17, 18, 19, 20, 21], [22, 1]),
]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return wrap_tokenizer(
        train_bpe(["the lake was calm and the boats came home"], vocab_size=280), roles={}
    )


def test_every_response_token_is_a_target_once_and_no_prompt_token_is():
    rows = ExampleRows(EXAMPLES, context_tokens=8)
    batch = rows.fetch(np.arange(len(rows)), 0)
    targets = batch["targets"][batch["targets"] != NO_TARGET]
    assert sorted(targets.tolist()) == sorted(token for one in EXAMPLES for token in one.response)


def test_the_loss_of_a_packed_row_is_that_of_its_examples_alone():
    model = _decoder()
    rows = ExampleRows(EXAMPLES, context_tokens=16)
    assert len(rows) < len(EXAMPLES), "some row holds several"
    batch = rows.fetch(np.arange(len(rows)), 0)
    packed = _nll(model, batch["tokens"], batch["targets"], batch["documents"])
    alone = sum(_nll(model, **_alone(one)) for one in EXAMPLES)
    assert packed == pytest.approx(float(alone), abs=1e-9)
    blurred = _nll(model, batch["tokens"], batch["targets"], torch.zeros_like(batch["documents"]))
    assert abs(blurred - packed) > 1e-3, "attention across documents would be seen"


def test_the_loss_is_transformers_shifted_loss_over_labels():
    """Labels as everybody writes them: the ids, -100 on the prompt, shifted inside the model."""
    model, example = _decoder(), EXAMPLES[1]
    labels = torch.tensor([[NO_TARGET] * len(example.prompt) + example.response])
    logits = model(torch.tensor([example.ids]))
    shifted = F.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum")
    assert _nll(model, **_alone(example)) == pytest.approx(shifted.item(), abs=1e-9)


def test_right_pads_change_nothing():
    model, batch = _decoder(), right_padded(EXAMPLES, multiple=8)
    assert batch["tokens"].shape == (4, 8)
    padded = _nll(model, batch["tokens"], batch["targets"], None)
    assert padded == pytest.approx(sum(_nll(model, **_alone(one)) for one in EXAMPLES), abs=1e-9)


def test_what_does_not_fit_is_left_out_and_counted():
    rows = ExampleRows([*EXAMPLES, Example([0] * 30, [1])], context_tokens=8)
    assert rows.num_dropped == 1
    assert len(rows.examples) == 4
    with pytest.raises(ValueError, match="none of 1 examples fits into 8 tokens"):
        ExampleRows([Example([0] * 30, [1])], context_tokens=8)


def test_rows_are_filled_without_one_that_overflows_or_is_lost():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 60, 500).tolist()
    rows = best_fit(lengths, capacity=64)
    assert sorted(index for row in rows for index in row) == list(range(500))
    filled = [sum(lengths[index] for index in row) for row in rows]
    assert max(filled) <= 64
    assert len(rows) <= 11 / 9 * sum(lengths) / 64 + 1, "the bound of best fit decreasing"


def test_a_prompt_has_the_ids_that_it_has_at_generation(tokenizer: TextTokenizer):
    prompt = render_prompt("Where did the boats go?", "the boats came home")
    [example] = encode_examples([(prompt, "home")], tokenizer=tokenizer)
    assert example.prompt == [tokenizer.bos_id, *tokenizer.encode(prompt)]
    assert example.response == [*tokenizer.encode("home"), tokenizer.eos_id]


def test_jointly_the_response_begins_where_the_ids_leave_the_prompts():
    """`ab` is one token: it belongs to the response, whose first letter it holds."""
    inner = Tokenizer(
        models.BPE({"<eos>": 0, "<bos>": 1, "x": 2, "a": 3, "b": 4, "ab": 5}, [("a", "b")])
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence([])
    merging = wrap_tokenizer(inner, roles={"eos_token": "<eos>", "bos_token": "<bos>"})
    [apart] = encode_examples([("xa", "b")], tokenizer=merging, joining="apart")
    [joint] = encode_examples([("xa", "b")], tokenizer=merging, joining="joint")
    assert (apart.prompt, apart.response) == ([1, 2, 3], [4, 0])
    assert (joint.prompt, joint.response) == ([1, 2], [5, 0])


def test_the_chat_template_says_what_training_said():
    template = ImmutableSandboxedEnvironment().from_string(CHAT_TEMPLATE)
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2"}]
    text = template.render(messages=turns, bos_token="<bos>", eos_token="<eos>")
    assert text == f"<bos>{render_prompt('Count.')}1, 2<eos>"


def _decoder() -> Decoder:
    shape = {"num_layers": 2, "d_model": 16, "num_heads": 2, "d_ff": 24, "context_tokens": 32}
    model = Decoder(DecoderConfig.model_validate(shape | {"init_std": 0.3}), vocab_size=24)
    init_weights(model, seed=1)
    return model.double().eval()


def _alone(example: Example) -> dict[str, torch.Tensor | None]:
    tokens, targets = torch.tensor([example.ids[:-1]]), torch.tensor([example.targets])
    return {"tokens": tokens, "targets": targets, "documents": None}


def _nll(
    model: Decoder, tokens: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor | None
) -> float:
    hidden = model.hidden(tokens, documents=documents)
    return cross_entropy_sum(hidden, model.head_weight, targets).item()
