"""Metrics that an owner writes as a formula of the confusion matrix: `(5 * fn + fp) / n`."""

import ast
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from barograph.outcomes import OutcomeProfile
from barograph.performance.intervals import NOTHING, Estimate, Z, whole
from barograph.performance.measures import METRICS, Metric, confusion

NAMES = {"binary": ("tp", "fp", "fn", "tn", "n"), "multiclass": ("right", "wrong", "n")}
ENOUGH = 30  # labels
LONGEST = 500  # characters
_STEP = 1e-100  # a complex step: a derivative without the rounding of a difference (Squire and Trapp, 1998)
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


class FormulaError(ValueError):
    """A formula that cannot be read: what is wrong, and what may stand in one."""


@dataclass(frozen=True)
class Formula:
    """Sums, differences, products and quotients of numbers and of tp, fp, fn, tn, n (binary) or right, wrong, n (multiclass).

    >>> from barograph.outcomes import OutcomeBins
    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> profile = OutcomeProfile.of(bins, label=[0, 1] * 50, score=[0.9, 0.4] * 50)
    >>> Formula("(5 * fn + fp) / n").of(profile).value
    3.0
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST:
            raise FormulaError(f"{self.text[:40]!r}...: it is longer than {LONGEST} characters")
        if not self.names or not any(self.fits(task) for task in NAMES):
            known = " or ".join(", ".join(names) for names in NAMES.values())
            raise FormulaError(f"{self.text!r}: use {known}, and numbers")
        with suppress(ZeroDivisionError, OverflowError):
            _value(self._tree, dict.fromkeys(self.names, 1.0 + 0j))

    @cached_property
    def names(self) -> set[str]:
        """The counts that it is of."""
        return {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise FormulaError(f"{self.text!r} is no formula; write one like (5 * fn + fp) / n") from None

    def fits(self, task: str) -> bool:
        """Whether a task has these counts."""
        return self.names <= set(NAMES.get(task, ()))

    def of(self, profile: OutcomeProfile) -> Estimate:
        """The value with its 95 % interval, by the delta method on the counts."""
        cells = {name: max(held, 0.0) for name, held in _cells(profile).items()}
        rows = sum(cells.values())
        if rows < ENOUGH:
            return Estimate(
                np.nan, np.nan, np.nan, whole(rows), False, f"too few labels: {rows:,.0f} of {ENOUGH}"
            )
        value = self._at(cells)
        if not np.isfinite(value.real):
            return NOTHING
        slopes = {
            name: self._at({**cells, name: held + 1j * _STEP}).imag / _STEP for name, held in cells.items()
        }
        half = Z * float(np.sqrt(sum(cells[name] * slope**2 for name, slope in slopes.items())))
        if not np.isfinite(half):
            return NOTHING
        return Estimate(value.real, value.real - half, value.real + half, whole(rows))

    def _at(self, cells: Mapping[str, complex]) -> complex:
        try:
            return complex(_value(self._tree, {**cells, "n": sum(cells.values())}))
        except (ZeroDivisionError, OverflowError):
            return complex(np.nan)


def _value(node: ast.expr, names: Mapping[str, complex]) -> complex:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))  # type: ignore[no-any-return]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    ):
        return complex(node.value)
    if isinstance(node, ast.Name):
        return names[node.id]
    raise FormulaError(f"{ast.unparse(node)!r} cannot stand in a formula; use + - * / and numbers")


def _cells(profile: OutcomeProfile) -> dict[str, float]:
    if profile.bins.task == "multiclass":
        right = float(profile.scores[1].sum())
        return {"right": right, "wrong": profile.rows - right}
    (tn, fp), (fn, tp) = confusion(profile).astype(np.float64).tolist()
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn}


@lru_cache(maxsize=1024)
def _read(text: str) -> Formula:
    return Formula(text)


def with_formulas(task: str, formulas: Mapping[str, str]) -> dict[str, Metric]:
    """The metrics of a task, and those that an owner wrote, by name. Of these a higher value is a worse one."""
    own = {name: _read(text) for name, text in formulas.items()}
    return METRICS[task] | {
        name: Metric(name, name, "number", False, formula.of, ())
        for name, formula in own.items()
        if formula.fits(task)
    }
