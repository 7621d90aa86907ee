"""Metrics and their intervals."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm
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
    assert found["ece"] == 0  # so few rows have such gaps by chance


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
    wide, narrow = (metrics.intervals(*scored, 0) for scored in (few, many))
    for name, value in metrics.evaluate(*many).items():
        low, high = narrow[name]
        assert low <= value <= high
        assert high - low < wide[name][1] - wide[name][0]
    assert wide == metrics.intervals(*few, 0)


def _classified(seed, shares, recalls, n, each=1):
    """Labels, answers of which a share `recalls` of each class is right, and groups whose rows are right together."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), n, p=shares)
    groups = np.arange(n) // each
    together = np.sqrt(0.2) * random.normal(size=n)[groups] + np.sqrt(0.8) * random.normal(size=n)
    right = together < norm.ppf(recalls)[labels]
    said = np.where(right, labels, (labels + random.integers(1, len(shares), n)) % len(shares))
    return labels, np.where(np.eye(len(shares))[said] == 1, 0.8, 0.1), groups


@pytest.mark.parametrize(("n", "each"), [(200, 1), (650, 1), (650, 10)])
def test_intervals_cover_the_truth_as_often_as_they_say_with_a_rare_class_and_in_groups(n, each):
    shares, recalls = [0.7, 0.285, 0.015], [0.9, 0.85, 0.8]
    truth = metrics.evaluate(*_classified(0, shares, recalls, 300_000)[:2])
    names = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")
    held = dict.fromkeys(names, 0)
    for seed in range(100):
        labels, said, groups = _classified(1 + seed, shares, recalls, n, each)
        for name in names:
            low, high = metrics.interval(name, labels, said, seed, groups if each > 1 else None)
            held[name] += low <= truth[name] <= high
    assert min(held.values()) >= 89, held  # fewer of 100 come up in 1 of 100 cases


@pytest.mark.parametrize(("classes", "n", "each"), [(30, 200, 1), (100, 650, 1), (30, 1000, 20)])
def test_intervals_cover_the_truth_as_often_as_they_say_with_many_classes(classes, n, each):
    names, held = ("balanced_accuracy", "macro_f1"), {"balanced_accuracy": 0, "macro_f1": 0}
    for seed in range(100):
        labels, said, groups = _classified(1 + seed, [1 / classes] * classes, [0.95] * classes, n, each)
        for name in names:
            low, high = metrics.interval(name, labels, said, seed, groups if each > 1 else None)
            held[name] += low <= 0.95 <= high
    assert min(held.values()) >= 89, held


def test_the_macro_f1_of_few_images_is_known_to_be_too_low():
    labels, said, _ = _classified(0, [0.01] * 100, [0.8] * 100, 300)
    value = metrics.evaluate(labels, said)["macro_f1"]
    low, high = metrics.interval("macro_f1", labels, said, 0)
    assert low <= value
    assert high - value > 2 * (value - low)


def test_images_that_are_all_right_are_not_certain():
    labels = np.arange(40) % 2
    said = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc"):
        low, high = metrics.interval(name, labels, said, 0)
        assert low < 0.95
        assert high == 1
        assert metrics.interval(name, labels, said, 0, np.arange(40) // 4)[0] < low  # there are ten groups


def test_a_class_without_a_test_image_may_be_recognised_well_or_never():
    labels, said = _scored(0, 1.0, 300)
    four = np.column_stack([said, np.zeros(300)])
    for name in ("balanced_accuracy", "macro_f1", "roc_auc"):
        low, high = metrics.interval(name, labels, four, 0)
        assert low <= metrics.evaluate(labels, four)[name] <= high
        assert high - low > 0.2


def _calibrated(seed, n, sure=1.0):
    """Labels drawn from probabilities, and the same probabilities with their logits `sure` times as large."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 4))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(0, 3)
    return labels, softmax(logits * sure, axis=1)


def test_the_calibration_error_of_a_calibrated_network_may_be_none():
    assert metrics.interval("ece", *_calibrated(0, 650), 0)[0] < 0.01
    found = [metrics.evaluate(*_calibrated(seed, 200))["ece"] for seed in range(40)]
    assert np.mean(found) < 0.03  # 0.075 without the correction
    assert np.median(found) < 0.015


def test_the_calibration_error_of_an_overconfident_network_is_found():
    truth = metrics.evaluate(*_calibrated(0, 200_000, 2.0))["ece"]
    found = [metrics.evaluate(*_calibrated(1 + seed, 300, 2.0))["ece"] for seed in range(40)]
    assert np.mean(found) == pytest.approx(truth, abs=0.01)
    ends = [metrics.interval("ece", *_calibrated(1 + seed, 300, 2.0), seed) for seed in range(40)]
    assert sum(low <= truth <= high for low, high in ends) >= 34
    assert np.mean([low for low, _ in ends]) > 0.05


def test_a_log_loss_of_a_few_images_that_are_all_right_is_not_certain():
    labels = np.arange(12) % 2
    said = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    few, certain = (metrics.interval("log_loss", labels, each, 0) for each in (said, np.round(said)))
    assert few[0] < -np.log(0.9) - 0.03
    assert few[1] > -np.log(0.9) + 0.05
    assert certain[0] == 0
    assert certain[1] > 1
    assert metrics.interval("log_loss", labels[:1], said[:1], 0)[1] > 16
    # Sure and right: the interval is not all that is possible.
    low, high = metrics.interval("log_loss", np.arange(60) % 2, np.abs(np.eye(2)[np.arange(60) % 2] - 1e-5), 0)
    assert low < 1e-5 < 0.1 < high < 2


def test_a_few_sure_answers_that_are_all_right_do_not_show_that_none_is_wrong():
    def high(n, groups=None):
        sure = np.tile([0.99999, 0.00001], (n, 1))
        return metrics.interval("ece", np.zeros(n, int), sure, 0, groups)[1]

    assert high(5) > 0.4
    assert 0.1 < high(30) < 0.15
    assert high(100) < 0.05
    assert high(100, np.arange(100) // 20) > 0.4  # five groups
