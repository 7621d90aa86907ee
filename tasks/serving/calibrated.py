"""The network of a version: the trained network with temperature and novelty built in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.calibration import FLOOR, unit
from tasks.networks import cutting
from tasks.runtime.home import home

if TYPE_CHECKING:
    import keras

    from tasks.records import CalibrationRef

PROBABILITIES, NOVELTY = "probabilities", "novelty"


def with_calibration(network: keras.Model, calibration: CalibrationRef) -> keras.Model:
    """From the network's input to calibrated `probabilities`, float32[n, classes], and `novelty`, float32[n].

    `network`: a classifier, or the part of one above its features. Novelty is 1 at the limit; there is none if the
    calibration has no features of training images.
    """
    import keras

    terms = calibration.terms
    logits = keras.ops.log(keras.ops.maximum(keras.ops.cast(network.output, "float32"), FLOOR))
    probabilities = keras.layers.Softmax(name="calibrated", dtype="float32")(logits / terms.temperature)
    outputs = {PROBABILITIES: probabilities}
    features = cutting.features_of(network)
    if features is not None and calibration.reference and terms.limit is not None:
        reference = np.load(home() / calibration.reference, allow_pickle=False)
        vectors = keras.ops.cast(features, "float32")
        if len(features.shape) > 2:
            vectors = keras.ops.mean(vectors, axis=tuple(range(1, len(features.shape) - 1)))
        near = keras.layers.Dense(len(reference), use_bias=False, name="reference", dtype="float32")
        nearness = near(keras.layers.UnitNormalization(name="unit", dtype="float32")(vectors))
        near.set_weights([unit(reference).T])
        nearest, _ = keras.ops.top_k(nearness, min(terms.neighbours, len(reference)))
        outputs[NOVELTY] = (1 - nearest[:, -1]) / terms.limit
    return keras.Model(network.input, outputs, name="version")


def joined(network: keras.Model) -> keras.Model:
    """The same network with all outputs in one vector: probabilities, then novelty if it has it."""
    import keras

    vector = network.output[PROBABILITIES]
    if NOVELTY in network.output:
        vector = keras.ops.concatenate([vector, network.output[NOVELTY][:, None]], axis=1)
    return keras.Model(network.input, vector, name="joined")


def parted(vectors: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The output of `joined` as probabilities, float64[n, classes], and novelty, float64[n]."""
    values = vectors.astype(np.float64)
    return values[:, :classes], values[:, classes] if values.shape[1] > classes else None
