"""How well each token of a text is predicted when the text outgrows the trained length."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmlab.models.decoder import Decoder
from lmlab.models.loss import token_nll
from lmlab.models.schema import FirstTokens, Full, LongText, Recompute, Window
from lmlab.models.streaming import PIECE_TOKENS, StreamingCache

# Tokens of the windows that are read in one forward: what a CPU keeps in its caches.
BLOCK_TOKENS = 2**12


@torch.inference_mode()
def nll_by_position(
    model: Decoder, tokens: Int[Tensor, "batch tokens"], *, arm: LongText
) -> Float[Tensor, "batch tokens"]:
    """-log p in nats of each token given those before it, of which the arm decides what is seen.

    The first of a text is predicted by nothing: NaN. Texts have no pads. A token's logits see as
    many tokens as the arm says, itself included.
    """
    if model.training:
        raise ValueError("the model is in training mode, with dropout; call model.eval() first")
    match arm:
        case FirstTokens() | Window():
            nll = _streamed(model, tokens, arm)
        case Recompute(recent_tokens=recent_tokens):
            nll = _recomputed(model, tokens, seen=recent_tokens)
        case Full(context_tokens=context_tokens):
            extended = with_context(model, context_tokens)
            nll = token_nll(extended.hidden(tokens[:, :-1]), model.head_weight, tokens[:, 1:])
    return F.pad(nll, (1, 0), value=torch.nan)


def with_context(model: Decoder, context_tokens: int) -> Decoder:
    """The same weights, not copied, in a decoder whose positions run to `context_tokens`."""
    config = model.config.model_copy(update={"context_tokens": context_tokens})
    # The constructor draws weights, which are replaced at once.
    with torch.random.fork_rng(devices=[]):
        extended = Decoder(config, vocab_size=model.vocab_size)
    extended.load_state_dict(model.state_dict(), strict=True, assign=True)
    return extended.to(model.embed.weight.device).train(model.training)


def _streamed(
    model: Decoder, tokens: Int[Tensor, "batch tokens"], arm: FirstTokens | Window
) -> Float[Tensor, "batch targets"]:
    """In pieces, as in single steps: each token sees the slots as they are when it comes."""
    cache = StreamingCache(model.config, arm, batch=len(tokens), like=model.embed.weight)
    pieces = tokens[:, :-1].split(PIECE_TOKENS, dim=1)
    targets = tokens[:, 1:].split(PIECE_TOKENS, dim=1)
    parts = [
        token_nll(model.hidden(piece, cache=cache), model.head_weight, wanted)
        for piece, wanted in zip(pieces, targets, strict=True)
    ]
    return torch.cat(parts, dim=1)


def _recomputed(
    model: Decoder, tokens: Int[Tensor, "batch tokens"], *, seen: int
) -> Float[Tensor, "batch targets"]:
    """One forward over the first `seen` tokens, then one for the last token of every window."""
    read, targets = tokens[:, :-1], tokens[:, 1:]
    start = model.hidden(read[:, :seen])
    parts = [token_nll(start, model.head_weight, targets[:, :seen])]
    if read.shape[1] > seen:
        at_once = max(1, BLOCK_TOKENS // (seen * len(tokens)))
        windows = read[:, 1:].unfold(1, seen, 1).split(at_once, dim=1)
        for texts, wanted in zip(windows, targets[:, seen:].split(at_once, dim=1), strict=True):
            states = model.hidden(texts.flatten(0, 1))[:, -1].view(*wanted.shape, -1)
            parts.append(token_nll(states, model.head_weight, wanted))
    return torch.cat(parts, dim=1)
