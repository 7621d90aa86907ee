"""Calibration: what is read off some images holds on others, in the graph as in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_networks
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from tasks.evaluation import calibration, calibration_check
from tasks.networks import ensembles, files
from tasks.records import CalibrationTerms
from tasks.serving import calibrated


def _answers(images, seed, sure=2.0):
    """Labels drawn from probabilities, and the same probabilities with their logits `sure` times as large."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (images, 4))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < random.random((images, 1))).sum(axis=1).clip(0, 3)
    return labels, softmax(logits * sure, axis=1)


def test_the_temperature_is_what_logits_were_too_large_by():
    assert calibration.temperature(*_answers(4000, 0)) == pytest.approx(2.0, rel=0.06)
    assert calibration.temperature(*_answers(4000, 1, 0.5)) == pytest.approx(0.5, rel=0.06)
    _, probabilities = _answers(50, 2)
    np.testing.assert_allclose(calibration.tempered(calibration.tempered(probabilities, 2.0), 0.5), probabilities)


def test_few_images_that_are_all_right_leave_the_temperature_near_one():
    labels = np.arange(9) % 3
    sure = np.where(np.eye(3)[labels] == 1, 0.98, 0.01)
    assert 0.5 < calibration.temperature(labels, sure) < 1.0


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_label_as_often_as_was_asked_for_in_every_class(coverage):
    labels, probabilities = _answers(2000, 0)
    fond = np.array([2, 0, 0, -1])  # too fond of the first class
    probabilities = softmax(np.log(probabilities) + fond, axis=1)
    thresholds = calibration.set_thresholds(labels, probabilities, coverage)
    fresh, said = _answers(20_000, 1)
    held = calibration.sets(softmax(np.log(said) + fond, axis=1), thresholds)
    inside = held[np.arange(len(fresh)), fresh]
    for label in (1, 2, 3):
        assert inside[fresh == label].mean() == pytest.approx(coverage, abs=0.03)
    assert inside[fresh == 0].mean() >= coverage - 0.03  # the likeliest class is always in the set
    assert held.any(axis=1).all()
    assert not held.all()


def _three(random, labels):
    """Probabilities for labels of three classes, the last of which is hard to recognise."""
    logits = random.normal(0, 1, (len(labels), 3)) + np.eye(3)[labels] * np.array([3, 3, 0.5])[labels][:, None]
    return softmax(logits, axis=1)


def test_a_class_of_five_images_is_held_as_often_as_was_asked_for():
    held = []
    for seed in range(50):
        random = np.random.default_rng(seed)
        labels, fresh = np.repeat(np.arange(3), (60, 30, 5)), np.full(500, 2)
        thresholds = calibration.set_thresholds(labels, _three(random, labels), 0.9)
        held.append(calibration.sets(_three(random, fresh), thresholds)[:, 2].mean())
    assert np.mean(held) >= 0.88


def test_a_class_is_in_every_set_until_nine_independent_images_give_it_a_threshold():
    labels, random = np.repeat([0, 1], (100, 9)), np.random.default_rng(0)
    said = random.dirichlet([2, 2], 109)
    assert calibration.set_thresholds(labels, said, 0.9)[1] == pytest.approx(said[100:, 1].min(), abs=1e-5)
    assert calibration.set_thresholds(labels[:-1], said[:-1], 0.9)[1] == 0
    series = np.arange(109)
    series[-1] = series[-2]  # two photos of one cell
    assert calibration.set_thresholds(labels, said, 0.9, series)[1] == 0
    terms = CalibrationTerms(1.0, (0.3, 0.0), 0.9, None, 0.95, 5, 0.1, 0.05)
    few, silent = calibration.notes(labels, terms, ("a", "b"), series)
    assert "fewer than 9: b (8)." in few
    assert "on 108 independent validation images" in silent
    assert not calibration.notes(labels, replace(terms, sure_from=0.9), ("a", "b"), None)


def test_sets_hold_the_label_for_photos_of_cells_that_were_not_seen():
    held, naive = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        shared = np.repeat(random.normal(0, 1, 12), 10) + 0.5 * random.normal(0, 1, 120)
        own = 1 / (1 + np.exp(-shared))
        said, groups = np.column_stack([own, 1 - own]), np.repeat(np.arange(12), 10)
        new = 1 / (1 + np.exp(-np.sqrt(1.25) * random.normal(0, 1, 500)))
        for found, of in ((held, groups), (naive, None)):
            threshold = calibration.set_thresholds(np.zeros(120, int), said, 0.9, of)[0]
            found.append((new >= threshold).mean())
    assert np.mean(held) >= 0.89
    assert np.mean(naive) < np.mean(held)


def test_too_few_images_promise_nothing_so_that_every_class_is_in_the_set():
    labels, probabilities = _answers(8, 0)
    assert calibration.sets(probabilities, calibration.set_thresholds(labels, probabilities, 0.9)).all()


