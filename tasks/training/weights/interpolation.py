"""Weights between those of the frozen network and the fine-tuned one: Wortsman et al. 2022, WiSE-FT.

https://arxiv.org/abs/2109.01903. Weights in between are often better than both ends. Statistics of batch normalisation
are not between those of the ends; they can be computed again from training rows (Izmailov et al. 2018,
https://arxiv.org/abs/1803.05407, section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.features.batches import Batches
from tasks.networks import backend, freezing

if TYPE_CHECKING:
    import keras

#: A variable with its value in the frozen and in the fine-tuned network.
Moved = tuple["keras.Variable", np.ndarray, np.ndarray]
#: Shares of the fine-tuned weights that are tried; 0 and 1 are rungs of their own.
SHARES = (0.2, 0.4, 0.6, 0.8)
#: Training rows for the statistics, and the batch size.
ROWS, BATCH = 512, 64


def moved(frozen: keras.Model, tuned: keras.Model) -> list[Moved]:
    """Variables of the fine-tuned network that differ from the frozen one's, with both values."""
    pairs = [(v, w.numpy(), v.numpy()) for w, v in zip(frozen.variables, tuned.variables, strict=True)]
    return [(variable, start, end) for variable, start, end in pairs if not np.array_equal(start, end)]


def set_share(between: list[Moved], share: float) -> None:
    """Put the weights at `share`, 0 to 1, of the way from the frozen to the fine-tuned ones."""
    for variable, start, end in between:
        variable.assign(start + (end - start) * np.float32(share))


def set_statistics(model: keras.Model, values: list[np.ndarray]) -> None:
    """Set the moving mean and variance of each batch normalisation, in the order of `freezing.statistics`."""
    for variable, value in zip(freezing.statistics(model), values, strict=True):
        variable.assign(value)


def renew_statistics(model: keras.Model, rows: Batches, seed: int) -> None:
    """Set the moving mean and variance of each batch normalisation to their average over batches of the rows.

    The rows are inputs of the model. Batches are normalised as in training, all weights are unchanged.
    """
    norms, moving = freezing.norms(model), freezing.statistics(model)
    count = min(ROWS, len(rows.labels))
    chosen = np.random.default_rng(seed).permutation(len(rows.labels))[:count]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        # The statistics of one batch are those that are there after it.
        layer.trainable, layer.momentum = True, 0.0
    # Not step by step: each layer's outputs would stay in memory until the last one's are there.
    seen = backend.compiled(lambda inputs: model(inputs, training=True))
    parts = np.array_split(chosen, max(1, count // BATCH))
    total = [np.zeros(variable.shape) for variable in moving]
    for part in parts:
        seen(rows.read(np.sort(part)))
        for values, variable in zip(total, moving, strict=True):
            values += variable.numpy() / len(parts)
    for values, variable in zip(total, moving, strict=True):
        variable.assign(values)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum, layer.trainable = momentum, False
