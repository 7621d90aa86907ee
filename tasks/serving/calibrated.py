"""The network of a version: as it was trained, with its temperature and its distance from training images built in."""

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
    """From the network's input to `probabilities`, float32[n, classes], at the temperature, and `novelty`, float32[n].

    `network`: a classifier, or the part of one above its features. Novelty is 1 at the limit; there is none where the
    calibration has no features of training images.
    """
    import keras

    terms = calibration.terms
    logits = keras.ops.log(keras.ops.maximum(keras.ops.cast(network.output, "float32"), FLOOR))
    calm = keras.layers.Softmax(name="calibrated", dtype="float32")(logits / terms.temperature)
    outputs = {PROBABILITIES: calm}
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


def joined(said: keras.Model) -> keras.Model:
    """The same network with all that it says in one vector: probabilities, then novelty where it has it."""
    import keras

    vector = said.output[PROBABILITIES]
    if NOVELTY in said.output:
        vector = keras.ops.concatenate([vector, said.output[NOVELTY][:, None]], axis=1)
    return keras.Model(said.input, vector, name="joined")


def parted(vectors: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """What `joined` gives, as probabilities float64[n, classes] and novelty float64[n]."""
    values = vectors.astype(np.float64)
    return values[:, :classes], values[:, classes] if values.shape[1] > classes else None
