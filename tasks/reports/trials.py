"""Figures of a search, as PNG files: its course, and what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tasks.reports.figures import blank


def history(losses: Sequence[float], pruned: Sequence[bool], to: Path) -> None:
    """Each trial's loss, and the lowest so far of those that were not ended early."""
    values, early = np.array(losses, float), np.array(pruned, bool)
    numbers = np.arange(1, len(values) + 1)
    figure = blank(6, 4)
    axes = figure.subplots()
    axes.scatter(numbers[~early], values[~early], label="trial")
    axes.scatter(numbers[early], values[early], marker="x", color="grey", label="ended early")
    axes.plot(numbers, np.minimum.accumulate(np.where(early, np.inf, values)), label="lowest so far")
    # A trial that diverged would hide the others.
    axes.set(xlabel="trial", ylabel="validation loss", yscale="log", title="Search for a head")
    axes.legend()
    figure.savefig(to)


def importances(shares: Mapping[str, float], to: Path) -> None:
    """Share of the loss' variance that each setting explains, the largest on top."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = blank(6, 1.2 + 0.4 * len(names))
    axes = figure.subplots()
    axes.barh(names, [shares[name] for name in names], color="steelblue")
    axes.set(xlabel="share of the variance", xlim=(0, 1), title="What mattered")
    figure.savefig(to)
