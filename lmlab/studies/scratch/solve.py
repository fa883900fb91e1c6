"""Solutions sampled from the run's own decoder: what its verifier is trained on, and judged on."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lmlab.data.instruct import render_prompt
from lmlab.data.loader import keyed_generator
from lmlab.data.tasks.load import load_problems
from lmlab.data.tasks.records import Problem
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.device import prepare_scoring
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run
from lmlab.metrics.answers import score_answers
from lmlab.models.generate import Ending, Generation, generate
from lmlab.studies.scratch.config import Config, VerifierConfig
from lmlab.studies.scratch.model import TrainedDecoder, load_trained
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.stage import stage_before

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
# Solutions generated at a time; a row is the same in any batch.
SOLUTIONS_AT_ONCE = 64


@dataclass(frozen=True)
class Solution:
    """What the decoder wrote: `ended` by EOS or cut at its length; `answer` where there is one."""

    text: str
    answer: str | None
    correct: bool
    ended: bool


@dataclass(frozen=True)
class Solved:
    """A problem with its sampled solutions."""

    problem: Problem
    solutions: list[Solution]


def solve(config: Config, run: Run) -> None:
    """Sample every problem's solutions, a few problems at a time; goes on where it was stopped."""
    assert config.verifier is not None
    settings, tokenizer = config.verifier, load_prepared(run).tokenizer
    before = run.part(stage_before(config, "verifier"))
    trained = load_trained(
        before,
        config.model,
        vocab_size=tokenizer.vocab_size,
        at="last",
        device=prepare_scoring(config.device),
    )
    for split in SPLITS:
        found = load_problems(settings.data, split)
        fitting = [
            one
            for one in found.records
            if len(solution_prompt(one, tokenizer)) + settings.sampling.max_new_tokens
            <= config.model.context_tokens
        ]
        log.info(
            "%s: %d %s problems, %d too long and left out",
            found.name, len(fitting), split, len(found.records) - len(fitting),
        )  # fmt: skip
        identity = {
            "weights": trained.weights,
            "data": found.sha256,
            "samples": settings.samples,
            "sampling": settings.sampling.model_dump(mode="json"),
            "seed": config.seed,
        }
        sampler = _Sampler(trained, tokenizer, settings, config.seed)
        head = json.dumps(identity, sort_keys=True)
        _solve_split(fitting, sampler, run, split=split, head=head)


def read_solutions(run: Run, split: str) -> list[Solved]:
    """What `solve` left for a split."""
    _, *lines = solutions_path(run, split).read_text(encoding="utf-8").splitlines()
    return [_parse(line) for line in lines]


def solutions_path(run: Run, split: str) -> Path:
    """JSON lines: what they were made with, then a problem a line."""
    return run.folder / "solutions" / f"{split}.jsonl"


@dataclass(frozen=True)
class _Sampler:
    trained: TrainedDecoder
    tokenizer: TextTokenizer
    settings: VerifierConfig
    seed: int

    def __call__(self, problems: Sequence[Problem]) -> Iterator[Solved]:
        """Each problem with its samples; a sample's generator is keyed by problem and place."""
        count = self.settings.samples
        keys = [(one, place) for one in problems for place in range(count)]
        made = generate(
            self.trained.model,
            [solution_prompt(one, self.tokenizer) for one, _ in keys],
            settings=self.settings.sampling,
            generators=[self._generator(one, place) for one, place in keys],
            ending=Ending(eos=self.tokenizer.eos_id, decode=self.tokenizer.decode),
        )
        for index, problem in enumerate(problems):
            mine = made[index * count : (index + 1) * count]
            yield Solved(problem, [self._judge(problem, one) for one in mine])

    def _generator(self, problem: Problem, place: int) -> torch.Generator:
        drawn = keyed_generator(self.seed, purpose="solve", epoch=place, item_id=problem.id)
        return torch.Generator().manual_seed(int(drawn.integers(2**63)))

    def _judge(self, problem: Problem, made: Generation) -> Solution:
        text = self.tokenizer.decode(made.tokens)
        scored = score_answers(
            [text], [problem.solution], item_ids=[problem.id], rule="official"
        ).items[0]
        return Solution(text, scored.predicted, scored.right, made.reason == "eos")


def _solve_split(
    problems: Sequence[Problem], sample: _Sampler, run: Run, *, split: str, head: str
) -> None:
    path = solutions_path(run, split)
    path.parent.mkdir(exist_ok=True)
    done = _begun(path, head=head)
    at_once = max(1, SOLUTIONS_AT_ONCE // sample.settings.samples)
    with path.open("a" if done is not None else "w", encoding="utf-8") as file:
        if done is None:
            file.write(head + "\n")
        for first in range(done or 0, len(problems), at_once):
            if run.notice.reason is not None:
                raise Preempted(f"{run.notice.reason} at {split} problem {first}")
            for solved in sample(problems[first : first + at_once]):
                file.write(json.dumps(asdict(solved)) + "\n")
            file.flush()
            log.info("solve %s %d/%d", split, min(first + at_once, len(problems)), len(problems))


def _begun(path: Path, *, head: str) -> int | None:
    """How many problems are solved; None where nothing is, or with another model or other settings.

    A line that a kill cut short is taken away.
    """
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    if not lines or lines[0] != head:
        return None
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines) - 1


def _parse(line: str) -> Solved:
    row = json.loads(line)
    return Solved(Problem(**row["problem"]), [Solution(**one) for one in row["solutions"]])


def solution_prompt(problem: Problem, tokenizer: TextTokenizer) -> list[int]:
    """What stands before a solution, where it is sampled and where it is judged."""
    return [*tokenizer.start_ids, *tokenizer.encode(render_prompt(problem.question))]
