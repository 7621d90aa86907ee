"""The choice among models, as the ladder makes it."""

import numpy as np
import pytest

from tasks.evaluation import calibration, metrics, model_choice
from tasks.evaluation.statistics import bootstrap, resampled


def soft(labels, losses):
    """Probabilities of two classes that have these losses, nats."""
    right = np.exp(-losses)[:, None]
    return np.where(np.eye(2)[labels] == 1, right, 1 - right)


def chosen(labels, each, metric="log_loss", groups=None, seed=0):
    return model_choice.cheapest(model_choice.compared(labels, each, metric, 0.95, seed, groups))


@pytest.mark.parametrize("each", [1, 20])
def test_of_five_equal_rungs_the_cheapest_is_shipped(each):
    groups = None if each == 1 else np.arange(400) // each
    dearer = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        labels, shared = random.integers(0, 2, 400), random.exponential(0.35, 400)
        own = np.sqrt(0.9) * random.normal(size=(5, 400))
        own += np.sqrt(0.1) * random.normal(size=(5, 400 // each))[:, np.arange(400) // each]
        rungs = [soft(labels, shared * np.exp(0.35 * noise)) for noise in own]
        dearer += chosen(labels, rungs, groups=groups, seed=seed) > 0
    assert dearer / 200 <= 0.08


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc"])
def test_a_rung_that_is_better_is_taken(metric):
    random = np.random.default_rng(0)
    labels, hard = random.integers(0, 2, 600), random.normal(1, 1, 600)
    margins = [hard + shift + 0.5 * random.normal(size=600) for shift in (0, 0.8, 0.8)]
    each = [soft(labels, np.log1p(np.exp(-margin))) for margin in margins]
    found = model_choice.compared(labels, each, metric, 0.95, 0)
    assert model_choice.cheapest(found) == 1
    assert found[0].gap_interval[0] > 0 >= found[1].gap_interval[0]
    assert found[0].interval[0] < found[0].value < found[0].interval[1]
    assert min(found[1].gap, found[2].gap) < 0 < found[0].gap


def test_a_rung_is_not_shipped_because_another_was_too_sure_of_itself():
    """The same answers, far too confident: temperature scaling makes them equal, so the cheaper is shipped."""
    random = np.random.default_rng(0)
    modest = random.dirichlet(np.ones(3), 300)
    labels = (modest.cumsum(axis=1) < random.random((300, 1))).sum(axis=1).clip(0, 2)
    sure = calibration.tempered(modest, 0.3)
    assert bootstrap.losses(labels, sure).mean() > 1.5 * bootstrap.losses(labels, modest).mean()
    assert chosen(labels, [sure, modest]) == 0


def test_no_temperature_has_seen_the_label_that_it_is_judged_by():
    random = np.random.default_rng(0)
    labels, groups = random.integers(0, 2, 40), np.arange(40) // 8
    probabilities = random.dirichlet(np.ones(2), 40)
    before = model_choice.tempered(labels, probabilities, 0, groups)
    other = np.where(groups == 2, 1 - labels, labels)
    after = model_choice.tempered(other, probabilities, 0, groups)
    np.testing.assert_array_equal(before[groups == 2], after[groups == 2])
    assert not np.allclose(before, after)


def test_models_are_compared_on_the_rows_that_both_predict():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    good, bad = soft(labels, np.full(200, 0.1)), soft(labels, random.exponential(1.0, 200))
    part = good.copy()
    part[50:] = np.nan
    mixed = np.concatenate([good[:50], bad[50:]])
    assert chosen(labels, [mixed, part], "accuracy") == 0
    assert chosen(labels, [bad, part], "accuracy") == 1


def test_two_units_show_nothing():
    labels = np.array([0, 1] * 10)
    rungs = [soft(labels, np.full(20, 2.0)), soft(labels, np.full(20, 0.1))]
    assert chosen(labels, rungs, "accuracy") == 1
    assert chosen(labels, rungs, "accuracy", groups=np.arange(20) // 10) == 0
    assert chosen(labels, rungs[:1]) == 0


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_of_resamples_are_those_of_their_rows(classes):
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 120)
    probabilities = random.dirichlet(np.ones(classes), 120) * 0.5 + 0.5 * np.eye(classes)[labels]
    drawn = resampled.Drawn(labels, 0)
    for metric in ("log_loss", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc"):
        value, values = drawn.score(metric, probabilities, np.ones(120, bool))
        assert value == pytest.approx(metrics.evaluate(labels, probabilities)[metric])
        rows = np.repeat(np.arange(120), drawn.counts[0].astype(int))
        # The area is exact to first order.
        near = 0.01 if metric == "roc_auc" else 1e-9
        assert values[0] == pytest.approx(metrics.evaluate(labels[rows], probabilities[rows])[metric], abs=near)


def test_having_tried_many_variants_does_not_flatter_the_best():
    """Ten that only guess: the best of them looks better than it is, its answers to the other half do not."""
    gained = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 2, 60)
        each = [soft(labels, np.log1p(np.exp(random.normal(0, 1, 60)))) for _ in range(10)]
        best, answers = model_choice.variants(labels, each, seed)
        right = [bootstrap.correct(labels, some).mean() for some in (each[best], answers)]
        gained.append(right)
    flattered, honest = np.mean(gained, axis=0)
    assert flattered > 0.55
    assert abs(honest - 0.5) < 0.03


def test_the_pareto_front_has_what_no_other_model_beats_in_everything():
    each = [
        [0.9, -5, -10],  # the fastest
        [0.9, -6, -10],  # as good, slower
        [0.95, -9, -20],
        [0.95, -9, -20],  # the same again
        [0.94, -9, -20],
        [0.99, np.nan, -1],
        [0.5, -50, -1],  # the smallest that is known
    ]
    assert model_choice.front(np.array(each)).tolist() == [True, False, True, True, False, False, True]
    assert model_choice.front(np.array(each[:1])).tolist() == [True]
    assert model_choice.front(np.empty((0, 3))).tolist() == []


def test_old_classes_are_judged_together_and_each_alone():
    labels = np.repeat(np.arange(3), 40)
    old, new = np.eye(3)[labels], np.eye(3)[labels]
    assert model_choice.on_old_classes(labels, (new, old), "abc")[1] == ""
    new[:12] = np.eye(3)[1]  # 30 % of class a
    gain, worse = model_choice.on_old_classes(labels, (new, old), "abc")
    assert gain.value == -0.1
    assert "all of them -10.00%" in worse and "a -30.00%" in worse and "b " not in worse
    assert model_choice.on_old_classes(labels, (old, new), "abc")[1] == ""
    # Twelve photos of one group are one.
    groups = np.r_[np.zeros(12, int), np.arange(1, 109)]
    assert model_choice.on_old_classes(labels, (new, old), "abc", groups)[1] == ""
