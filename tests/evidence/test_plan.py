"""Facts about `lmlab plan`: it needs no run, and its sentences carry the formula's figures."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lmlab.cli import app
from lmlab.evidence.gates.plan import Claim, make_plan, sentences


def plan(*options: str) -> str:
    result = CliRunner().invoke(app, ["plan", *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_one_percent_at_five_percent_discordance_needs_three_thousand_items():
    said = plan("--margin", ".01", "--discordant", ".05", "--power", ".8")
    assert "Items: 3,092 pairs" in said
    assert "loses less than 0.01" in said
    assert "z_alpha + z_power" in said
    assert "at least 6" in said
    assert "0.25 for 3, 0.062 for 5, 0.031 for 6, 0.0078 for 8 seeds" in said


def test_a_negative_margin_asks_for_a_gain():
    said = plan(
        "--margin", "-.3", "--effect", ".5", "--discordant", ".55", "--power", ".8", "--items", "47"
    )
    assert "beats its baseline by more than 0.3 (superiority)" in said
    assert "Items: 47 pairs" in said
    assert "power 0.80" in said


def test_given_items_and_seeds_are_judged():
    said = plan(
        "--margin", ".01", "--discordant", ".05", "--power", ".8", "--items", "500", "--seeds", "3"
    )
    # Φ(.01 √(500 / .05) - 1.645) = Φ(-.645), and 2.4865 √(.05 / 500).
    assert (
        "With 500 items: power 0.26; the minimum detectable effect at power 0.8 is 0.0249" in said
    )
    assert "With 3 seeds: the smallest seed-level p is 0.25; whatever comes" in said
    assert "it can reach 0.05" in plan(
        "--margin", ".01", "--discordant", ".05", "--power", ".8", "--seeds", "6"
    )


def test_a_deviation_plans_items_and_seeds():
    made = make_plan(Claim(margin=0.01, power=0.8, deviation=0.02))
    assert (made.items, made.seeds, made.least_seeds) == (25, 27, 6)
    both = make_plan(Claim(margin=0.01, power=0.8, deviation=0.02, discordant=0.05))
    assert (both.items, both.seeds) == (3_092, 27)


def test_a_handful_of_discordant_pairs_is_called_too_few():
    said = " ".join(sentences(make_plan(Claim(margin=0.05, power=0.8, discordant=0.05))))
    assert "Items: 124 pairs" in said
    assert "Only 6.2 of them are discordant, too few for this formula: plan 200 at least" in said


def test_a_difference_that_cannot_be_is_not_called_detectable():
    made = make_plan(Claim(margin=0.01, power=0.8, discordant=0.02), items=50)
    assert "more than the arms disagree on" in " ".join(sentences(made, items=50))


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (Claim(margin=0.01, power=0.8), "--discordant SHARE or --deviation SD"),
        (Claim(margin=0.01, power=1.0, discordant=0.1), "--power 1 must lie between 0 and 1"),
        (Claim(margin=0.01, power=0.8, alpha=0.6, discordant=0.1), "--alpha 0.6"),
        (Claim(margin=0.01, power=0.8, deviation=-1.0), "--deviation -1"),
        (Claim(margin=0.01, power=0.8, discordant=0.1, effect=0.3), "disagree on at least"),
        (Claim(margin=-0.3, power=0.8, discordant=0.5, effect=0.2), "never passes"),
    ],
)
def test_a_claim_that_cannot_be_planned_says_why(claim, message):
    with pytest.raises(ValueError, match=message):
        make_plan(claim)


def test_planning_loads_no_torch():
    loaded = "import sys, lmlab.evidence.gates.plan, lmlab.metrics.ranking"
    code = f"{loaded}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
