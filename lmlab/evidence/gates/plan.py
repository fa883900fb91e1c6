"""`lmlab plan`: how many items and seeds a claim needs, answered without any run."""

from dataclasses import dataclass

from lmlab.metrics.power import (
    fewest_seeds,
    minimum_detectable_effect,
    paired_items,
    power_of,
    seeds_needed,
    smallest_sign_flip_p,
    variance_of_discordance,
)

# With fewer discordant pairs the normal formula promises too much: .8 for a simulated .72 at 6.
FEW_PAIRS = 10


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is to be shown, and what is expected of the two arms.

    `margin` may be lost; a negative one is a gain that must be reached. `discordant` is the share
    of items that only one arm has right. `deviation` is that of a paired difference between seeds,
    and between items where there is no `discordant`.
    """

    margin: float
    power: float
    alpha: float = 0.05
    effect: float = 0.0
    discordant: float | None = None
    deviation: float | None = None

    @property
    def variance(self) -> float:
        """Of the difference on one item."""
        if self.discordant is not None:
            return variance_of_discordance(self.discordant, self.effect)
        if self.deviation is None:
            raise ValueError("say how the arms differ: --discordant SHARE or --deviation SD")
        return self.deviation**2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the claim needs, and what the items that were given are worth."""

    claim: Claim
    items: int
    # Below it no outcome over seeds reaches alpha, whatever the power.
    least_seeds: int
    seeds: int | None
    power: float | None
    detectable: float | None


def make_plan(claim: Claim, *, items: int | None = None) -> Plan:
    """Raises ValueError where no number of items would do, or a value is out of its range."""
    _check(claim)
    margin, variance, effect = claim.margin, claim.variance, claim.effect
    power, alpha, deviation = claim.power, claim.alpha, claim.deviation
    return Plan(
        claim=claim,
        items=paired_items(margin, variance=variance, effect=effect, power=power, alpha=alpha),
        least_seeds=fewest_seeds(alpha),
        seeds=None
        if deviation is None
        else seeds_needed(margin, deviation=deviation, effect=effect, power=power, alpha=alpha),
        power=None
        if items is None
        else power_of(items, margin=margin, variance=variance, effect=effect, alpha=alpha),
        detectable=None
        if items is None
        else minimum_detectable_effect(items, variance=variance, power=power, alpha=alpha),
    )


def sentences(plan: Plan, *, items: int | None = None, seeds: int | None = None) -> list[str]:
    """The plan in words, one line a question."""
    lines = [_claim(plan.claim), _items(plan)]
    if items is not None:
        lines.append(_given_items(plan, items))
    lines.append(_seeds(plan))
    if seeds is not None:
        lines.append(_given_seeds(plan, seeds))
    return lines


def _check(claim: Claim) -> None:
    for name, value, most in (("power", claim.power, 1.0), ("alpha", claim.alpha, 0.5)):
        if not 0 < value < most:
            raise ValueError(f"--{name} {value:g} must lie between 0 and {most:g}")
    if claim.deviation is not None and claim.deviation <= 0:
        raise ValueError(f"--deviation {claim.deviation:g} must be above 0")


def _claim(claim: Claim) -> str:
    what = (
        f"the arm loses less than {claim.margin:g} against its baseline (non-inferiority)"
        if claim.margin > 0
        else f"the arm beats its baseline by more than {abs(claim.margin):g} (superiority)"
    )
    return (
        f"Claim: {what}; one-sided test at {claim.alpha:g}, "
        f"power {claim.power:g} when the true difference is {claim.effect:g}."
    )


def _items(plan: Plan) -> str:
    claim = plan.claim
    spread = (
        f"the arms disagree on a share of {claim.discordant:g}, variance = discordance - effect²"
        if claim.discordant is not None
        else f"a paired difference deviates by {claim.deviation:g}, variance = deviation²"
    )
    said = (
        f"Items: {plan.items:,} pairs, when {spread} = {claim.variance:.4g}; "
        "normal formula n = variance ((z_alpha + z_power) / (margin + effect))²."
    )
    if claim.discordant is None or plan.items * claim.discordant >= FEW_PAIRS:
        return said
    return (
        f"{said} Only {plan.items * claim.discordant:.1f} of them are discordant, too few for this "
        f"formula: plan {FEW_PAIRS / claim.discordant:,.0f} at least."
    )


def _given_items(plan: Plan, items: int) -> str:
    detectable, discordant = plan.detectable, plan.claim.discordant
    assert plan.power is not None
    assert detectable is not None
    beyond = discordant is not None and detectable > discordant
    none = " (more than the arms disagree on: no difference can be found)" if beyond else ""
    return (
        f"With {items:,} items: power {plan.power:.2f}; the minimum detectable effect at power "
        f"{plan.claim.power:g} is {detectable:.3g}{none}."
    )


def _seeds(plan: Plan) -> str:
    alpha, least = plan.claim.alpha, plan.least_seeds
    floor = (
        f"Seeds: at least {least} for a claim over seeds; the exact two-sided sign-flip test over "
        f"fewer never reaches {alpha:g} (smallest p: {_smallest(3, 5, 6, 8)} seeds)."
    )
    if plan.seeds is None:
        return f"{floor} How many suffice depends on how they scatter: --deviation SD."
    return (
        f"{floor} {plan.seeds:,} seeds, when their differences deviate by "
        f"{plan.claim.deviation:g} (power of Student's t-test, noncentral t)."
    )


def _given_seeds(plan: Plan, seeds: int) -> str:
    smallest, alpha = smallest_sign_flip_p(seeds), plan.claim.alpha
    verdict = (
        "it can reach" if smallest <= alpha else "whatever comes, that is not enough evidence at"
    )
    return f"With {seeds} seeds: the smallest seed-level p is {smallest:.4g}; {verdict} {alpha:g}."


def _smallest(*counts: int) -> str:
    return ", ".join(f"{smallest_sign_flip_p(n):.2g} for {n}" for n in counts)
