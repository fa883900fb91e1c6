"""A run's decoder put to use: prompts continued, folders exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lmlab.data.instruct import CHAT_TEMPLATE
from lmlab.data.tokenizer import TextTokenizer, save_tokenizer
from lmlab.engine.config import load_stored
from lmlab.engine.device import prepare_scoring
from lmlab.engine.run import Part
from lmlab.models.decoder import Decoder
from lmlab.models.export import SpecialTokens, export_decoder
from lmlab.models.generate import Ending, Generation, generate, prompt_generators
from lmlab.models.schema import GenerationSettings
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import TrainedDecoder, load_trained
from lmlab.studies.scratch.prepare import load_prepared

PROMPTS_AT_ONCE = 32


@dataclass(frozen=True)
class OpenedDecoder:
    """A trained decoder with the tokenizer that it was trained with."""

    trained: TrainedDecoder
    tokenizer: TextTokenizer
    part: Part

    @property
    def model(self) -> Decoder:
        """The module itself."""
        return self.trained.model

    def continue_prompt(self, prompt: str, *, settings: Mapping[str, Any], seed: int) -> str:
        """The prompt and what the model makes of it."""
        asked = _checked(settings)
        return prompt + continue_prompts(self, [prompt], settings=asked, seed=seed)[0]

    def export(self, folder: Path) -> Path:
        """A transformers folder. Raises ValueError where the folder holds something already."""
        special = SpecialTokens(
            bos=self.tokenizer.bos_id, eos=self.tokenizer.eos_id, pad=self.tokenizer.pad_id
        )
        export_decoder(self.model, folder=folder, special=special, card=_card(self))
        # A model that learned to answer says how it is to be asked.
        template = None if self.part.name == "pretrain" else CHAT_TEMPLATE
        save_tokenizer(self.tokenizer, folder, chat_template=template)
        return folder


def open_model(part: Part, *, at: str) -> OpenedDecoder:
    """The decoder of a training at a step, at its last or at its best."""
    config = load_stored(part.run.config_path)
    assert isinstance(config, Config)
    tokenizer = load_prepared(part.run).tokenizer
    # What a GPU trained is also read where there is none.
    kind = "cpu" if config.device.kind == "cpu" else "auto"
    device = prepare_scoring(config.device.model_copy(update={"kind": kind}))
    trained = load_trained(
        part, config.model, vocab_size=tokenizer.vocab_size, at=at, device=device
    )
    return OpenedDecoder(trained, tokenizer, part)


def continue_prompts(
    opened: OpenedDecoder, prompts: Sequence[str], *, settings: GenerationSettings, seed: int
) -> list[str]:
    """What comes after each prompt. A document begins with BOS, and so does a prompt."""
    tokenizer = opened.tokenizer
    generations = generate(
        opened.model,
        [tokenizer.start_ids + tokenizer.encode(prompt) for prompt in prompts],
        settings=settings,
        generators=prompt_generators(seed=seed, num_prompts=len(prompts)),
        ending=Ending(eos=tokenizer.eos_id, decode=tokenizer.decode),
    )
    return [tokenizer.decode(one.tokens) for one in generations]


def answer_greedily(
    model: Decoder,
    prompts: Sequence[list[int]],
    *,
    tokenizer: TextTokenizer,
    settings: GenerationSettings,
) -> list[Generation]:
    """The likeliest answer to each prompt of ids, some prompts at a time."""
    ending = Ending(eos=tokenizer.eos_id, decode=tokenizer.decode)
    found: list[Generation] = []
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        batch = prompts[first : first + PROMPTS_AT_ONCE]
        found += generate(model, batch, settings=settings, ending=ending)
    return found


def _checked(settings: Mapping[str, Any]) -> GenerationSettings:
    try:
        return GenerationSettings.model_validate(dict(settings))
    except ValidationError as error:
        said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ValueError("; ".join(said)) from None


def _card(opened: OpenedDecoder) -> str:
    run = opened.part.run
    question = run.manifest()["question"]
    return (
        f"# {run.reference}\n\n{question}\n\nTrained from nothing by lmlab, step "
        f"{opened.trained.step} of `{opened.part.name}`; sha256 of its weights "
        f"{opened.trained.weights}.\n"
    )
