"""Fine-tuning losses against TRL, on the exported model and the same texts."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaForCausalLM

from lmlab.data.examples import Example, encode_examples, right_padded
from lmlab.data.instruct import render_prompt
from lmlab.data.tokenizer import TextTokenizer, save_tokenizer, train_bpe, wrap_tokenizer
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.loss import cross_entropy_sum
from lmlab.models.preference import LogRatios, preference_loss, response_logps
from lmlab.models.schema import DecoderConfig

trl = pytest.importorskip("trl", reason="trl is in the parity environment")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

PAIRS = [
    ("Where did the boats go?", "They came home.", "They sank in the calm lake, all of them."),
    ("Who was calm?", "The lake", "Nobody"),
    ("Count the boats.", "1, 2, 3", "The boats came home before anybody counted"),
]
BETA = 0.3
# Its defaults are bf16 on a CPU, too, activations made anew, and rows that are cut.
EVERY = {
    "max_length": None,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": [],
    "per_device_train_batch_size": len(PAIRS),
}


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    text = " ".join(word for pair in PAIRS for word in pair)
    return wrap_tokenizer(train_bpe([text * 3], vocab_size=320), roles={})


@pytest.mark.parametrize(
    ("kind", "smoothing"),
    [("sigmoid", 0.0), ("ipo", 0.0), ("hinge", 0.0), ("robust", 0.1)],
)
def test_the_loss_of_pairs_is_trls(tmp_path: Path, tokenizer: TextTokenizer, kind, smoothing):
    policy, reference = decoder(tokenizer, seed=1), decoder(tokenizer, seed=2)
    trainer = trl.DPOTrainer(
        model=exported(policy, tokenizer, tmp_path / "policy"),
        ref_model=exported(reference, tokenizer, tmp_path / "reference"),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "out"),
            loss_type=kind,
            beta=BETA,
            label_smoothing=smoothing,
            disable_dropout=True,
            **EVERY,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": f"<bos>{render_prompt(prompt)}", "chosen": chosen, "rejected": rejected}
                for prompt, chosen, rejected in PAIRS
            ]
        ),
        processing_class=AutoTokenizer.from_pretrained(tmp_path / "policy"),
    )
    inputs = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model.eval(), inputs)
    sides = [examples(tokenizer, column) for column in (1, 2)]
    batch = right_padded([*sides[0], *sides[1]])
    both = [response_logps(one, batch["tokens"], batch["targets"]) for one in (policy, reference)]
    chosen, rejected = (both[0] - both[1]).chunk(2)
    counts = [torch.tensor([len(one.response) for one in side]) for side in sides]
    ours = preference_loss(
        LogRatios(chosen, rejected, *counts), kind=kind, beta=BETA, label_smoothing=smoothing
    ).mean()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-6)


def test_the_loss_of_instructions_is_trls(tmp_path: Path, tokenizer: TextTokenizer):
    model = decoder(tokenizer, seed=1)
    trainer = trl.SFTTrainer(
        model=exported(model, tokenizer, tmp_path / "model"),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "out"),
            completion_only_loss=True,
            **EVERY,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": f"<bos>{render_prompt(prompt)}", "completion": chosen}
                for prompt, chosen, _ in PAIRS
            ]
        ),
        processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    inputs = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model.eval(), inputs)
    mine = examples(tokenizer, 1)
    batch = right_padded(mine)
    total = cross_entropy_sum(model.hidden(batch["tokens"]), model.head_weight, batch["targets"])
    ours = total.item() / sum(len(one.response) for one in mine)
    assert ours == pytest.approx(theirs.item(), rel=1e-6, abs=1e-6)


def examples(tokenizer: TextTokenizer, column: int) -> list[Example]:
    texts = [(render_prompt(pair[0]), pair[column]) for pair in PAIRS]
    return encode_examples(texts, tokenizer=tokenizer, joining="joint")


def decoder(tokenizer: TextTokenizer, *, seed: int) -> Decoder:
    shape = {"num_layers": 2, "d_model": 32, "num_heads": 4, "num_kv_heads": 2, "d_ff": 48}
    config = DecoderConfig.model_validate(shape | {"context_tokens": 256, "init_std": 0.2})
    model = Decoder(config, vocab_size=tokenizer.vocab_size)
    init_weights(model, seed=seed)
    return model.eval()


def exported(model: Decoder, tokenizer: TextTokenizer, folder: Path) -> LlamaForCausalLM:
    special = SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
    export_decoder(model, folder=folder, special=special, card="")
    save_tokenizer(tokenizer, folder)
    return LlamaForCausalLM.from_pretrained(folder)
