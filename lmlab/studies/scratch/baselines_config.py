"""What public models are asked to do as baselines: adapted by training, or prompted as they are."""

from typing import Literal

from pydantic import Field, model_validator

from lmlab.data.schema import TaskConfig
from lmlab.engine.schema import FREE, TrainConfig, Values
from lmlab.models.schema import Adaptation, PretrainedConfig

# Fewer orders say little of how much the order matters (Lu et al. 2022).
MIN_ORDERS = 5


class AdaptConfig(TrainConfig):
    """A pretrained model that is trained for the task."""

    model: PretrainedConfig
    method: Adaptation
    # Of an example, prompt and answer together; longer ones are left out.
    max_tokens: int = Field(ge=8)

    @model_validator(mode="after")
    def _trains_what_can_be_trained(self) -> "AdaptConfig":
        if self.model.adapter is not None:
            raise ValueError("model.adapter is for prompting; merge it into a model to train that")
        if self.method.kind != "lora" and self.model.quantize is not None:
            raise ValueError(f"{self.method.kind} cannot train quantized weights; choose lora")
        if self.method.kind == "full" and self.model.dtype != "float32":
            raise ValueError("full keeps its weights in float32; device.precision casts products")
        return self


class PromptConfig(Values):
    """A model that is shown solved examples of the training split, and asked."""

    model: PretrainedConfig
    num_shots: int = Field(default=0, ge=0)
    # Which examples are drawn, and in which orders each draw is shown.
    shot_seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    order_seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    # Of prompt and answer together: the first examples are left out of what is longer.
    max_tokens: int = Field(ge=8)

    @model_validator(mode="after")
    def _orders_suffice(self) -> "PromptConfig":
        for name, seeds in (("shot_seeds", self.shot_seeds), ("order_seeds", self.order_seeds)):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"{name} holds a seed twice")
        if self.num_shots > 1 and len(self.order_seeds) < MIN_ORDERS:
            raise ValueError(
                f"{len(self.order_seeds)} order_seeds; scores vary with the order of examples, "
                f"so give {MIN_ORDERS} or more"
            )
        return self


class BaselinesConfig(Values):
    """Public models on one task, all on the same items and under the same scoring."""

    task: Literal["reviews", "dialogues", "problems"]
    data: TaskConfig
    split: Literal["validation", "test"] = "test"
    adapt: dict[str, AdaptConfig] = Field(default={})
    prompting: dict[str, PromptConfig] = Field(default={})
    # The first of the split, of those that fit every model.
    max_items: int | None = Field(default=None, ge=1)
    # Of an answer that is written: summaries and solutions.
    max_new_tokens: int = Field(default=64, ge=1)
    num_beams: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1, json_schema_extra=FREE)

    @property
    def name(self) -> str:
        """Of the task in tables and files: the public set's, else what is done."""
        return self.data.name if self.data.kind == "named" else self.task

    @model_validator(mode="after")
    def _entries_fit(self) -> "BaselinesConfig":
        if twice := sorted(self.adapt.keys() & self.prompting.keys()):
            raise ValueError(f"{twice[0]} is named both under adapt and under prompting")
        if not self.adapt and not self.prompting:
            raise ValueError("name a model under adapt or prompting, or set baselines=null")
        for name, entry in self.adapt.items():
            if entry.method.kind == "probe" and self.task != "reviews":
                raise ValueError(f"adapt.{name}: a probe needs classes, which {self.task} lack")
        if self.task == "reviews":
            return self
        for name, one in (*self.adapt.items(), *self.prompting.items()):
            if one.max_tokens <= self.max_new_tokens:
                raise ValueError(
                    f"{name}: max_tokens={one.max_tokens} leaves no room for a prompt beside "
                    f"max_new_tokens={self.max_new_tokens}"
                )
        return self
