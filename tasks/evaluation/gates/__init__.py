"""Conditions that a model must meet before it replaces the champion.

A gate has `check(case, *, options…) -> GateResult`; both models predict the same test rows today. A gate that compares
two models looks at `case.pair`: the rows that neither was trained or steered on, of the classes that both know. It
passes if there is no champion yet. A gate that cannot be computed fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tasks.evaluation.statistics import clusters, paired
from tasks.records import GateResult
from tasks.runtime import plugins
from tasks.runtime.errors import disk_full

#: Fewer independent rows that are new to both models decide nothing.
LEAST = 20
#: Why nothing is compared: also if the champion is the model itself, so that a repeated run says the same.
ALONE = "there is no other champion to compare with"


@dataclass(frozen=True)
class Pair:
    """Two models on rows that are fair to both: labels int[n], probabilities float[n, classes] of each."""

    labels: np.ndarray
    challenger: np.ndarray
    champion: np.ndarray
    #: Rows that are no independent evidence have the same number, int[n]; None where all rows are.
    groups: np.ndarray | None
    #: Rows by slice, bool[n].
    slices: Mapping[str, np.ndarray]

    @property
    def models(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of the new model and of the old."""
        return self.challenger, self.champion

    @property
    def units(self) -> int:
        """How many independent rows there are."""
        return clusters.number(self.groups, len(self.labels))

    @property
    def gains(self) -> np.ndarray:
        """Each row's part of the gain in accuracy: 1, 0 or -1."""
        return paired.gains(self.labels, *self.models)

    def of(self, rows: np.ndarray) -> np.ndarray | None:
        """The groups of some rows, bool[n]."""
        return None if self.groups is None else self.groups[rows]


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
    #: That of the next decision on these rows, and the probability that as many images as `undecided` asks for then
    #: show a difference as large as today's.
    next_level: float = 0.05
    power: float = 0.8
    #: Share of further labelled images that become test images.
    test_share: float = 1.0
    #: Rows by slice, bool[n].
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: Median milliseconds of the challenger for one prepared image, measured when called.
    latency: Callable[[], float] | None = None
    seed: int = 0
    #: Rows that are no independent evidence have the same number, int[n]; None where all rows are.
    groups: np.ndarray | None = None
    #: Which rows neither model was trained or steered on, bool[n]; None where all rows are such.
    unseen: np.ndarray | None = None
    #: Classes that the champion knows; None where it knows all.
    known: tuple[str, ...] | None = None

    @property
    def shared(self) -> list[int]:
        """The classes that both models know."""
        return [at for at, name in enumerate(self.classes) if self.known is None or name in self.known]

    @cached_property
    def pair(self) -> Pair | None:
        """What a comparison rests on; None without a champion."""
        if self.champion is None:
            return None
        rows = np.isin(self.labels, self.shared) & (True if self.unseen is None else self.unseen)
        groups = None if self.groups is None else self.groups[rows]
        parts = {name: mask[rows] for name, mask in self.slices.items()}
        return Pair(self.labels[rows], self.challenger[rows], self.champion[rows], groups, parts)

    @property
    def apart(self) -> str:
        """What a comparison leaves out, and why: clauses, each with "; " before it."""
        pair = self.pair
        if pair is None:
            return ""
        said = ""
        if self.unseen is not None and not self.unseen.all():
            seen = int((~self.unseen).sum())
            said += f"; {seen} of {len(self.labels)} test images, or copies of them, were used to train one of the two"
        for at, name in enumerate(self.classes):
            if self.known is not None and name not in self.known:
                rows = self.labels == at
                right = int((self.challenger[rows].argmax(axis=1) == at).sum())
                lost = int((self.challenger.argmax(axis=1)[~rows] == at).sum())
                said += f"; the champion does not know {name}: of its {rows.sum()} test images this model gets {right}"
                said += f" right, and takes {lost} others for it"
        if pair.groups is not None and pair.units < len(pair.labels):
            said += f"; {pair.units} of the images are independent, the others are of their groups or copies"
        return said

    def check(self) -> None:
        """Raise `ValueError` if a probability is not finite: comparisons would count it as wrong or right."""
        if not all(np.isfinite(found).all() for found in (self.challenger, self.champion) if found is not None):
            raise ValueError("expected finite probabilities of every test image, found NaN or infinite ones")

    def metric(self, name: str) -> float:
        """The named metric of the challenger on all test rows."""
        return float(plugins.entry("metrics", name)(self.labels, self.challenger))

    def more(self, found: Sequence[tuple[paired.Difference, float]], target: float) -> int | None:
        """Further test images that the next decision needs to tell all differences from `target`; None: no estimate.

        `found`: each difference, with the share of the test images that are of its part.
        """
        return paired.more_rows(found, target, self.next_level, self.power)

    def too_few(self, gate: str) -> GateResult | None:
        """The result of a gate that compares two models, if there is no champion, or are too few rows; else None."""
        if self.pair is None:
            return GateResult(gate, "passed", ALONE, {})
        if self.pair.units >= LEAST:
            return None
        units, images = self.pair.units, len(self.pair.labels)
        needed = f"{LEAST} independent ones" if units < images else str(LEAST)
        few = f"{images} test images can be compared, {needed} are needed{self.apart}"
        # New images are in groups like these.
        every = len(self.labels) / max(clusters.number(self.groups, len(self.labels)), 1)
        return GateResult(gate, "undecided", few, {}, int(np.ceil((LEAST - units) * every)))


def run(gates: Mapping[str, dict[str, Any]], case: Case) -> tuple[GateResult, ...]:
    """Every gate's result; an exception in a gate is a failure of that gate."""
    return tuple(_one(name, options, case) for name, options in gates.items())


def decide(results: tuple[GateResult, ...], test_share: float = 1.0) -> tuple[str, str]:
    """`keep` if a gate failed, else `undecided` if one is, else `promote`; and the reason.

    `test_share`: share of further labelled images that become test images.
    """
    failed = [result for result in results if result.outcome == "failed"]
    open_ = [result for result in results if result.outcome == "undecided"]
    decision = "keep" if failed else "undecided" if open_ else "promote"
    reason = "; ".join(f"{result.gate}: {result.reason}" for result in failed or open_ or results)
    if decision == "undecided" and (more := max((result.more or 0 for result in open_), default=0)):
        all_in = f"label about {rounded(int(np.ceil(more / test_share))):,} more images"
        part = "" if test_share == 1 else f", of which about {rounded(more):,} become test images"
        reason = f"{all_in if part else all_in.replace('images', 'test images')}{part} ({reason})"
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
