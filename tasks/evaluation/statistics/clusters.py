"""Rows in groups: photos of one cell, patient, camera or day are alike, so the group is the unit of evidence.

Groups are int[n], one number for the rows of one group; None where each row is a group of its own. Rows of one group
may depend on each other in any way; groups are assumed to be independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Up to so many groups all signs are tried, else so many are drawn.
EXACT, DRAWS = 14, 20_000
#: Beyond so many resamples, percentiles are noise.
FEWEST = 10


def codes(groups: np.ndarray | None, rows: int) -> np.ndarray:
    """The groups of n rows, numbered from 0 on: int64[n]."""
    return np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]


def number(groups: np.ndarray | None, rows: int) -> int:
    """How many independent units there are among n rows."""
    return rows if groups is None else len(np.unique(groups))


def sums(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The sum of each group, float64[groups, …], of float[n, …]."""
    code = codes(groups, len(values))
    found = np.zeros((code.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(found, code, values)
    return found


def alike(values: np.ndarray, groups: np.ndarray | None) -> float:
    """How alike the rows of a group are: the intraclass correlation of float[n], 0 to 1; of float[n, k] the largest.

    From an analysis of variance with groups of unequal size: Donner 1986, A Review of Inference Procedures for the
    Intraclass Correlation Coefficient, https://doi.org/10.2307/1403259, section 2. 1 where nothing shows it.
    """
    rows, code = len(values), codes(groups, len(values))
    sizes, columns = np.bincount(code), values.reshape(rows, -1)
    if not 1 < len(sizes) < rows:
        return 1.0
    means = sums(columns, groups) / sizes[:, None]
    within = ((columns - means[code]) ** 2).sum(axis=0) / (rows - len(sizes))
    between = (sizes[:, None] * (means - columns.mean(axis=0)) ** 2).sum(axis=0) / (len(sizes) - 1)
    shared = np.maximum(between - within, 0) / ((rows - (sizes**2).sum() / rows) / (len(sizes) - 1))
    every = shared + within
    return float(np.divide(shared, every, out=np.ones_like(every), where=every > 0).max())


@dataclass(frozen=True)
class Evidence:
    """How well groups show the variance of a mean over their rows."""

    #: The sum of the groups' squared sums of deviations times this is expected to be the variance; infinite for one.
    inflation: float
    #: Degrees of freedom of that sum; 0 for one group.
    freedom: float

    def reach(self, level: float) -> float:
        """Standard errors from the mean to each end of its two-sided interval, by Student's distribution."""
        from scipy.stats import t

        return float(t.isf(level / 2, self.freedom)) if self.freedom else np.inf


def evidence(groups: np.ndarray | None, rows: int, alike: float) -> Evidence:
    """What n rows tell whose groups' rows are `alike`, as the function of that name says.

    A few large groups among many small ones make up most of a mean's variance, and pull the mean towards themselves:
    the squared sums are then too small, and as uncertain as of few groups. Bell and McCaffrey 2002, Bias Reduction in
    Standard Errors for Linear Regression with Multi-Stage Samples, Survey Methodology 28:169-181, with the correlation
    of Imbens and Kolesar 2016, https://doi.org/10.1162/REST_a_00552. Equal groups have their number minus 1.
    """
    sizes = np.bincount(codes(groups, rows)).astype(np.float64)
    if len(sizes) < 2:
        return Evidence(np.inf, 0.0)
    share = sizes / rows
    variance = sizes * (1 + (sizes - 1) * alike)
    variance /= variance.sum()
    # The squared deviations are a quadratic form of the groups' sums, with the matrix 1[g = h] - p_g - p_h + `both`.
    both = float((share**2).sum())
    left = 1 - 2 * float(variance @ share) + both
    half = both / 2 - share
    twice = variance**2 @ (1 + 4 * half) + 2 * (variance @ half**2) + 2 * (variance @ half) ** 2
    return Evidence(1 / left, max(float(left**2 / twice), 1.0))


def told(values: np.ndarray, groups: np.ndarray | None) -> Evidence:
    """The `evidence` for the mean of float[n]; of float[n, k], for that whose rows are most alike."""
    return evidence(groups, len(values), alike(values, groups))


def design_effect(influence: np.ndarray, groups: np.ndarray | None) -> float:
    """By how much groups enlarge the variance of an estimate, at least 1; 1 if each row is a group of its own.

    `influence`: float[n], each row's part of the estimate's error, such as its value minus the mean. Rao and Scott
    1992, A Simple Method for the Analysis of Clustered Binary Data, Biometrics 48:577-585, and `evidence`.
    """
    rows, sizes = len(influence), np.bincount(codes(groups, len(influence)))
    if len(sizes) == rows:
        return 1.0
    centred = influence - influence.mean()
    simple = (centred**2).sum()
    if simple <= 0 or len(sizes) < 2:
        # Nothing differs, so nothing shows how alike the rows of a group are: they count as one.
        return float((sizes**2).sum() / rows)
    found = (sums(centred, groups) ** 2).sum() * told(influence, groups).inflation
    return float(np.clip(found / simple, 1.0, rows))


def effective(influence: np.ndarray, groups: np.ndarray | None) -> float:
    """How many independent rows tell as much as these n do in their groups, 1 to n."""
    return len(influence) / design_effect(influence, groups)


def reach(level: float, influence: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard errors from an estimate to each end of its two-sided interval; infinite if all rows are of one group.

    Without groups the normal distribution's, as the methods for independent rows have it, else that of `evidence`.
    """
    from scipy.stats import norm

    rows = len(influence)
    if number(groups, rows) == rows:
        return float(norm.isf(level / 2))
    return told(influence, groups).reach(level)


def sign_flips(values: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """Two-sided p-value of the sum of float[n] if each group's sum is as likely to have the other sign.

    For differences of two equal models the level holds for groups of any size. With each row a group of its own, and
    values of -1, 0 and 1, it is McNemar's test. Durkalski et al. 2003, https://doi.org/10.1002/sim.1438, compare tests
    of clustered pairs; the signs are those of Fisher 1935, The Design of Experiments, section 21.
    """
    found = sums(values, groups)
    found = found[found != 0]
    if len(found) <= EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(found))[:, None] >> np.arange(len(found))) & 1)
        observed = 0  # it is among them
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (DRAWS, len(found)), dtype=np.int8)
        observed = 1
    as_far = np.abs(signs @ found) >= abs(found.sum()) - 1e-9 * np.abs(found).sum()
    return float((as_far.sum() + observed) / (len(signs) + observed))


def counts(groups: np.ndarray | None, rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is in each resample of as many groups, drawn with replacement: float64[resamples, groups].

    The cluster bootstrap: Field and Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x.
    """
    units = number(groups, rows)
    drawn = np.random.default_rng(seed).integers(0, units, (resamples, units))
    places = drawn + units * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def quantiles(drawn: np.ndarray, confidence: float, told: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends, one-sided `confidence` each, of bootstrapped values, float[resamples, …]; infinite if so.

    Percentiles, moved outwards as Student's interval is from the normal one without its divisor of n: plain percentiles
    of few units are too narrow (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789, section 5). Further out
    than `FEWEST` resamples they go on in proportion to the normal distribution, which no end is nearer than.
    """
    from scipy.stats import norm

    middle, spread = drawn.mean(axis=0), drawn.std(axis=0)
    wide = np.sqrt(told.inflation) * told.reach(2 * (1 - confidence))
    if not np.isfinite(wide):
        return np.full_like(middle, -np.inf), np.full_like(middle, np.inf)
    near = min(wide, float(norm.isf(FEWEST / len(drawn))))
    low, high = np.quantile(drawn, [norm.sf(near), norm.cdf(near)], axis=0)
    below, above = (wide / near * np.maximum(away, near * spread) for away in (middle - low, high - middle))
    return middle - below, middle + above
