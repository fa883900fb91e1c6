"""ROUGE of each summary against its references, by rouge_score with Porter's stemmer.

Two scores are called ROUGE-L, and differ by points: `rougeL` takes the text as one line,
`rougeLsum` line by line, so that a summary of several sentences needs each on a line of its own.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64
from rouge_score.rouge_scorer import RougeScorer

METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
Several = Literal["mean", "best"]


def rouge(
    predictions: Sequence[str], references: Sequence[Sequence[str]], *, several: Several
) -> dict[str, Float64[np.ndarray, "items"]]:
    """Metric -> F of each item (0..1); the score is their mean.

    Of several references: their mean F, or the best one's, chosen for each metric apart. The rule
    is part of the protocol: DialogSum's authors score with py-rouge, which averages over the three
    (by pooled counts, a little apart from the mean F); rouge_score itself takes the best.
    """
    scorer = RougeScorer(METRICS, use_stemmer=True)
    reduce = {"mean": np.mean, "best": np.max}[several]
    found = np.empty((len(METRICS), len(predictions)))
    for item, (prediction, texts) in enumerate(zip(predictions, references, strict=True)):
        if not texts:
            raise ValueError(f"item {item} has no reference")
        scores = [scorer.score(text, prediction) for text in texts]
        for row, metric in enumerate(METRICS):
            found[row, item] = reduce([one[metric].fmeasure for one in scores])
    return dict(zip(METRICS, found, strict=True))
