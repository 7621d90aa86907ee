"""Heads: in cross-fitting none answers what it has seen."""

import numpy as np
import pytest

from tasks.settings import Ladder
from tasks.training.heads import head_fitting


def test_no_image_is_answered_by_a_model_that_has_seen_it_or_one_like_it():
    random = np.random.default_rng(0)
    groups = np.arange(60) // 3
    labels = random.integers(0, 2, 20)[groups]
    seen = []

    def answers(train, stopping, judged):
        parts = [set(groups[each]) for each in (train, stopping, judged)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert len(train) + len(stopping) + len(judged) == 60
        assert set(labels[train]) == {0, 1}
        seen.extend(judged)
        return np.tile(judged[:, None], 2)

    found = head_fitting.out_of_fold(labels, groups, 5, 0, answers)
    assert sorted(seen) == list(range(60))
    np.testing.assert_array_equal(found[:, 0], np.arange(60))


def test_a_class_with_two_groups_has_too_few_to_cross_fit():
    labels, groups = np.array([0] * 8 + [1] * 4), np.r_[np.arange(8), 8, 8, 9, 9]
    assert head_fitting.out_of_fold(labels, groups, 5, 0, lambda *_: np.zeros((1, 2))) is None


def test_few_images_are_cross_fitted_and_many_are_not():
    few, many = {"train": 80, "validation": 20, "test": 999}, {"train": 900, "validation": 200, "test": 9}
    assert (Ladder().turns(few), Ladder().turns(many), Ladder(folds_below=0).turns(few)) == (5, 0, 0)


@pytest.mark.parametrize("wide", [False, True])
def test_a_new_class_is_learnt_and_the_others_are_not_forgotten(wide):
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 400 if wide else 8)) * (0.3 if wide else 2)
    labels = np.repeat(np.arange(3), 40)

    def drawn():
        return (random.normal(size=(120, centres.shape[1])) + centres[labels]).astype(np.float32)

    known = np.stack([centres[0], centres[1], np.zeros_like(centres[0])], axis=1)
    known[:, :2] -= known[:, :2].mean(axis=1, keepdims=True)
    rows = drawn()
    wide_head = head_fitting.Widened(rows, rows @ known, labels, np.ones(120), np.arange(120))
    kernel, biases = wide_head.correction()
    new = drawn()
    right = (new @ (known + kernel) + biases).argmax(axis=1) == labels
    assert (kernel.dtype, biases.dtype) == (np.float32, np.float32)
    assert all(right[labels == at].mean() > 0.9 for at in range(3))
    assert ((new @ known).argmax(axis=1) == labels)[labels == 2].mean() < 0.9
    # Rows that the head is right and sure about change little.
    sure = head_fitting.Widened(rows, 50 * np.eye(3)[labels], labels, np.ones(120), np.arange(120))
    assert np.abs(sure.correction()[0]).max() < 1e-3


def test_in_a_head_of_directions_a_new_class_is_its_mean():
    rows, labels = np.array([[3.0, 0], [1, 0], [0, 2]]), np.array([1, 1, 0])
    wide = head_fitting.Widened(rows, np.zeros((3, 2)), labels, np.ones(3), np.arange(3))
    np.testing.assert_allclose(wide.directions(np.array([False, True])), [[1], [0]])
