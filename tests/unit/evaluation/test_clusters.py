"""Rows in groups: how much they tell, and tests that hold for them."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from tasks.evaluation import metrics
from tasks.evaluation.statistics import bootstrap, clusters, proportions, simultaneous


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


def unequal(random, sizes, alike=0.25):
    """Standard normal values in groups of such sizes, and the groups."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    own = np.sqrt(1 - alike) * random.normal(size=len(groups))
    return np.sqrt(alike) * random.normal(size=len(sizes))[groups] + own, groups


def test_equal_groups_have_as_many_degrees_of_freedom_as_their_number_less_one_and_unequal_ones_have_fewer():
    for alike in (0.0, 0.3, 1.0):
        equal = clusters.evidence(np.arange(60) // 6, 60, alike)
        assert (equal.freedom, equal.inflation) == pytest.approx((9, 10 / 9))
    one_large = np.repeat(np.arange(50), [300, *[4] * 49])
    assert clusters.evidence(one_large, 496, 0.25).freedom < 1.5
    assert clusters.evidence(one_large, 496, 0.0).freedom > clusters.evidence(one_large, 496, 0.25).freedom
    assert clusters.evidence(np.zeros(9), 9, 0.5).reach(0.05) == np.inf
    assert clusters.reach(0.05, np.ones(9), None) == pytest.approx(1.96, abs=1e-3)


def test_how_alike_the_rows_of_a_group_are():
    random = np.random.default_rng(0)
    found = [clusters.alike(*unequal(random, random.integers(1, 30, 60))) for _ in range(100)]
    assert np.mean(found) == pytest.approx(0.25, abs=0.03)
    assert clusters.alike(np.repeat([0.0, 1.0, 2.0], 4), np.repeat(np.arange(3), 4)) == 1
    assert clusters.alike(np.zeros(12), np.repeat(np.arange(3), 4)) == 1


@pytest.mark.parametrize("sizes", [[300] + [4] * 49, [90, 60, 30] + [3] * 40, [25] * 3, [10, 20]])
def test_intervals_hold_with_unequal_and_with_few_groups(sizes):
    random = np.random.default_rng(0)
    missed = {"bootstrap": 0, "student": 0, "wilson": 0}
    for seed in range(100):
        values, groups = unequal(random, sizes)
        ends = {
            "bootstrap": bootstrap.interval(values, 0.975, seed, groups),
            "student": bootstrap.student(values, 0.975, groups),
            "wilson": np.array(proportions.wilson(values < 1, groups)) - norm.cdf(1),
        }
        for name, (low, high) in ends.items():
            missed[name] += not low <= 0 <= high
    assert max(missed.values()) <= 11, missed  # more of 100 come up in 1 of 200 cases


def test_one_row_or_one_group_shows_nothing():
    values, one = np.random.default_rng(0).normal(1, 0.1, 40), np.zeros(40)
    for low, high in (
        bootstrap.interval(values, 0.975, 0, one),
        bootstrap.student(values, 0.975, one),
        bootstrap.interval(values[:1], 0.975, 0),
    ):
        assert (low, high) == (-bootstrap.MOST, bootstrap.MOST)
    assert proportions.wilson(np.ones(40), one) == proportions.exact(np.ones(40), one, 0.05) == (0, 1)
    assert proportions.counted(np.ones(40), one, 0.05) == (0, 0)
    labels, said = np.arange(40) % 2, np.tile([0.6, 0.4], (40, 1))
    for name, (low, high) in metrics.intervals(labels, said, 0, one).items():
        assert (low, high) == (0, bootstrap.MOST if name == "log_loss" else 1)


def test_intervals_go_on_widening_beyond_what_the_resamples_show():
    drawn, told = np.random.default_rng(0).normal(size=2000), clusters.Evidence(1.0, 10_000)
    levels = (0.025, 1e-3, 1e-4, 1e-5, 1e-6)
    for level in levels:
        low, high = clusters.quantiles(drawn, 1 - level, told)
        assert (-low, high) == pytest.approx([norm.isf(level)] * 2, rel=0.1)
