"""Arithmetic that a gate file may state: numbers, names, operators and a few numpy functions.

It is parsed and walked, never run as Python, and it is bounded: a gate file from anywhere can
neither run code nor eat the memory.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64

Given: TypeAlias = int | float | str | Sequence[int | float]
Value: TypeAlias = float | Float64[np.ndarray, "values"]

MAX_CHARACTERS = 1000
MAX_DEPTH = 40
# Elements of one array, and of all that an expression makes on its way: half a GB if all is kept.
MAX_ELEMENTS = 1 << 20
MAX_WORK = 1 << 25
CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ONE_VALUE: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "real": np.real,
    "imag": np.imag,
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "cumsum": np.cumsum,
    "fft": lambda values: np.fft.fft(np.atleast_1d(values)),
}
TWO_VALUES: Mapping[str, Callable[..., Any]] = {"maximum": np.maximum, "minimum": np.minimum}


class UnknownNameError(ValueError):
    """An expression names what nobody has given: it may be yet to be measured."""

    def __init__(self, name: str, expression: str) -> None:
        super().__init__(f"{_short(expression)!r}: no value is given for {name}")
        self.name = name


def evaluate(expression: str, names: Mapping[str, Given]) -> Value:
    """The value over `names` (a text among them is an expression itself) and over pi and e.

    NaN and infinity are answers. Raises ValueError that names the expression and the piece of it
    that is not allowed.
    """
    with np.errstate(all="ignore"):
        found = _Evaluation(dict(names)).text(expression)
    if np.iscomplexobj(found):
        raise ValueError(
            f"{_short(expression)!r} gives a complex number; take its real, imag or abs"
        )
    array = np.asarray(found, dtype=np.float64)
    return float(array) if array.ndim == 0 else array


@dataclass
class _Evaluation:
    """One walk: the values found so far, the texts being read, and the elements made."""

    names: dict[str, Any]
    reading: list[str] = field(default_factory=list)
    work: int = 0

    def text(self, text: str) -> Any:
        expression = " ".join(text.split())
        self.reading.append(expression)
        found = self._node(_parse(expression), depth=0)
        self.reading.pop()
        return found

    def _node(self, node: ast.expr, depth: int) -> Any:
        if depth + len(self.reading) > MAX_DEPTH:
            raise self._refusal(node, f"is nested deeper than {MAX_DEPTH}")
        match node:
            case ast.Constant(value=int() | float() | complex() as number) if not isinstance(
                number, bool
            ):
                return self._number(node, number)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=op, operand=one):
                return self._apply(node, OPERATORS.get(type(op)), [self._node(one, depth + 1)])
            case ast.BinOp(left=left, op=op, right=right):
                values = [self._node(one, depth + 1) for one in (left, right)]
                return self._apply(node, OPERATORS.get(type(op)), values)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                values = [self._node(one, depth + 1) for one in (left, right)]
                return self._apply(node, OPERATORS.get(type(op)), values) * 1.0
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, [self._node(one, depth + 1) for one in args])
        raise self._refusal(node, "is not allowed here")

    def _number(self, node: ast.expr, number: int | float | complex) -> Any:
        # numpy's numbers, not Python's: 9**9**9 of these is infinity at once.
        try:
            return np.complex128(number) if isinstance(number, complex) else np.float64(number)
        except OverflowError:
            raise self._refusal(node, "is too large a number") from None

    def _name(self, name: str) -> Any:
        if name not in self.names and name not in CONSTANTS:
            raise UnknownNameError(name, self.reading[-1])
        value = self.names.get(name, CONSTANTS.get(name))
        if isinstance(value, str):
            if " ".join(value.split()) in self.reading:
                raise ValueError(f"{_short(value)!r}: {name} is defined by itself")
            value = self.text(value)
        self.names[name] = value = _checked(name, value)
        return value

    def _call(self, node: ast.expr, name: str, values: list[Any]) -> Any:
        if name == "arange":
            return self._arange(node, values)
        known = {1: ONE_VALUE, 2: TWO_VALUES}.get(len(values), {})
        if name not in known:
            allowed = ", ".join(sorted({*ONE_VALUE, *TWO_VALUES, "arange"}))
            raise self._refusal(
                node, f"is no function of {len(values)} values; there are {allowed}"
            )
        return self._apply(node, known[name], values)

    def _arange(self, node: ast.expr, values: list[Any]) -> Any:
        """Counted before it is made."""
        if not 1 <= len(values) <= 3 or any(np.ndim(one) or np.iscomplexobj(one) for one in values):
            raise self._refusal(node, "takes one to three real numbers")
        start, stop, step = (0.0, values[0], 1.0) if len(values) == 1 else (*values, 1.0)[:3]
        count = (stop - start) / step
        if not 0 < count <= MAX_ELEMENTS:
            raise self._refusal(node, f"would have {count:g} elements, not 1 to {MAX_ELEMENTS}")
        return self._apply(node, np.arange, [start, stop, step])

    def _apply(self, node: ast.expr, function: Callable[..., Any] | None, values: list[Any]) -> Any:
        if function is None:
            raise self._refusal(node, "is no operator that is allowed here")
        try:
            found = function(*values)
        except (TypeError, ValueError) as error:
            raise self._refusal(node, f"cannot be computed ({error})") from error
        self.work += np.size(found)
        if self.work > MAX_WORK:
            raise self._refusal(node, f"makes more than {MAX_WORK} numbers on the way")
        return found

    def _refusal(self, node: ast.expr, why: str) -> ValueError:
        piece = ast.get_source_segment(self.reading[-1], node) or ""
        return ValueError(f"{_short(self.reading[-1])!r}: {_short(piece)} {why}")


def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_CHARACTERS:
        raise ValueError(f"{_short(expression)!r} has more than {MAX_CHARACTERS} characters")
    try:
        return ast.parse(expression, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{_short(expression)!r} is no arithmetic: {error}") from error


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _checked(name: str, value: Any) -> Any:
    array = np.asarray(value)
    if array.ndim > 1 or not 0 < array.size <= MAX_ELEMENTS or array.dtype.kind not in "biufc":
        raise ValueError(f"{name} is no number and no list of 1 to {MAX_ELEMENTS} numbers")
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)[()]
