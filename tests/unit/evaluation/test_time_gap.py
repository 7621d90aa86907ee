"""What time changes: the gap between the newest and random older images, and its interval."""

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from tasks.evaluation import metrics, time_gap
from tasks.evaluation.time_gap import Answers


def _answers(right, wrong, groups=None, day="2026-03-01"):
    """Answers to images of two classes, of which so many are right and wrong."""
    n = right + wrong
    labels = np.arange(n) % 2
    said = np.where(np.arange(n) < right, labels, 1 - labels)
    days = np.datetime64(day) + np.arange(n).astype("timedelta64[D]")
    return Answers(labels, np.eye(2)[said] * 0.8 + 0.1, np.arange(n) if groups is None else groups, days)


@pytest.mark.parametrize(
    # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10: contrasts a, b, g and h.
    ("ours", "theirs", "expected"),
    [
        ((56, 14), (48, 32), (0.0524, 0.3339)),
        ((9, 1), (3, 7), (0.1705, 0.8090)),
        ((10, 0), (0, 20), (0.6791, 1.0)),
        ((10, 0), (0, 10), (0.6075, 1.0)),
    ],
)
def test_the_interval_of_a_gap_is_that_of_the_published_examples(ours, theirs, expected):
    ends = []
    for right, wrong in (ours, theirs):
        of = _answers(right, wrong)
        ends.append((right / (right + wrong), *metrics.interval("accuracy", of.labels, of.probabilities, 0)))
    assert time_gap.difference(*ends) == pytest.approx(expected, abs=1e-4)


def test_a_gap_is_that_of_each_metric_with_the_days_of_both():
    found = time_gap.compare(_answers(60, 40, day="2026-06-01"), _answers(90, 10, day="2025-01-01"), 0)
    assert found.gaps["accuracy"] == pytest.approx(-0.3)
    assert found.intervals["accuracy"] == pytest.approx(confint_proportions_2indep(60, 100, 90, 100, method="newcomb"))
    assert set(found.gaps) == set(found.intervals) == set(found.newest.metrics)
    assert (found.newest.first, found.newest.last) == ("2026-06-01", "2026-09-08")
    assert (found.older.images, found.older.independent, found.older.first) == (100, 100, "2025-01-01")


def test_images_of_one_series_widen_the_interval():
    alone = time_gap.compare(_answers(60, 40), _answers(90, 10), 0)
    series = np.sort(np.arange(100) % 25)
    alike = time_gap.compare(_answers(60, 40, series), _answers(90, 10, series), 0)
    (low, high), (least, most) = alone.intervals["accuracy"], alike.intervals["accuracy"]
    assert most - least > 1.5 * (high - low)
    assert alike.newest.independent == 25


def test_few_independent_images_tell_no_gap():
    few = np.arange(100) % (time_gap.LEAST - 1)
    for sides in (
        (_answers(60, 40, few), _answers(90, 10)),
        (_answers(60, 40), _answers(90, 10, few)),
        (_answers(60, 40), _answers(0, 0)),
    ):
        found = time_gap.compare(*sides, 0)
        assert not found.gaps
        assert not found.intervals
    assert found.older.images == 0


def test_a_class_of_one_time_alone_is_left_out_of_both():
    newest, older = _answers(60, 40), _answers(90, 10)
    three = np.pad(newest.probabilities, ((0, 0), (0, 1)))
    labels = np.where(np.arange(100) < 30, 2, newest.labels)
    found = time_gap.compare(
        Answers(labels, three, newest.groups, newest.days),
        Answers(older.labels, np.pad(older.probabilities, ((0, 0), (0, 1))), older.groups, older.days),
        0,
    )
    assert (found.newest.images, found.older.images) == (70, 100)
    assert found.newest.metrics["accuracy"] == pytest.approx(30 / 70)
