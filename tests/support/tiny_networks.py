"""A classifier of three layers, its calibration as a run would find it, and a backbone of three layers."""

import numpy as np

from tasks.evaluation import calibration
from tasks.networks import backend, classifiers, cutting
from tasks.records import CalibrationRef, CalibrationTerms
from tasks.runtime import plugins
from tasks.training import fit

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("float32")


def classifier(pooling="avg", seed=0):
    import keras

    fit.seed_everything(seed)
    pixels = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(6, 3, 4, activation="relu", name="block")(keras.layers.Rescaling(1 / 255)(pixels))
    vector = maps if pooling == "none" else keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    features = keras.Model(pixels, vector, name="features")
    head = "flatten_mlp" if pooling == "none" else "linear"
    network = classifiers.classifier(features, plugins.entry("heads", head)(features.output_shape[1:], 3))
    random = np.random.default_rng(seed)
    layer = network.get_layer("head")
    layer.set_weights([random.normal(size=weights.shape) for weights in layer.get_weights()])
    return network


def backbone(file):
    """A file with a network of three layers that can be cut; its path."""
    import keras

    backend.seed(0)
    layers = [keras.Input((32, 32, 3))]
    for _ in range(3):
        layers += [keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu"), keras.layers.BatchNormalization()]
    keras.Sequential(layers).save(file)
    return file


def calibration_of(network, folder):
    """CalibrationTerms as a run would find them, with the features of 30 of the images."""
    import keras

    tensor = cutting.features_of(network)
    features = np.asarray(keras.Model(network.input, tensor)(PIXELS))
    features = features.reshape(len(features), -1, features.shape[-1]).mean(axis=1)
    np.save(folder / "reference.npy", features[:30])
    apart = calibration.distances(features, features[:30], 3)
    return calibrated(str(folder / "reference.npy"), calibration.limit(apart[30:], 0.1)), apart


def calibrated(reference, limit=0.1):
    """A calibration for three classes, with the features in the file `reference`."""
    terms = CalibrationTerms(1.7, (0.35, 0.35, 0.35), 0.9, 0.42, 0.95, 3, limit, 0.1)
    return CalibrationRef("c", terms, reference, 10, (1, 1), (0, 0), 0.5, 0.1, (4, 3, 3))
