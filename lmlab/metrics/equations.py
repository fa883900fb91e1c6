"""Whether what a line of a worked solution computes is right."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

# An x between two numbers multiplies; elsewhere it belongs to a word.
_TIMES = re.compile(r"(?<=[\d)])\s*[x×]\s*(?=[\d(.])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A sum of numbers, and one number that it is said to make, which no sum or unit goes on from.
_EQUATION = re.compile(
    r"([\d+\-*/(). ]*)=\s*(-?\d+(?:\.\d+)?)(?![\d%]|\.\d|\s+\d|\s*[+*/(]|\s*-\s*\d)"
)
_SENTENCE_END = re.compile(r"\.\s")
# A number first, or a bracket: what begins with a sign goes on from what could not be read.
_SUM = re.compile(r"-?[\d.(].*[+\-*/].*")
# No line of arithmetic is longer; it bounds the work of the parser.
_MOST_CHARACTERS = 200
_OPERATORS: Mapping[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# No call, as in 66 (1/3), and no power.
_READABLE = (ast.BinOp, ast.UnaryOp, ast.USub, ast.UAdd, ast.Constant, *_OPERATORS)


def stated_equations(line: str) -> list[bool]:
    """Of each equation between plain numbers, whether it holds; others are left out.

    Decimals may be rounded or cut. Nothing is said of a sum whose beginning has units ("20 pencils
    + 40 + 30 = 90") or whose value has (25%).
    """
    plain = _THOUSANDS.sub("", _TIMES.sub("*", line.replace("$", "")))
    pairs = (
        (_SENTENCE_END.split(left)[-1].strip(), right) for left, right in _EQUATION.findall(plain)
    )
    return [
        _makes(tree, right)
        for left, right in pairs
        if _SUM.fullmatch(left) and (tree := _parse(left)) is not None
    ]


def _parse(written: str) -> ast.expr | None:
    if len(written) > _MOST_CHARACTERS:
        return None
    try:
        tree = ast.parse(written, mode="eval").body
    except SyntaxError:
        return None
    return tree if all(isinstance(node, _READABLE) for node in ast.walk(tree)) else None


def _makes(tree: ast.expr, stated: str) -> bool:
    """Whether the value is the one stated, but for what was cut off its decimals."""
    try:
        value = _value(tree)
    except ZeroDivisionError:
        return False
    decimals = len(stated.partition(".")[2])
    off = abs(value - Fraction(stated))
    return off < Fraction(1, 10**decimals) if decimals else off == 0


def _value(tree: ast.expr) -> Fraction:
    match tree:
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
    raise AssertionError(f"no arithmetic: {ast.dump(tree)}")
