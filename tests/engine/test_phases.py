"""Phases: how the steps of a study are grouped, ordered and chosen."""

import pytest

from lmlab.engine.phases import earlier_phases, phase_names, steps_of_phases, study_waves
from lmlab.engine.steps import Step


def test_phases_that_need_nothing_of_each_other_stand_together():
    assert waves(step("a", "1"), step("b", "2", "a"), step("c", "3", "a"), step("d", "4", "c")) == [
        ["1"],
        ["2", "3"],
        ["4"],
    ]


def test_a_need_through_other_steps_is_a_need():
    train = (step("train", "1"), step("test", "1", "train"), step("more", "2", "test"))
    assert waves(*train, step("last", "3", "more")) == [["1"], ["2"], ["3"]]
    middle = step("middle", None, "train")
    assert waves(train[0], middle, step("end", "2", "middle")) == [["1"], [None], ["2"]]


def test_steps_of_no_phase_are_no_phase():
    steps = (step("a", None), step("b", None, "a"), step("c", "1"), step("d", None), step("e", "2"))
    assert waves(*steps) == [[None], ["1"], [None], ["2"]]
    assert earlier_phases(steps[3], steps) == []
    assert earlier_phases(steps[4], steps) == ["1"]
    assert phase_names(phase for wave in study_waves(steps) for phase in wave) == ["1", "2"]


def test_the_steps_of_a_phase_stand_next_to_each_other():
    with pytest.raises(ValueError, match="the steps of phase x lie apart"):
        study_waves((step("a", "x"), step("b", "y"), step("c", "x")))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("core", "cd"),
        ("core, set-up", "acd"),
        ("2-3", "bcd"),
        ("sanity-3", "bcd"),
        ("set-up", "a"),
        ("1", "a"),
        ("4-4", "e"),
    ],
)
def test_phases_are_chosen_by_name_and_by_number(asked: str, expected: str):
    steps = [step("a", "set-up"), step("b", "sanity"), step("c", "core"), step("d", "core")]
    found = steps_of_phases([*steps, step("e", "last"), step("f", None)], asked)
    assert "".join(one.name for one in found) == expected


def test_a_phase_named_by_a_number_is_meant_by_it():
    steps = [step(f"step{number}", str(number)) for number in range(4)]
    assert [one.name for one in steps_of_phases(steps, "2-3")] == ["step2", "step3"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("santy", "no phase 'santy'; nearest: sanity"),
        ("0", "no phase '0'"),
        ("1-3", "no phase '3'"),
        ("core-sanity", "phases core-sanity: core comes after sanity"),
    ],
)
def test_a_phase_that_there_is_not_is_an_error_with_the_nearest(asked: str, said: str):
    with pytest.raises(ValueError, match=said):
        steps_of_phases([step("a", "sanity"), step("b", "core")], asked)
    with pytest.raises(ValueError, match="has no phases"):
        steps_of_phases([step("a", None)], asked)


def step(name: str, phase: str | None, *needs: str) -> Step:
    """A step that does nothing."""
    return Step(name, "nowhere:nothing", reads=(), needs=needs, phase=phase)


def waves(*steps: Step) -> list[list[str | None]]:
    """The names of the phases that stand together."""
    return [[phase.name for phase in wave] for wave in study_waves(steps)]
