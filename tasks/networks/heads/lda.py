"""Linear discriminant analysis with a shrunken covariance: the best linear head for Gaussian features, at once.

Classes have means of their own and one covariance, that of the differences from these means. With fewer images than
features its estimate is drawn towards a multiple of the identity, by as much as is best on average: Ledoit and Wolf
2004, https://doi.org/10.1016/S0047-259X(03)00096-4. No learning rate, no epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.networks import heads
from tasks.networks.heads import Examples

if TYPE_CHECKING:
    import keras


def build(feature_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """The graph before `learn`, without training images: every class is equally likely."""
    return heads.linear_graph(
        feature_shape, np.zeros((int(np.prod(feature_shape)), num_classes)), np.zeros(num_classes)
    )


def learn(examples: Examples, num_classes: int) -> keras.Model:
    """The head for the examples; logits are log posterior probabilities, up to a constant.

    A class without images is as likely as one with half an image, at the mean of all.
    """
    from sklearn.covariance import ledoit_wolf

    flat, labels = examples.everything(), examples.labels
    counts = np.bincount(labels, minlength=num_classes)
    means = heads.class_means(flat, labels, num_classes)
    apart = flat - means[labels].astype(flat.dtype)
    scale = apart.std(axis=0, dtype=np.float64)
    # A feature that differs between classes alone would decide everything.
    scale = np.where(scale > 1e-6, scale, max(float(scale.max()), 1e-6))
    apart /= scale.astype(flat.dtype)
    covariance = np.asarray(ledoit_wolf(apart, assume_centered=True)[0], np.float64) if apart.any() else np.zeros(())
    if not covariance.any():  # one image of each class: nearest class mean
        covariance = np.eye(flat.shape[1])
    covariance *= len(flat) / max(len(flat) - num_classes, 1)
    weights = np.linalg.solve(covariance, (means / scale).T) / scale[:, None]
    shares = np.log((counts + 0.5) / (counts + 0.5).sum())
    return heads.linear_graph(examples.shape, weights, shares - 0.5 * (means * weights.T).sum(axis=1))
