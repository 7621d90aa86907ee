"""Energies of a bank of oriented filters, whole and local: what a photo's grain is, and where it changes.

Log-Gabor filters (Field 1987, https://doi.org/10.1364/JOSAA.4.002379) of eight orientations at four octaves, with the
energy of an even and an odd filter of each, as in the classification of textures (Bovik et al. 1990,
https://doi.org/10.1109/34.41384). A network trained on objects is blind to a patch of ten pixels with another grain;
the largest local energy, against the photo's own, is not. Nothing is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

OCTAVES, ORIENTATIONS = 4, 8
#: Side of a filter, pixels of its octave, and its frequency, periods a pixel.
SIDE, FREQUENCY = 11, 0.3
#: Sides of the windows in which energy is local, pixels of the photo.
WINDOWS = (5, 9, 15)
#: Below the energy of one grey level in 255.
FLOOR = 1e-7
#: Values of each part, in their order: mean energies; for each window the extremes of each filter and of each octave.
PARTS = (OCTAVES * ORIENTATIONS, *(3 * OCTAVES * ORIENTATIONS, 3 * OCTAVES) * len(WINDOWS))


def filters() -> np.ndarray:
    """Even filters, then odd ones: float32[side, side, 1, 2 x orientations], each of mean 0."""
    side = 64
    down, across = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]
    radius, angle = np.maximum(np.hypot(across, down), 1e-9), np.arctan2(down, across)
    ring = np.exp(-(np.log(radius / FREQUENCY) ** 2) / (2 * 0.55**2))
    ring[0, 0] = 0
    window = np.outer(np.hanning(SIDE + 2), np.hanning(SIDE + 2))[1:-1, 1:-1]
    found = []
    for number in range(ORIENTATIONS):
        apart = np.angle(np.exp(1j * (angle - number * np.pi / ORIENTATIONS)))
        whole = np.fft.fftshift(np.fft.ifft2(ring * np.exp(-(apart**2) / (2 * (np.pi / 10) ** 2))))
        start = side // 2 - SIDE // 2
        found.append(whole[start : start + SIDE, start : start + SIDE] * window)
    both = np.stack([*np.real(found), *np.imag(found)], axis=-1)
    return (both - both.mean(axis=(0, 1)))[:, :, None, :].astype(np.float32)


def energies(pixels: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Float pixels 0 to 255, [n, h, w, 3], to [n, sum of PARTS]. `name`: of the last layer."""
    from keras import layers, ops

    grey = ops.mean(pixels, axis=-1, keepdims=True) / 255
    # Filters do not see the mean, but where they reach over the border they see nothing there.
    grey = grey - ops.mean(grey, axis=(1, 2), keepdims=True)
    octaves = []
    for number in range(OCTAVES):
        grey = layers.AveragePooling2D(2, name=f"{name}_half_{number}")(grey) if number else grey
        octaves.append(_energy(grey, f"{name}_octave_{number}"))
    means = [ops.log(ops.mean(energy, axis=(1, 2)) + FLOOR) for energy in octaves]
    found = [ops.concatenate(means, axis=-1)]
    for side in WINDOWS:
        every = [_local(energy, side / 2**number) for number, energy in enumerate(octaves)]
        found.append(ops.concatenate([_extremes(local) for local in every], axis=-1))
        found.append(ops.concatenate([_extremes(ops.mean(local, axis=-1, keepdims=True)) for local in every], axis=-1))
    return layers.Concatenate(name=name)(found)


def _energy(grey: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Energy of each filter at each place: [n, h, w, 1] to [n, h', w', orientations]."""
    from keras import layers, ops

    # Where a photo is no larger than two filters, its border is better than no place at all.
    padding = "valid" if min(grey.shape[1:3]) > 2 * SIDE else "same"
    layer = layers.Conv2D(2 * ORIENTATIONS, SIDE, padding=padding, use_bias=False, trainable=False, name=name)
    both = layer(grey)
    layer.set_weights([filters()])
    return ops.square(both[..., :ORIENTATIONS]) + ops.square(both[..., ORIENTATIONS:])


def _local(energy: keras.KerasTensor, side: float) -> keras.KerasTensor:
    """Means over windows of this side, in places."""
    from keras import layers

    window = min(max(1, round(side)), *energy.shape[1:3])
    return layers.AveragePooling2D(window, 1)(energy) if window > 1 else energy


def _extremes(local: keras.KerasTensor) -> keras.KerasTensor:
    """Largest, smallest and deviation of the logarithm, against its mean: [n, h, w, c] to [n, 3 c]."""
    from keras import ops

    logs = ops.log(local + FLOOR)
    away = logs - ops.mean(logs, axis=(1, 2), keepdims=True)
    spread = ops.sqrt(ops.mean(ops.square(away), axis=(1, 2)) + 1e-9)
    return ops.concatenate([ops.max(away, axis=(1, 2)), ops.min(away, axis=(1, 2)), spread], axis=-1)
