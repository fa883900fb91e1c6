"""Long texts, how well a decoder predicts them token by token, and how it goes on by itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from lmlab.data.text import TextSplit
from lmlab.data.tokenizer import TextTokenizer
from lmlab.models.decoder import Decoder
from lmlab.models.generate import Ending, generate, prompt_generators
from lmlab.models.long_text import nll_by_position
from lmlab.models.schema import Beyond, GenerationSettings, LongText

# Of a text, to be continued.
PROMPT_TOKENS = 16
# What the founding diary sampled with.
TEMPERATURE, TOP_K = 1.0, 50
TEXTS_AT_ONCE = 16


@dataclass(frozen=True)
class LongTexts:
    """Texts of equal length, none of whose documents is in two of them.

    BOS is not scored: no decoder is trained to predict it.
    """

    tokens: Int[Tensor, "texts tokens"]
    scored: Bool[np.ndarray, "texts tokens"]
    source: TextSplit
    tokenizer: TextTokenizer

    @property
    def prompts(self) -> list[list[int]]:
        """How each text begins."""
        return self.tokens[:, :PROMPT_TOKENS].tolist()

    def after_prompts(self, num_tokens: int) -> list[str]:
        """How each text really goes on."""
        rows = self.tokens[:, PROMPT_TOKENS : PROMPT_TOKENS + num_tokens]
        return [self.tokenizer.decode(row) for row in rows.tolist()]


def join_documents(
    source: TextSplit, tokenizer: TextTokenizer, *, num_texts: int, num_tokens: int
) -> LongTexts:
    """Documents one after another, as in the rows of training, until each text is long enough.

    What is left of a text's last document is dropped. Raises ValueError where there are too few.
    """
    rows: list[list[int]] = [[]]
    for document in source.documents:
        rows[-1] += [*tokenizer.start_ids, *tokenizer.encode(document), tokenizer.eos_id]
        if len(rows[-1]) >= num_tokens:
            rows[-1] = rows[-1][:num_tokens]
            if len(rows) == num_texts:
                break
            rows.append([])
    else:
        raise ValueError(
            f"the {len(source.documents)} documents of the {source.split} split of {source.name} "
            f"make {len(rows) - 1} texts of {num_tokens} tokens, not {num_texts}; give more of "
            "them (data.test_documents), or set sinks.num_texts or model.context_tokens lower"
        )
    tokens = torch.tensor(rows)
    scored = np.ones(tokens.shape, dtype=bool)
    if tokenizer.bos_id is not None:
        scored = (tokens != tokenizer.bos_id).numpy()
    scored[:, 0] = False
    return LongTexts(tokens, scored, source, tokenizer)


def read_texts(
    model: Decoder, texts: LongTexts, *, arm: LongText
) -> Float64[np.ndarray, "texts tokens"]:
    """-log p of every token in nats; 0 of those that are not scored."""
    found = [nll_by_position(model, rows, arm=arm) for rows in _batches(model, texts)]
    return np.where(texts.scored, torch.cat(found).double().cpu().numpy(), 0.0)


def continue_texts(
    model: Decoder, texts: LongTexts, *, arm: Beyond, seed: int, num_tokens: int
) -> list[str]:
    """What the decoder makes of each text's beginning: so many tokens, and no end before."""
    written = generate(
        model,
        texts.prompts,
        settings=GenerationSettings(
            max_new_tokens=num_tokens, temperature=TEMPERATURE, top_k=TOP_K, beyond=arm
        ),
        generators=prompt_generators(seed=seed, num_prompts=len(texts.prompts)),
        ending=Ending(eos=texts.tokenizer.eos_id, least_tokens=num_tokens),
    )
    assert all(len(one.tokens) == num_tokens for one in written)
    return [texts.tokenizer.decode(one.tokens) for one in written]


def _batches(model: Decoder, texts: LongTexts) -> Iterator[Int[Tensor, "batch tokens"]]:
    yield from texts.tokens.to(model.head_weight.device).split(TEXTS_AT_ONCE)
