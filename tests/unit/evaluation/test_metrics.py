"""Metrics and their intervals."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from tasks.evaluation import metrics


def _scored(seed: int, skill: float, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities


def test_known_values():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = metrics.evaluate(labels, probabilities)
    assert found["accuracy"] == found["balanced_accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["roc_auc"] == 1
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.7]).mean())
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_values_are_those_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    labels = np.r_[np.arange(classes - 1), random.integers(0, classes - 1, 60), classes - 1]
    probabilities = random.dirichlet(np.ones(classes), len(labels)).round(1) + 0.01  # many are equal
    probabilities[:, -1] = random.uniform(0, 0.01, len(labels))  # one class is never predicted
    found, predicted = metrics.evaluate(labels, probabilities), probabilities.argmax(axis=1)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0.0))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    each = [roc_auc_score(labels == number, probabilities[:, number]) for number in range(classes)]
    assert found["roc_auc"] == pytest.approx(each[1] if classes == 2 else np.mean(each))


def test_a_class_without_a_test_image_leaves_the_other_areas_as_they_are():
    labels, probabilities = np.array([0, 0, 1, 1]), np.array([[0.8, 0.1], [0.4, 0.5], [0.3, 0.6], [0.2, 0.7]])
    three = np.column_stack([probabilities, [0.1, 0.1, 0.1, 0.1]])
    expected = np.mean([roc_auc_score(labels == number, probabilities[:, number]) for number in (0, 1)])
    assert metrics.evaluate(labels, three)["roc_auc"] == pytest.approx(expected)


def test_intervals_hold_the_value_and_narrow_with_more_rows():
    few, many = _scored(0, 1.0, 100), _scored(0, 1.0, 1600)
    wide, narrow = (metrics.intervals(*scored, 0, resamples=100) for scored in (few, many))
    for name, value in metrics.evaluate(*many).items():
        low, high = narrow[name]
        assert low <= high
        # Calibration error is biased upwards on a resample of few rows.
        assert name == "ece" or low <= value <= high
    assert narrow["accuracy"][1] - narrow["accuracy"][0] < wide["accuracy"][1] - wide["accuracy"][0]
    assert wide == metrics.intervals(*few, 0, resamples=100)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    truth = metrics.evaluate(*_scored(99, 1.0, 60_000))["accuracy"]
    covered = 0
    for seed in range(60):
        low, high = metrics.intervals(*_scored(seed, 1.0, 300), seed, resamples=60)["accuracy"]
        covered += low <= truth <= high
    assert covered >= 51
