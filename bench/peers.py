"""What the training step is measured against: a GPT-2-shaped decoder, and transformers' Llama."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

# 13-14 M parameters: the shape that every arm shares.
D_MODEL, LAYERS, HEADS, VOCAB, CONTEXT = 384, 6, 6, 8192, 256


class Gpt(nn.Module):
    """LayerNorm, fused qkv, GELU with four times the width, learned positions, tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, D_MODEL)
        self.positions = nn.Embedding(CONTEXT, D_MODEL)
        self.blocks = nn.ModuleList(GptBlock() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D_MODEL, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean loss."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class GptBlock(nn.Module):
    """Attention by SDPA, then the two-layer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(D_MODEL, bias=False)
        self.qkv = nn.Linear(D_MODEL, 3 * D_MODEL, bias=False)
        self.out = nn.Linear(D_MODEL, D_MODEL, bias=False)
        self.mlp_norm = nn.LayerNorm(D_MODEL, bias=False)
        self.up = nn.Linear(D_MODEL, 4 * D_MODEL, bias=False)
        self.down = nn.Linear(4 * D_MODEL, D_MODEL, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        batch, length, _ = x.shape
        parts = self.qkv(self.attention_norm(x)).split(D_MODEL, dim=2)
        q, k, v = (one.view(batch, length, HEADS, -1).transpose(1, 2) for one in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, D_MODEL))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class Llama(nn.Module):
    """transformers' own model and loss."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCAB,
                hidden_size=D_MODEL,
                intermediate_size=1024,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                max_position_embeddings=CONTEXT,
                tie_word_embeddings=True,
                attn_implementation="sdpa",
                use_cache=False,
            )
        )

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean loss; targets are given as they are, not to be shifted once more."""
        return self.inner(input_ids=tokens, labels=tokens, shift_labels=targets).loss


PEERS: dict[str, type[nn.Module]] = {"gpt": Gpt, "llama": Llama}


def set_compiled(model: nn.Module, *, compiled: bool) -> nn.Module:
    """The model as it is trained."""
    return torch.compile(model) if compiled else model  # type: ignore[return-value]
