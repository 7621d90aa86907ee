"""The learning rate from a trial run: Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3.

The rate grows from step to step; the loss falls, then rises. The result is a tenth of the largest rate whose smoothed
loss is the lowest but for chance; Howard and Gugger 2020, https://arxiv.org/abs/2002.04688, take a tenth of the rate
with the lowest one. A network whose head was trained before begins near its lowest loss: then that may be any rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.features.batches import Batches
from tasks.training import fit

if TYPE_CHECKING:
    import keras

LOWEST, HIGHEST = 1e-6, 1e-1
#: Weight of the earlier losses in the smoothed loss.
SMOOTHING = 0.9
#: The smoothed loss of fewer steps is that of a few batches.
SETTLED = 10
#: The trial run ends when the smoothed loss is this many times its lowest value.
DIVERGED = 3.0


@dataclass(frozen=True)
class Found:
    """The learning rate, and the curve that it comes from."""

    rate: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]


def rate(model: keras.Model, train: Batches, plan: fit.Plan, steps: int = 80) -> Found:
    """Train for `steps` with a growing learning rate, restore the model, and evaluate the curve."""
    before = model.get_weights()
    drawn = train.random.bit_generator.state if train.random else {}
    grow = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    rates = tuple(LOWEST * grow**step for step in range(steps))
    losses = fit.losses(model, train, replace(plan, warm_up=0.0, cosine=False, ema=0.0, shares={}), rates, diverged)
    model.set_weights(before)
    if train.random:
        # How many rows were read ahead of the last step depends on the machine's load.
        train.random.bit_generator.state = drawn
    smoothed = smooth(np.array(losses))
    lowest = smoothed[SETTLED:].min(initial=smoothed[-1])
    best = int(np.flatnonzero(smoothed <= lowest + _chance(np.array(losses), smoothed))[-1])
    return Found(rates[best] / 10, rates[: len(losses)], tuple(float(loss) for loss in smoothed))


def diverged(losses: list[float]) -> bool:
    """Whether the smoothed loss is far above its lowest value; that of a single batch may be by chance."""
    smoothed = smooth(np.array(losses))
    return not np.isfinite(losses[-1]) or smoothed[-1] > DIVERGED * smoothed[min(SETTLED, len(losses) - 1) :].min()


def _chance(losses: np.ndarray, smoothed: np.ndarray) -> float:
    """Two standard errors of the smoothed loss, by the steps of the first half, which do not diverge."""
    half = len(losses) // 2
    spread = float(np.std((losses - smoothed)[:half])) if half else 0.0
    return 2 * spread * ((1 - SMOOTHING) / (1 + SMOOTHING)) ** 0.5


def smooth(losses: np.ndarray) -> np.ndarray:
    """Exponential moving average of float[n], corrected for its start at 0."""
    average, out = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        out.append(average / (1 - SMOOTHING**step))
    return np.array(out)
