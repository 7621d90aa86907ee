"""Conditions that a model must meet before it replaces the champion.

A gate has `check(case, *, options…) -> GateResult`; both models have answered the same test rows today. A gate that
compares passes where there is no champion yet. One that cannot be computed has failed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.evaluation.statistics import paired
from tasks.records import GateResult
from tasks.runtime import plugins


@dataclass(frozen=True)
class Case:
    """What gates judge: labels int[n], probabilities float[n, classes] of both models, and terms of the decision."""

    labels: np.ndarray
    classes: tuple[str, ...]
    challenger: np.ndarray
    #: None where there is none yet.
    champion: np.ndarray | None = None
    #: How often, at most, a difference that is not there may be seen: the significance level of this decision.
    level: float = 0.05
    #: Chance with which the number of images that is asked for shows a difference as large as today's.
    power: float = 0.8
    #: Rows by slice, bool[n].
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: Median milliseconds of the challenger for one prepared image, measured when it is asked for.
    latency: Callable[[], float] | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise `ValueError` where an answer is no number, which comparisons would take for a wrong or a right one."""
        if not all(np.isfinite(said).all() for said in (self.challenger, self.champion) if said is not None):
            raise ValueError("expected probabilities of every test image, found NaN or infinite ones")

    def metric(self, name: str) -> float:
        """The named metric of the challenger."""
        return float(plugins.entry("metrics", name)(self.labels, self.challenger))

    def more(self, found: paired.Difference, target: float) -> int | None:
        """Further test images that would tell the difference from `target`; None where none can be named."""
        return paired.more_rows(found, target, self.level, self.power)


def run(gates: Mapping[str, dict[str, Any]], case: Case) -> tuple[GateResult, ...]:
    """Every gate's answer; an exception inside one is a failure of that gate."""
    return tuple(_one(name, options, case) for name, options in gates.items())


def decide(results: tuple[GateResult, ...]) -> tuple[str, str]:
    """`keep` where a gate failed, else `undecided` where one is, else `promote`; and why."""
    failed = [result for result in results if result.outcome == "failed"]
    open_ = [result for result in results if result.outcome == "undecided"]
    decision = "keep" if failed else "undecided" if open_ else "promote"
    reason = "; ".join(f"{result.gate}: {result.reason}" for result in failed or open_ or results)
    if decision == "undecided" and (more := max((result.more or 0 for result in open_), default=0)):
        reason = f"label about {rounded(more):,} more test images ({reason})"
    return decision, reason


def rounded(images: int) -> int:
    """To two digits, upwards: an estimate says no more."""
    unit = 10 ** max(len(str(images)) - 2, 0)
    return -(-images // unit) * unit


def _one(name: str, options: dict[str, Any], case: Case) -> GateResult:
    bound = plugins.bind("gates", name, options, f"gates.{name}")
    try:
        case.check()
        return plugins.entry("gates", name)(case, **bound)
    except Exception as error:
        return GateResult(name, "failed", f"could not be computed: {type(error).__name__}: {error}", {})
