"""Conditions that a model must meet before it replaces the champion.

A gate has `check(case, *, options…) -> GateResult`; both models predict the same test rows today. A gate that compares
two models passes if there is no champion yet. A gate that cannot be computed fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime import plugins
from tasks.runtime.errors import disk_full


@dataclass(frozen=True)
class Case:
    """What gates judge: labels int[n], probabilities float[n, classes] of both models, and terms of the decision."""

    labels: np.ndarray
    classes: tuple[str, ...]
    challenger: np.ndarray
    #: None if there is none yet.
    champion: np.ndarray | None = None
    #: Significance level of this decision: the largest probability of seeing a difference that does not exist.
    level: float = 0.05
    #: Probability that as many images as `undecided` asks for show a difference as large as today's.
    power: float = 0.8
    #: Rows by slice, bool[n].
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: Median milliseconds of the challenger for one prepared image, measured when called.
    latency: Callable[[], float] | None = None
    seed: int = 0
    #: Rows that are no independent evidence have the same number, int[n]; None where all rows are.
    groups: np.ndarray | None = None

    def check(self) -> None:
        """Raise `ValueError` if a probability is not finite: comparisons would count it as wrong or right."""
        if not all(np.isfinite(found).all() for found in (self.challenger, self.champion) if found is not None):
            raise ValueError("expected finite probabilities of every test image, found NaN or infinite ones")

    def metric(self, name: str) -> float:
        """The named metric of the challenger."""
        return float(plugins.entry("metrics", name)(self.labels, self.challenger))

    def more(self, found: paired.Difference, target: float) -> int | None:
        """Further test images needed to distinguish the difference from `target`; None if there is no estimate."""
        return paired.more_rows(found, target, self.level, self.power)


def run(gates: Mapping[str, dict[str, Any]], case: Case) -> tuple[GateResult, ...]:
    """Every gate's result; an exception in a gate is a failure of that gate."""
    return tuple(_one(name, options, case) for name, options in gates.items())


def decide(results: tuple[GateResult, ...]) -> tuple[str, str]:
    """`keep` if a gate failed, else `undecided` if one is, else `promote`; and the reason."""
    failed = [result for result in results if result.outcome == "failed"]
    open_ = [result for result in results if result.outcome == "undecided"]
    decision = "keep" if failed else "undecided" if open_ else "promote"
    reason = "; ".join(f"{result.gate}: {result.reason}" for result in failed or open_ or results)
    if decision == "undecided" and (more := max((result.more or 0 for result in open_), default=0)):
        reason = f"label about {rounded(more):,} more test images ({reason})"
    return decision, reason


def rounded(images: int) -> int:
    """Rounded up to two digits: an estimate is not more precise."""
    unit = 10 ** max(len(str(images)) - 2, 0)
    return -(-images // unit) * unit


def _one(name: str, options: dict[str, Any], case: Case) -> GateResult:
    bound = plugins.bind("gates", name, options, f"gates.{name}")
    try:
        case.check()
        return plugins.entry("gates", name)(case, **bound)
    except Exception as error:
        if disk_full(error):
            raise  # says nothing about the model
        return GateResult(name, "failed", f"could not be computed: {type(error).__name__}: {error}", {})
