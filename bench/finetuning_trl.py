"""TRL's arms of the fine-tuning bench, in the parity environment: `finetuning_trl.py NAME STEPS`.

NAME is {sft,dpo}-trl-{float32,bf16}; the rest is as in `finetuning_arm.py`.
"""

import importlib
import time
from typing import Any

from datasets import Dataset
from finetuning_arm import (
    BETA,
    EXAMPLES,
    LEARNING_RATE,
    Given,
    Measured,
    count_tokens,
    in_turn,
    main,
)
from torch.utils.data import SequentialSampler
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback

# Not among what is installed to work on the project.
trl: Any = importlib.import_module("trl")


def trl_sft(given: Given, bfloat16: bool) -> Measured:
    """SFTTrainer with the loss on completions alone."""
    rows = [{"prompt": f"<bos>{p}", "completion": good} for p, good, _ in given.texts]
    config = trl.SFTConfig(
        **_arguments(given, bfloat16), completion_only_loss=True, max_length=None
    )
    tokens = [count_tokens(one) for one in in_turn(given.chosen)]
    return _trained(trl.SFTTrainer, config, given, rows, tokens)


def trl_dpo(given: Given, bfloat16: bool) -> Measured:
    """DPOTrainer at its best: the reference's log-probabilities computed before."""
    rows = [{"prompt": f"<bos>{p}", "chosen": c, "rejected": r} for p, c, r in given.texts]
    config = trl.DPOConfig(
        **_arguments(given, bfloat16),
        beta=BETA,
        max_length=None,
        precompute_ref_log_probs=True,
        disable_dropout=True,
    )
    sides = zip(in_turn(given.pairs.chosen), in_turn(given.pairs.rejected), strict=True)
    return _trained(trl.DPOTrainer, config, given, rows, [count_tokens([*a, *b]) for a, b in sides])


class Clock(TrainerCallback):
    """When each step of a transformers trainer begins and ends."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Before the forward pass."""
        self.begun.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """After the optimizer."""
        self.ended.append(time.perf_counter())


def _trained(
    trainer_class: Any, config: Any, given: Given, rows: list[dict[str, str]], tokens: list[int]
) -> Measured:
    data, clock = Dataset.from_list(rows), Clock()
    trainer = trainer_class(
        model=LlamaForCausalLM.from_pretrained(given.folder),
        args=config,
        train_dataset=data,
        processing_class=PreTrainedTokenizerFast.from_pretrained(given.folder),
        callbacks=[clock],
    )
    trainer._get_train_sampler = lambda *_: SequentialSampler(trainer.train_dataset)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    seconds = [end - begin for begin, end in zip(clock.begun, clock.ended, strict=True)]
    return Measured(seconds, tokens, losses)


def _arguments(given: Given, bfloat16: bool) -> dict[str, Any]:
    return {
        "output_dir": str(given.folder / "out"),
        "bf16": bfloat16,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": EXAMPLES,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


if __name__ == "__main__":
    main({"sft-trl": trl_sft, "dpo-trl": trl_dpo})
