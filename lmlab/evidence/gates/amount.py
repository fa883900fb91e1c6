"""Would the items, seeds and points that a gate is judged on decide it? How many would?"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import count

import numpy as np

from lmlab.evidence.gates.finding import Finding
from lmlab.evidence.gates.grammar import (
    PAIRED,
    Bounded,
    Equivalent,
    Flat,
    Gate,
    NoOscillation,
    Superior,
    Threshold,
    Trend,
)
from lmlab.evidence.gates.reach import baseline_value, metric_bounds
from lmlab.evidence.gates.selection import Measured
from lmlab.evidence.gates.simulate import Bounds, Trial, chance_of_passing, passing
from lmlab.metrics.power import (
    minimum_detectable_effect,
    paired_items,
    seeds_needed,
    smallest_sign_flip_p,
    variance_of_discordance,
)
from lmlab.metrics.stats import rate_interval

DEFAULT_POWER = 0.8
# The fewest points that a slope with its interval, and a spread, can be told from.
FEWEST_POINTS = {"flat": 3, "bounded": 2}
MOST_ITEMS = 1 << 20


@dataclass(frozen=True)
class Amount:
    """How many there are, and in words where that number comes from."""

    count: int
    said: str


def check_amount(gate: Gate, known: Measured | None) -> list[Finding]:
    """Findings `items`, `best_arm`, `seeds` and `points`, as far as the gate's test has them."""
    found: list[Finding] = []
    items = _items(gate, known)
    if gate.unit != "seed":
        found += _fewer_than_asked("items", items, gate.min_n)
        found += _power(gate, known, items)
        found += _best_arm(gate, known, items)
    if gate.unit in ("seed", "seed_x_item"):
        found += _seeds(gate, known)
    return found + _points(gate, known)


def distance(gate: Gate) -> float:
    """Between the effect that is expected and the bound that it must keep clear of."""
    effect = abs(_effect(gate)) if isinstance(gate.test, Equivalent) else -_effect(gate)
    return _margin(gate) - effect


def _items(gate: Gate, known: Measured | None) -> Amount:
    if known is not None and known.n:
        return Amount(known.n, f"{known.n:,} were measured")
    if gate.planned is not None and gate.planned.items is not None:
        return Amount(gate.planned.items, f"{gate.planned.items:,} are planned")
    return Amount(gate.min_n, f"none are planned, and it would be judged on {gate.min_n:,}")


def _num_seeds(gate: Gate, known: Measured | None) -> Amount:
    if known is not None and known.seeds:
        return Amount(known.seeds, f"{known.seeds} were measured")
    if gate.planned is not None and gate.planned.seeds is not None:
        return Amount(gate.planned.seeds, f"{gate.planned.seeds} are planned")
    return Amount(gate.min_seeds, f"none are planned, and it would be judged on {gate.min_seeds}")


def _fewer_than_asked(check: str, there: Amount, asked: int) -> list[Finding]:
    if there.count >= asked:
        return []
    figures = {check: float(there.count), f"{check}_needed": float(asked)}
    reason = f"it asks for at least {asked:,} {check}; {there.said}"
    return [Finding(check, "underpowered", reason, figures)]


def _power(gate: Gate, known: Measured | None, items: Amount) -> list[Finding]:
    """Items needed for the power wanted at the expected effect, and what these items detect."""
    if not isinstance(gate.test, (*PAIRED, Threshold)):
        return []
    variance = _variance(gate, known)
    if isinstance(gate.test, Threshold) and (variance is None or _effect(gate) <= 0):
        # What a perfect arm needs (`best_arm`) says enough where no distance is expected.
        return []
    if variance is None:
        return [
            Finding("items", "not_audited", "nothing says how much the two arms differ by item")
        ]
    if variance == 0:
        return [Finding("items", "sound", "no two paired values differ")]
    effect, power, alpha = _effect(gate), _wanted_power(gate), _alpha(gate)
    least = minimum_detectable_effect(items.count, variance=variance, power=power, alpha=alpha)
    figures = {"items": float(items.count), "minimum_detectable_effect": least}
    if distance(gate) <= 0:
        why = (
            f"an expected effect of {effect:.3g} never passes; {items.said}, which find {least:.2g}"
        )
        return [Finding("items", "not_audited", why, figures)]
    needed = paired_items(
        _margin(gate),
        variance=variance,
        effect=effect,
        power=power,
        alpha=alpha,
        sides=2 if isinstance(gate.test, Equivalent) else 1,
    )
    figures["items_needed"] = float(needed)
    verdict = "sound" if items.count >= needed else "underpowered"
    why = f"{power:.0%} power takes {needed:,} items; {items.said}{_finds(items, least)}"
    return [Finding("items", verdict, why, figures)]


def _finds(items: Amount, least: float) -> str:
    """One item finds nothing, whatever the formula says."""
    return f", which find a distance of {least:.2g} from the bound" if items.count > 1 else ""


def _variance(gate: Gate, known: Measured | None) -> float | None:
    """Of one item's paired difference: as measured, else as expected."""
    if known is not None and known.deviation is not None:
        return known.deviation**2
    if gate.planned is not None and gate.planned.deviation is not None:
        return gate.planned.deviation**2
    if gate.planned is None or gate.planned.discordant is None or isinstance(gate.test, Threshold):
        return None
    try:
        return variance_of_discordance(gate.planned.discordant, gate.planned.effect)
    except ValueError as error:
        raise ValueError(f"gate {gate.id}: {error}") from error


