"""Conditions that a model must meet before it replaces the champion.

A gate has `check(challenger, champion, *, options…) -> GateResult`; both are scored on the same test rows today, and
`champion` is None where there is none yet. A gate that cannot be computed has failed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks import plugins
from tasks.records import GateResult


@dataclass(frozen=True)
class Scored:
    """A model's probabilities float[n, classes] on the test rows with labels int[n]."""

    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    def metric(self, name: str) -> float:
        """The named metric of these probabilities."""
        return float(plugins.entry("metrics", name)(self.labels, self.probabilities))


def run(gates: dict[str, dict[str, Any]], challenger: Scored, champion: Scored | None) -> tuple[GateResult, ...]:
    """Every gate's answer; an exception inside one is a failure of that gate."""
    return tuple(_one(name, options, challenger, champion) for name, options in gates.items())


def _one(name: str, options: dict[str, Any], challenger: Scored, champion: Scored | None) -> GateResult:
    bound = plugins.bind("gates", name, options, f"gates.{name}")
    try:
        return plugins.entry("gates", name)(challenger, champion, **bound)
    except Exception as error:
        return GateResult(name, False, f"could not be computed: {type(error).__name__}: {error}", {})
