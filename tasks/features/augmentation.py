"""Random changes of pixels, drawn anew each time a photo is seen, by Keras' own layers.

Cut out and enlarged, turned, RandAugment (Cubuk et al. 2020, https://arxiv.org/abs/1909.13719), random erasing (Zhong
et al. 2020, https://arxiv.org/abs/1708.04896), MixUp (Zhang et al. 2018, https://arxiv.org/abs/1710.09412), CutMix
(Yun et al. 2019, https://arxiv.org/abs/1905.04899).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.features.batches import Batches

if TYPE_CHECKING:
    import keras

    from tasks.settings import Augment

#: Pixels have this range.
RANGE = (0, 255)
#: Parts of a photo that erasing takes away.
ERASED = (0.02, 0.2)


def augmented(batches: Batches, settings: Augment, seed: int, classes: int) -> Batches:
    """The rows, float32 0 to 255, each time changed at random as the settings say; unchanged where they say nothing.

    Labels int[n] become shares of the classes where photos are mixed. What is drawn comes from one generator, which the
    rows carry, so that a training that was killed goes on with the same changes.
    """
    alone, together = _alone(settings), _together(settings)
    random = batches.random or np.random.default_rng([seed, 2])
    if alone:
        batches = replace(batches, read=_changed(batches, alone, random), random=random)
    if together:
        shares = np.eye(classes, dtype=np.float32)[batches.labels]
        batches = replace(batches, labels=shares, mix=_mixed(together, random), random=random)
    return batches


def _alone(settings: Augment) -> list[keras.layers.Layer]:
    """Layers that change each photo by itself."""
    from keras import layers

    found: list[keras.layers.Layer] = []
    if settings.crop:
        # In, and aside by as much as that leaves out at most: a part of the photo, enlarged.
        found.append(layers.RandomZoom((-settings.crop, 0.0)))
        found.append(layers.RandomTranslation(settings.crop / 2, settings.crop / 2))
    if settings.turn:
        found.append(layers.RandomRotation(settings.turn / 360))
    if settings.rand_augment:
        found.append(layers.RandAugment(value_range=RANGE, factor=settings.rand_augment))
    if settings.erase:
        found.append(layers.RandomErasing(factor=settings.erase, scale=ERASED, value_range=RANGE))
    return found


def _together(settings: Augment) -> list[keras.layers.Layer]:
    """Layers that mix photos and their labels."""
    from keras import layers

    found: list[keras.layers.Layer] = []
    if settings.mix_up:
        found.append(layers.MixUp(alpha=settings.mix_up))
    if settings.cut_mix:
        found.append(layers.CutMix(factor=settings.cut_mix))
    return found


def _changed(
    batches: Batches, layers: list[keras.layers.Layer], random: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    def read(positions: np.ndarray) -> np.ndarray:
        pixels = batches.read(positions)
        for layer in layers:
            _seed(layer, random)
            pixels = layer(pixels, training=True)
        return np.asarray(pixels, np.float32).clip(*RANGE)

    return read


def _mixed(
    layers: list[keras.layers.Layer], random: np.random.Generator
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def mix(pixels: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        layer = layers[int(random.integers(len(layers)))]
        _seed(layer, random)
        found = layer({"images": pixels, "labels": shares}, training=True)
        return np.asarray(found["images"], np.float32), np.asarray(found["labels"], np.float32)

    return mix


def _seed(layer: keras.layers.Layer, random: np.random.Generator) -> None:
    """Let the layer, and those inside it, draw from here on as the generator says."""
    for variable in layer.variables:
        if "seed_generator" in variable.path:
            variable.assign(random.integers(0, 2**31, 2))