def test_answers_that_are_not_abstained_from_are_as_precise_as_was_asked_for():
    fresh, said = _answers(20_000, 99)
    missed, silent, given = 0, 0, 0.0
    for seed in range(100):
        threshold = calibration.surest(*_answers(800, seed), 0.8)
        silent += threshold is None
        if threshold is None:
            continue
        answered = said.max(axis=1) >= threshold
        given += answered.mean() / 100
        missed += (said.argmax(axis=1) == fresh)[answered].mean() < 0.8
    # At most one in ten may miss; 19 of 100 would be seen once in 500 times.
    assert missed < 19
    assert silent < 20
    assert 0.3 < given < 0.65


def test_a_precision_that_is_not_shown_is_not_promised():
    labels = np.arange(100) % 2
    right = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    assert calibration.fewest(0.95) == 45
    assert calibration.surest(labels[:44], right[:44], 0.95) is None
    assert calibration.surest(labels[:45], right[:45], 0.95) == pytest.approx(0.9, abs=1e-5)
    assert calibration.surest(labels, right[:, ::-1], 0.95) is None
    assert calibration.surest(labels, right, 0.95, np.arange(100) // 10) is None  # ten photos of each cell
    # Of equal confidences, as a vote of neighbours gives them, all are answered or none.
    threshold = calibration.surest(np.zeros(100, int), np.tile([0.75, 0.25], (100, 1)), 0.95)
    assert threshold is not None
    assert np.float32(0.75) >= threshold


def test_abstention_keeps_its_precision_where_few_answers_are_sure():
    missed = 0
    for seed in range(60):
        threshold = calibration.surest(*_answers(390, seed, 1.0), 0.95)
        fresh, said = _answers(4000, 1000 + seed, 1.0)
        answered = said.max(axis=1) >= (2.0 if threshold is None else threshold)
        missed += bool(answered.any() and (said.argmax(axis=1) == fresh)[answered].mean() < 0.95)
    assert missed <= 12


def test_distances_are_those_of_another_library_and_alarms_as_rare_as_was_asked_for():
    random = np.random.default_rng(0)
    reference, others = random.normal(1, 1, (200, 8)), random.normal(1, 1, (300, 8))
    found = calibration.distances(others, reference, 5)
    wanted = NearestNeighbors(n_neighbors=5, metric="cosine").fit(reference).kneighbors(others)[0][:, -1]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    limit = calibration.limit(found, 0.05)
    assert (found > limit).mean() <= 0.05
    assert (calibration.distances(random.normal(1, 1, (2000, 8)), reference, 5) > limit).mean() < 0.09
    assert (calibration.distances(random.normal(-1, 1, (300, 8)), reference, 5) > limit).mean() > 0.9


def _averaged():
    return ensembles.averaged(
        {"one": tiny_networks.classifier(), "other": tiny_networks.classifier(seed=1)}, ("identity", "flip_left_right")
    )


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize(
    "make",
    [tiny_networks.classifier, lambda: tiny_networks.classifier("none"), _averaged],
    ids=["vector", "map", "mean"],
)
def test_the_packed_network_says_what_the_functions_say_also_from_a_file(make, tmp_path):
    network = make()
    found, apart = tiny_networks.calibration_of(network, tmp_path)
    packed = files.load(tmp_path / files.save(calibrated.with_calibration(network, found), tmp_path))
    said = {name: np.asarray(value) for name, value in packed(PIXELS).items()}
    raw = np.asarray(network(PIXELS))
    np.testing.assert_allclose(said["probabilities"], calibration.tempered(raw, 1.7), atol=1e-5)
    np.testing.assert_allclose(said["novelty"], apart / found.terms.limit, atol=2e-3)
    assert np.ptp(apart) > 0


def test_how_it_held_is_counted_on_the_images_that_are_given():
    labels = np.array([0, 0, 1, 1])
    said = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    terms = CalibrationTerms(1.0, (0.35, 0.35), 0.9, 0.65, 0.95, 5, 0.1, 0.05)
    found = calibration_check.judge(labels, said, np.array([0.5, 1.5, 0.2, 1.0]), terms, ("a", "b"))
    assert (found.coverage.value, found.set_size, found.novel) == (0.75, 1.25, 0.25)
    assert [(each.name, each.images, each.value) for each in found.classes] == [("a", 2, 1.0), ("b", 2, 0.5)]
    assert (found.answered, found.precision) == (0.75, pytest.approx(2 / 3))
    assert calibration_check.judge(labels, said, None, terms, ("a", "b")).novel is None
    none = calibration_check.judge(
        labels, said, None, CalibrationTerms(1.0, (0.35, 0.35), 0.9, None, 0.95, 5, 0.1, 0.05), ("a", "b")
    )
    assert (none.answered, none.precision, none.precision_interval) == (None, None, (0.0, 1.0))
    assert not {"answered", "answered_precision"} & set(none.numbers)
