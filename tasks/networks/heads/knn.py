"""Nearest neighbours: the classes of the training images with the most similar features. Nothing is trained.

Wu et al. 2018, https://arxiv.org/abs/1805.01978: cosine similarity, the k nearest vote with exp(similarity /
temperature). A fast measure of frozen features; new images count without training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.networks import heads
from tasks.networks.heads import Examples
from tasks.runtime.plugins import Above0, Count

if TYPE_CHECKING:
    import keras

#: The stored images are its weights: no training can go on from it.
TRAINABLE = False
#: Added to each class's votes, so that their logarithm is finite.
FLOOR = 1e-4


def build(
    feature_shape: tuple[int, ...], num_classes: int, *, k: Count = 20, temperature: Above0 = 0.07
) -> keras.Model:
    """The graph before `learn`, without training images: every class is equally likely."""
    uniform = np.full((k, num_classes), 1 / num_classes, np.float32)
    return _graph(feature_shape, np.zeros((k, int(np.prod(feature_shape))), np.float32), uniform, k, temperature)


def learn(examples: Examples, num_classes: int, *, k: Count = 20, temperature: Above0 = 0.07) -> keras.Model:
    """The head that stores the examples; logits are logarithms of the votes' shares."""
    flat = examples.everything()
    directions = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    votes = np.eye(num_classes, dtype=np.float32)[examples.labels]
    return _graph(examples.shape, directions, votes, k, temperature)


def _graph(
    feature_shape: tuple[int, ...], directions: np.ndarray, votes: np.ndarray, k: int, temperature: float
) -> keras.Model:
    import keras
    from keras import layers, ops

    features, x = heads.flat_input(feature_shape)
    memory = layers.Dense(len(directions), use_bias=False, name="similarities")
    similarity, nearest = ops.top_k(memory(layers.UnitNormalization(name="direction")(x)), min(k, len(directions)))
    shares = layers.Softmax(name="shares")(similarity / temperature)
    table = layers.Embedding(*votes.shape, name="votes")
    vote = ops.sum(table(nearest) * ops.expand_dims(shares, -1), axis=1)
    logits = layers.Activation("linear", name="logits")(ops.log(vote + FLOOR))
    memory.set_weights([directions.T])
    table.set_weights([votes])
    head = keras.Model(features, logits, name="head")
    head.trainable = False
    return head
