"""The verifier: how likely is a sampled solution to be right?

A linear head on the decoder that wrote the solutions, trained on solutions whose answers were
checked. Outcome labels sit on the last token; process labels on the end of every line, each of
which claims something that can be checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from lmlab.data.pack import NO_TARGET
from lmlab.data.tasks.records import Problem
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.contract import Batch, LossTerm
from lmlab.engine.run import Run
from lmlab.metrics.equations import stated_equations
from lmlab.models.decoder import Decoder
from lmlab.models.experts import Routing
from lmlab.studies.scratch.balance import balance_term, usage_up_to_targets, without_capacity
from lmlab.studies.scratch.config import Config, VerifierConfig
from lmlab.studies.scratch.model import load_trained
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.solve import Solution, Solved, read_solutions, solution_prompt
from lmlab.studies.scratch.stage import Stage, stage_before, train_stage

SOLUTIONS_AT_ONCE = 64


class Verifier(nn.Module):
    """A decoder with one number a token: the log odds that what was written so far is right."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.score = nn.Linear(decoder.config.d_model, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(
        self, tokens: Int[Tensor, "rows tokens"], *, routings: list[Routing] | None = None
    ) -> Float[Tensor, "rows tokens"]:
        """Log odds after each token, in float32; what experts were sent is added to `routings`."""
        return self.score(self.decoder.hidden(tokens, routings=routings)).float()[..., 0]


@dataclass(frozen=True)
class Judged:
    """A solution's ids, and a label (1 right, 0 wrong) after some of them."""

    ids: list[int]
    labels: dict[int, int]


@dataclass(frozen=True)
class JudgedRows:
    """Solutions with their labels, right-padded where they are fetched."""

    judged: Sequence[Judged]

    def __len__(self) -> int:
        return len(self.judged)

    def fetch(self, ids: Int[np.ndarray, "rows"], epoch: int) -> dict[str, Tensor]:
        """`tokens`, and `targets`: 1, 0, or -100 where nothing is known."""
        chosen = [self.judged[one] for one in ids]
        longest = -(-max(len(one.ids) for one in chosen) // 32) * 32
        tokens = np.zeros((len(chosen), longest), np.int64)
        targets = np.full_like(tokens, NO_TARGET)
        for row, one in enumerate(chosen):
            tokens[row, : len(one.ids)] = one.ids
            targets[row, list(one.labels)] = list(one.labels.values())
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}


@dataclass
class Verification:
    """Objective: binary cross-entropy of every label, and balance between experts if any."""

    verifier: Verifier
    validation: JudgedRows
    batch_size: int
    modules: Mapping[str, nn.Module] = field(init=False)
    frozen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = {"verifier": self.verifier}

    def units(self, batch: Batch) -> dict[str, int]:
        """Labels."""
        return {"labels": int((batch["targets"] != NO_TARGET).sum())}

    def losses(self, batch: Batch, *, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """Nats, summed over the labels; rows weigh by their labels in `balance`, too."""
        routings: list[Routing] = []
        odds, labels = self._labelled(batch, routings)
        loss = F.binary_cross_entropy_with_logits(odds, labels, reduction="sum")
        usage = usage_up_to_targets(routings, batch["targets"])
        config = self.verifier.decoder.config
        balance = balance_term(usage, batch["targets"], config, unit="labels")
        return {"bce": LossTerm(loss, "labels", 1.0), **balance}

    def evaluate(self) -> dict[str, float]:
        """Loss and accuracy a label on solutions of problems that were not trained on."""
        loss, right, count = 0.0, 0.0, 0
        with torch.no_grad():
            for first in range(0, len(self.validation), self.batch_size):
                ids = np.arange(first, min(first + self.batch_size, len(self.validation)))
                device = self.verifier.score.weight.device
                batch = {k: v.to(device) for k, v in self.validation.fetch(ids, 0).items()}
                odds, labels = self._labelled(batch)
                loss += float(F.binary_cross_entropy_with_logits(odds, labels, reduction="sum"))
                right += float(((odds > 0) == (labels > 0.5)).sum())
                count += len(labels)
        return {"validation/loss": loss / count, "validation/accuracy": right / count}

    def compile(self) -> None:
        """Batches come in many lengths: a graph for each would cost more than it saves."""

    def _labelled(
        self, batch: Batch, routings: list[Routing] | None = None
    ) -> tuple[Float[Tensor, " labels"], Float[Tensor, " labels"]]:
        known = batch["targets"] != NO_TARGET
        odds = self.verifier(batch["tokens"], routings=routings)
        return odds[known], batch["targets"][known].float()


def train_verifier(config: Config, run: Run) -> None:
    """Train from the newest checkpoint, or from the decoder that sampled the solutions."""
    assert config.verifier is not None
    settings, tokenizer = config.verifier, load_prepared(run).tokenizer
    rows, validation = (
        JudgedRows(judge(read_solutions(run, split), settings, tokenizer=tokenizer))
        for split in ("train", "validation")
    )

    def objective(batch_size: int) -> Verification:
        before = run.part(stage_before(config, "verifier"))
        shape = without_capacity(config.model)
        trained = load_trained(before, shape, vocab_size=tokenizer.vocab_size, at="last")
        return Verification(Verifier(trained.model), validation, batch_size)

    train_stage(config, run, Stage("verifier", settings, rows, "labels", objective))


def judge(
    solved: Sequence[Solved], settings: VerifierConfig, *, tokenizer: TextTokenizer
) -> list[Judged]:
    """Every sampled solution with its labels: of its outcome, or also of each of its lines."""
    return [
        _judged(one.problem, solution, settings, tokenizer=tokenizer)
        for one in solved
        for solution in one.solutions
    ]


@torch.no_grad()
def verify(
    verifier: Verifier, judged: Sequence[Judged], *, labels: str
) -> Float64[np.ndarray, "solutions"]:
    """log P(right) of each: of its outcome, or of all its lines together (Lightman et al. 2023)."""
    rows, found = JudgedRows(judged), []
    device = verifier.score.weight.device
    for first in range(0, len(rows), SOLUTIONS_AT_ONCE):
        ids = np.arange(first, min(first + SOLUTIONS_AT_ONCE, len(rows)))
        batch = rows.fetch(ids, 0)
        log_p = F.logsigmoid(verifier(batch["tokens"].to(device)).double()).cpu()
        known = batch["targets"] != NO_TARGET
        if labels == "outcome":
            last = known.cumsum(1).argmax(1)
            found.append(log_p[torch.arange(len(last)), last])
        else:
            found.append((log_p * known).sum(1))
    return torch.cat(found).numpy()


def line_labels(text: str) -> list[int | None]:
    """Of each line but the last: whether all that it computes is right; None without a claim."""
    return [_holds(line) for line in text.split("\n")[:-1]]


def _holds(line: str) -> int | None:
    claims = stated_equations(line)
    return int(all(claims)) if claims else None


def _judged(
    problem: Problem, solution: Solution, settings: VerifierConfig, *, tokenizer: TextTokenizer
) -> Judged:
    lines = solution.text.split("\n")
    pieces = [tokenizer.encode(line + "\n") for line in lines[:-1]] + [tokenizer.encode(lines[-1])]
    ids, labels = solution_prompt(problem, tokenizer), {}
    for piece, label in zip(pieces, [*line_labels(solution.text), None], strict=True):
        ids += piece
        if settings.labels == "process" and label is not None:
            labels[len(ids) - 1] = label
    if solution.ended:
        ids.append(tokenizer.eos_id)
    labels[len(ids) - 1] = int(solution.correct)
    return Judged(ids, labels)
