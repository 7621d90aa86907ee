"""Linear discriminant analysis with a shrunken covariance: the best linear head for Gaussian features, in seconds.

Classes have means of their own and one covariance, that of the differences from these means. With fewer images than
features its estimate is drawn towards a multiple of the identity, by as much as is best on average: Ledoit and Wolf
2004, https://doi.org/10.1016/S0047-259X(03)00096-4. No learning rate, no epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.networks import heads
from tasks.networks.heads import Examples
from tasks.networks.heads._within import within

if TYPE_CHECKING:
    import keras

#: Rows that the covariance is estimated from, where the features are more.
SAMPLE = 2048


def build(feature_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """The graph before `learn`, without training images: every class is equally likely."""
    return heads.linear_graph(
        feature_shape, np.zeros((int(np.prod(feature_shape)), num_classes)), np.zeros(num_classes)
    )


def learn(examples: Examples, num_classes: int) -> keras.Model:
    """The head for the examples; logits are log posterior probabilities, up to a constant.

    A class without images is as likely as one with half an image, at the mean of all.
    """
    flat, labels = examples.everything(), examples.labels
    counts = np.bincount(labels, minlength=num_classes)
    found = within(flat, labels, num_classes, SAMPLE)
    weights, biases = found.linear(found.shrinkage)
    shares = np.log((counts + 0.5) / (counts + 0.5).sum())
    # Means of few images lie too close to them.
    freedom = max(len(flat) - num_classes, 1) / len(flat)
    return heads.linear_graph(examples.shape, freedom * weights, shares + freedom * biases)
