"""Rows in groups: how much they tell, and tests that hold for them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tasks.evaluation.statistics import bootstrap, clusters, simultaneous


def hits(random, share=0.8, groups=40, each=10, alike=0.2):
    """0 or 1 for each row, and its group; a group has its own share, from a beta distribution."""
    shares = random.beta(*(part * (1 - alike) / alike for part in (share, 1 - share)), groups)
    return (random.random((groups, each)) < shares[:, None]).ravel().astype(float), np.repeat(np.arange(groups), each)


def test_rows_of_one_group_count_as_one_and_rows_alone_as_themselves():
    random = np.random.default_rng(0)
    values = random.random(50)
    assert clusters.effective(values, None) == 50
    assert clusters.effective(values, np.arange(50) * 7) == 50
    assert clusters.effective(np.repeat(values, 8), np.repeat(np.arange(50), 8)) == pytest.approx(50, rel=0.05)
    assert clusters.effective(np.ones(400), np.repeat(np.arange(50), 8)) == 50
    assert clusters.number(np.repeat(["b", "a"], 8), 16) == 2


def test_the_effective_number_is_that_of_theory():
    random = np.random.default_rng(0)
    found = [clusters.effective(*hits(random)) for _ in range(200)]
    # Kish 1965: n / (1 + (m - 1) rho)
    assert np.mean(found) == pytest.approx(400 / (1 + 9 * 0.2), rel=0.08)


def test_signs_of_single_rows_are_mcnemars_test():
    for fixed, broken in ((8, 2), (40, 20), (3, 3)):
        values = np.repeat([1.0, -1.0, 0.0], [fixed, broken, 50])
        exact = binomtest(fixed, fixed + broken).pvalue
        assert clusters.sign_flips(values, None, 0) == pytest.approx(exact, abs=0.01)
    assert clusters.sign_flips(np.zeros(9), None, 0) == 1


def test_equal_models_on_series_are_called_different_as_rarely_as_promised():
    random = np.random.default_rng(0)
    p = []
    for seed in range(300):
        ours, groups = hits(random)
        p.append(clusters.sign_flips(ours - hits(random)[0], groups, seed))
    assert np.mean(np.array(p) <= 0.05) <= 0.08
    assert np.mean(np.array(p) <= 0.5) >= 0.4


def test_an_interval_of_a_mean_knows_groups():
    random = np.random.default_rng(0)
    held, naive = [], []
    for seed in range(150):
        values, groups = hits(random)
        for found, of in ((held, groups), (naive, None)):
            low, high = bootstrap.interval(values, 0.975, seed, of)
            found.append(low <= 0.8 <= high)
    assert np.mean(held) >= 0.91
    assert np.mean(naive) <= 0.85


def test_a_gap_of_a_slice_knows_groups():
    random = np.random.default_rng(0)
    inside = np.repeat(np.arange(40) % 4 == 0, 10)[:, None]
    held = []
    for seed in range(150):
        values, groups = hits(random)
        _, low, high = simultaneous.intervals(values, inside, seed, groups)
        held.append(low[0] <= 0 <= high[0])
    assert np.mean(held) >= 0.9
