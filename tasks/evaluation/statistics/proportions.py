"""Shares of rows, and means of shares over the classes, with intervals that hold for few rows and for groups.

`hits`: bool or float[n], 1 where a row counts; `groups` as in `clusters`; `level`: of both ends together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.evaluation.statistics import clusters

#: How many groups are so few that their variance seems too small where their share seems far from a half.
PRIOR = 4


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, and each row's part of its error, float[n]."""

    value: float
    low: float
    high: float
    influence: np.ndarray


def wilson(hits: np.ndarray, groups: np.ndarray | None, level: float = 0.05) -> tuple[float, float]:
    """Interval of a share, within 0 to 1 and never a point; 0 to 1 without rows, and of one group.

    Wilson 1927, Journal of the American Statistical Association 22:209-212, with the effective number of rows (Rao and
    Scott 1992) and Student's quantile for groups. Groups are independent of each other.
    """
    square = clusters.reach(level, hits, groups) ** 2
    if not len(hits) or not np.isfinite(square):
        return 0.0, 1.0
    share, rows = float(np.mean(hits)), _effective(hits, groups)
    middle, reach = share + square / (2 * rows), np.sqrt(square * (share * (1 - share) + square / (4 * rows)) / rows)
    low, high = (middle - reach) / (1 + square / rows), (middle + reach) / (1 + square / rows)
    return float(max(low, 0.0)), float(min(high, 1.0))


def _effective(hits: np.ndarray, groups: np.ndarray | None) -> float:
    """The effective number of rows, with a larger effect of few groups.

    Where all of a few groups happen to be good, the share seems higher and the groups more alike than they are.
    """
    effect = clusters.design_effect(hits.astype(np.float64), groups)
    if effect > 1:
        freedom = clusters.told(hits, groups).freedom
        effect += (effect - 1) * PRIOR / (freedom + PRIOR)
    return len(hits) / effect


def share(hits: np.ndarray, among: np.ndarray, groups: np.ndarray | None, level: float = 0.05) -> Estimate:
    """The share of hits among some of the rows, bool[n], by `wilson`; NaN between 0 and 1 if there are none."""
    rows = int(among.sum())
    value = float(hits[among].mean()) if rows else np.nan
    low, high = wilson(hits[among], None if groups is None else groups[among], level)
    return Estimate(value, low, high, np.where(among, hits - value, 0.0) / rows if rows else np.zeros(len(hits)))


def exact(hits: np.ndarray, groups: np.ndarray | None, level: float) -> tuple[float, float]:
    """Interval of a share that misses on neither side more often than level / 2: Clopper and Pearson 1934.

    With the effective number of rows for groups (`counted`).
    """
    from statsmodels.stats.proportion import proportion_confint

    right, rows = counted(hits, groups, level / 2)
    if not rows:
        return 0.0, 1.0
    low, high = proportion_confint(right, rows, level, method="beta")
    return float(low), float(high)


def counted(hits: np.ndarray, groups: np.ndarray | None, level: float) -> tuple[float, float]:
    """Hits and rows, as real numbers, that tell as much as these in their groups at a one-sided level; 0 of one group.

    Korn and Graubard 1998, Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data, Survey Methodology 24:193-201.
    """
    rows = clusters.effective(hits.astype(np.float64), groups)
    rows *= (clusters.reach(2 * level, hits, None) / clusters.reach(2 * level, hits, groups)) ** 2
    return float(np.mean(hits)) * rows, rows


def mean(parts: list[Estimate], groups: np.ndarray | None) -> tuple[float, float]:
    """Interval of the mean of several estimates of the same rows, from their own intervals.

    MOVER, the method of variance estimates recovery, with the correlations of the estimates: Zou and Donner 2008,
    https://doi.org/10.1002/sim.3095, and Zou 2007, https://doi.org/10.1037/1082-989X.12.4.399. A part without a value
    may have any between its ends: it counts as the mean of the others.
    """
    ends = np.array([[part.value, part.low, part.high] for part in parts])
    known = ~np.isnan(ends[:, 0])
    ends[~known, 0] = ends[known, 0].mean() if known.any() else 0.5
    sums = clusters.sums(np.stack([part.influence for part in parts], axis=1), groups)
    size = np.sqrt((sums**2).sum(axis=0))
    unit = sums / np.where(size > 1e-12, size, 1)
    alike = unit.T @ unit
    if len(unit) < len(parts[0].influence):
        # One group shows no correlation, and few hardly any: there is one more, in which all parts move together.
        alike = (alike * (len(unit) - 1) + 1) / len(unit)
    np.fill_diagonal(alike, 1.0)
    middle = float(ends[:, 0].mean())
    below, above = ((ends[:, 0] - ends[:, 1]), (ends[:, 2] - ends[:, 0]))
    low, high = (np.sqrt(max(away @ alike @ away, 0.0)) / len(parts) for away in (below, above))
    return max(middle - float(low), 0.0), min(middle + float(high), 1.0)
