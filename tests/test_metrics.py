"""Metrics, intervals and gates."""

import numpy as np
import pytest

from tasks import gates, metrics
from tasks.gates import Scored


def _scored(seed: int, skill: float, n: int = 400) -> Scored:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Scored(labels, probabilities, ("a", "b", "c"))


def test_known_values():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = metrics.evaluate(labels, probabilities)
    assert found["accuracy"] == found["balanced_accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["roc_auc"] == 1
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.7]).mean())
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)


def test_intervals_hold_the_value_and_narrow_with_more_rows():
    few, many = _scored(0, 1.0, 100), _scored(0, 1.0, 1600)
    wide, narrow = (metrics.intervals(s.labels, s.probabilities, 0, resamples=100) for s in (few, many))
    for name, value in metrics.evaluate(many.labels, many.probabilities).items():
        low, high = narrow[name]
        assert low <= high
        # Calibration error is biased upwards on a resample of few rows.
        assert name == "ece" or low <= value <= high
    assert narrow["accuracy"][1] - narrow["accuracy"][0] < wide["accuracy"][1] - wide["accuracy"][0]
    assert wide == metrics.intervals(few.labels, few.probabilities, 0, resamples=100)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    truth = _scored(99, 1.0, 60_000).metric("accuracy")
    covered = 0
    for seed in range(60):
        s = _scored(seed, 1.0, 300)
        low, high = metrics.intervals(s.labels, s.probabilities, seed, resamples=60)["accuracy"]
        covered += low <= truth <= high
    assert covered >= 51


def _run(options, challenger, champion=None):
    return gates.run(options, challenger, champion)[0]


def test_absolute_thresholds():
    model = _scored(0, 1.0)
    accuracy = model.metric("accuracy")
    assert _run({"min_metric": {"at_least": {"accuracy": accuracy - 0.01}}}, model).passed
    refused = _run({"min_metric": {"at_least": {"accuracy": accuracy + 0.01}}}, model)
    assert not refused.passed
    assert "is below" in refused.reason
    assert not _run({"min_metric": {"at_most": {"log_loss": 0.01}}}, model).passed


def test_a_worse_model_does_not_replace_the_champion():
    weak, strong = _scored(0, 0.5), _scored(1, 2.0)
    assert _run({"not_worse_than_champion": {}}, weak, None).passed
    assert _run({"not_worse_than_champion": {}}, strong, weak).passed
    assert _run({"not_worse_than_champion": {}}, weak, weak).passed
    refused = _run({"not_worse_than_champion": {}}, weak, strong)
    assert not refused.passed
    assert "against the champion's" in refused.reason
    assert _run({"not_worse_than_champion": {"margin": 0.9}}, weak, strong).passed


def test_a_gate_that_cannot_be_computed_has_failed():
    model = _scored(0, 1.0)
    result = _run({"min_metric": {"at_least": {"no_such_metric": 0.1}}}, model)
    assert not result.passed
    assert "could not be computed" in result.reason
    broken = Scored(model.labels, np.full_like(model.probabilities, np.nan), model.classes)
    assert not _run({"min_metric": {"at_least": {"roc_auc": 0.0}}}, broken).passed
    assert not _run({"min_metric": {"at_most": {"log_loss": 9.0}}}, broken).passed