def _best_arm(gate: Gate, known: Measured | None, items: Amount) -> list[Finding]:
    """How often, with this many items, the best arm there can be passes."""
    bounds, baseline = metric_bounds(gate, known), baseline_value(gate, known)
    if bounds is None:
        return []
    if isinstance(gate.test, Threshold):
        return _perfect_share(gate, gate.test, bounds, items)
    if baseline is None or not isinstance(gate.test, PAIRED) or isinstance(gate.test, Equivalent):
        return []
    trial = Trial(bounds, baseline, items.count, gate.alpha)
    generator = np.random.default_rng(0)
    chances = [
        chance_of_passing(gate.test, arm, trial, generator=generator)
        for arm in (bounds.best, bounds.worst)
    ]
    figures = {"best_passes": chances[0], "worst_passes": chances[1]}
    reason = (
        f"simulated with a baseline of {baseline:.3g}, the best arm there can be passes in "
        f"{chances[0]:.0%} of runs, the worst in {chances[1]:.0%}; of items {items.said}"
    )
    if chances[1] >= _wanted_power(gate):
        return [Finding("best_arm", "cannot_fail", reason, figures)]
    verdict = "sound" if chances[0] >= _wanted_power(gate) else "underpowered"
    return [Finding("best_arm", verdict, reason, figures)]


def _perfect_share(gate: Gate, test: Threshold, bounds: Bounds, items: Amount) -> list[Finding]:
    """A share's interval reaches the number even where every item is right (or wrong)."""
    if (bounds.low, bounds.high) != (0.0, 1.0):
        return []
    region, level, best = passing(test), 1 - gate.alpha, float(test.at_least is not None)

    def end(n: int) -> float:
        found = rate_interval(round(best * n), n, level=level)
        return found.low if best else found.high

    def passes(n: int) -> bool:
        return region.all_pass(end(n), end(n))

    if not region.all_pass(best, best):
        return []
    needed = 1 + bisect_left(range(1, MOST_ITEMS), True, key=passes)
    figures = {
        "items": float(items.count),
        "items_needed": float(needed),
        "perfect_bound": end(items.count),
    }
    if needed >= MOST_ITEMS:
        return [Finding("best_arm", "unattainable", "no number of items takes its interval there")]
    reason = (
        f"with every item at its best the interval ends at {end(items.count):.2g}; "
        f"it takes {needed:,} items, {items.said}"
    )
    verdict = "sound" if items.count >= needed else "underpowered"
    return [Finding("best_arm", verdict, reason, figures)]


def _seeds(gate: Gate, known: Measured | None) -> list[Finding]:
    """Whether seeds that all agree could be significant, and how many the expected scatter asks."""
    seeds = _num_seeds(gate, known)
    least = smallest_sign_flip_p(seeds.count)
    significant = next(n for n in count(1) if smallest_sign_flip_p(n) <= gate.alpha)
    needed = max(gate.min_seeds, significant, _seeds_for_power(gate))
    figures = {
        "seeds": float(seeds.count), "seeds_needed": float(needed), "smallest_p": least
    }  # fmt: skip
    verdict = "sound" if seeds.count >= needed else "underpowered"
    reason = (
        f"seeds that all agree give p = {least:.2g} at the least, alpha is {gate.alpha:g}; "
        f"it takes {needed} seeds, {seeds.said}"
    )
    return [Finding("seeds", verdict, reason, figures)]


def _seeds_for_power(gate: Gate) -> int:
    """0 where no scatter over seeds is expected, or the effect expected never passes."""
    planned = gate.planned
    if planned is None or planned.deviation is None or gate.unit != "seed":
        return 0
    if not isinstance(gate.test, PAIRED) or distance(gate) <= 0:
        return 0
    return seeds_needed(
        _margin(gate),
        deviation=planned.deviation,
        effect=planned.effect,
        power=planned.power,
        alpha=gate.alpha,
    )


def _points(gate: Gate, known: Measured | None) -> list[Finding]:
    """Points along the condition: too few of them and no test can see anything."""
    test = gate.test
    if not isinstance(test, Trend | Flat | Bounded | NoOscillation):
        return []
    along = gate.select.get(test.along)
    if not isinstance(along, tuple):
        why = f"`select` does not list the values of {test.along} that there will be"
        return [Finding("points", "not_audited", why)]
    needed = _points_needed(gate, test)
    figures = {"points": float(len(along)), "points_needed": float(needed)}
    verdict = "sound" if len(along) >= needed else "underpowered"
    reason = f"it takes {needed} values of {test.along}; there are {len(along)}"
    return [Finding("points", verdict, reason, figures)]


def _points_needed(gate: Gate, test: Trend | Flat | Bounded | NoOscillation) -> int:
    match test:
        case NoOscillation(min_bins=bins):
            return bins
        case Trend():
            # Of all orders of the points one is the stated one.
            return next(n for n in range(2, 20) if 1 / math.factorial(n) <= gate.alpha)
        case Flat() | Bounded():
            return FEWEST_POINTS[test.kind]


def _margin(gate: Gate) -> float:
    """What may be lost: a gain that is asked for is negative."""
    if isinstance(gate.test, Superior):
        return -gate.test.margin
    return 0.0 if not isinstance(gate.test, PAIRED) else gate.test.margin


def _alpha(gate: Gate) -> float:
    """A number is held against the end of a two-sided interval."""
    return gate.alpha / 2 if isinstance(gate.test, Threshold) else gate.alpha


def _effect(gate: Gate) -> float:
    return gate.planned.effect if gate.planned is not None else 0.0


def _wanted_power(gate: Gate) -> float:
    return gate.planned.power if gate.planned is not None else DEFAULT_POWER
