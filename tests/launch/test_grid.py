"""The grid of a sweep: which cells there are, and how they are called."""

import pytest
import tiny

from lmlab.engine.config import sweep_axes
from lmlab.launch.grid import grid_name, plan_cells


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("a=1,2", ["1", "2"]),
        ("a.b=choice(x,y)", ["x", "y"]),
        ("a=range(3)", ["0", "1", "2"]),
        ("a=range(2,9,3)", ["2", "5", "8"]),
        ("a=range(5,1,-2)", ["5", "3"]),
        ("a=range(0.1,0.4,0.1)", ["0.1", "0.2", "0.3"]),
        ("a=range(0,1,0.25)", ["0", "0.25", "0.5", "0.75"]),
        ("a=[1,2],[3]", ["[1,2]", "[3]"]),
    ],
)
def test_a_swept_key_has_these_values(written: str, values: list[str]):
    (axis,) = sweep_axes([written])
    assert axis.swept
    assert axis.choices == tuple(f"{axis.key}={value}" for value in values)


def test_a_list_is_one_value():
    (axis,) = sweep_axes(["evaluate.prompts=[a,b]"])
    assert (axis.swept, axis.choices) == (False, ("evaluate.prompts=[a,b]",))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["a=interval(0,1)"], "is no grid; write key=a,b"),
        (["a=glob(*)"], "is no grid"),
        (["~a=1,2"], "is no grid"),
        (["a=range(0)"], "names no value"),
        (["a=1,2,1"], "names a value twice"),
        (["a=1,2", "a=3"], "a is given twice"),
    ],
)
def test_what_is_no_grid_is_refused(written: list[str], expected: str):
    with pytest.raises(ValueError, match=expected):
        sweep_axes(written)


def test_the_last_key_is_the_fastest():
    cells = plan("seed=1,2", "pretrain.batch_size=4,8")
    assert [tuple(cell.settings.values()) for cell in cells] == [
        ("1", "4"), ("1", "8"), ("2", "4"), ("2", "8"),
    ]  # fmt: skip
    assert [cell.resolved.config.seed for cell in cells] == [1, 1, 2, 2]


def test_a_cell_is_called_by_what_differs():
    (first, _) = plan("pretrain.optim.learning_rate=1e-3,2e-3", "seed=choice(7)")
    assert first.name.startswith("demo_learning_rate-0.001_seed-7_")
    (first, _) = plan("pretrain.batch_size=4,8", "evaluate.batch_size=choice(2)", name="mine")
    assert first.name.startswith("mine_evaluate.batch_size-2_pretrain.batch_size-4_")


def test_names_are_safe_and_differ_whatever_the_values_are():
    prompts = ["[../x]", "['a b']", "[a-b]", "['" + "long " * 40 + "']", "['; touch y']"]
    names = [cell.name for cell in plan("evaluate.prompts=" + ",".join(prompts))]
    assert len(set(names)) == len(prompts)
    assert all(len(name) <= 120 and ".." not in name and " " not in name for name in names)


def test_the_same_settings_have_the_same_names_in_any_order():
    one, other = ("seed=1,2", "pretrain.batch_size=4,8"), ("pretrain.batch_size=8,4", "seed=2,1")
    free = ("launch.concurrent=2", "tracker.tensorboard=true", "pretrain.log_every=3")
    assert names(*one) == names(*other) == names(*one, *free)
    assert grid_name(plan(*one), base="demo") == grid_name(plan(*other), base="demo")


def test_other_fixed_settings_are_other_runs():
    assert not names("seed=1,2") & names("seed=1,2", "pretrain.max_steps=13")
    assert len(names("pretrain.log_every=1,2")) == 2, "even where both train the same weights"


def test_a_longer_grid_keeps_the_cells_of_the_shorter_one():
    assert names("seed=1,2") < names("seed=range(1,4)")


def plan(*overrides: str, name: str | None = None):
    """Cells of the tiny preset."""
    fixed = [one for one in tiny.OVERRIDES if one.split("=")[0] not in _keys(overrides)]
    return plan_cells(tiny.PRESET, [*fixed, *overrides], name=name)


def names(*overrides: str) -> set[str]:
    """Of all cells."""
    return {cell.name for cell in plan(*overrides)}


def _keys(overrides: tuple[str, ...]) -> set[str]:
    return {one.split("=")[0] for one in overrides}
