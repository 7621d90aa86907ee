"""Heads: in cross-fitting none answers what it has seen."""

import numpy as np

from tasks.settings import Ladder
from tasks.training import head_fitting


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
