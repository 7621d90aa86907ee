"""Cross-fitting: each image is answered by a model that was neither trained nor stopped on it.

What is compared is the rung as it is trained: in each fold it is fitted anew on three fifths of the images and stopped
on another fifth, as on training and validation images. Answers of all folds together have the usual standard errors
where a single image changes a model little: Bayle et al. 2020, https://arxiv.org/abs/2007.12671.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.evaluation.statistics import cross_validation

#: With fewer folds, none is left to train on.
LEAST = 3


def out_of_fold(
    labels: np.ndarray,
    groups: np.ndarray,
    turns: int,
    seed: int,
    answers: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray | None:
    """Probabilities, float[n, classes], of images int[n] in groups int[n]; None if a class has too few groups.

    `answers`: fits a model on the first images, stops it on the second, and answers the third, all positions.
    """
    folds = cross_validation.folds(labels, groups, turns, seed)
    if len(folds) < LEAST:
        return None
    found: np.ndarray | None = None
    for number, (_, judged) in enumerate(folds):
        stopping = folds[(number + 1) % len(folds)][1]
        rest = np.setdiff1d(np.arange(len(labels)), np.concatenate([judged, stopping]))
        given = answers(rest, stopping, judged)
        found = np.empty((len(labels), given.shape[1])) if found is None else found
        found[judged] = given
    return found
