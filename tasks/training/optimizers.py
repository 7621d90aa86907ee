"""Learning rates: rising, then falling over the steps; lower for blocks closer to the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def optimizer(
    learning_rate: Callable[[float], float | keras.optimizers.schedules.LearningRateSchedule],
    shares: Mapping[str, float],
    weight_decay: float,
    clip_norm: float,
    ema: float,
) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101).

    `learning_rate` gives a share of it, 0 to 1. `shares`: a variable's share by its path; empty: all have the full one.
    Gradients of variables with the same share are clipped together. `ema`: momentum of the moving average that Keras
    keeps beside the weights.
    """
    import keras

    def adamw(share: float) -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(
            learning_rate(share),
            weight_decay=weight_decay,
            global_clipnorm=clip_norm or None,
            use_ema=bool(ema),
            ema_momentum=ema or 0.99,
        )

    if len(set(shares.values())) <= 1:
        return adamw(1.0)
    own = {share: adamw(share) for share in sorted(set(shares.values()))}
    return keras.optimizers.MultiOptimizer(lambda variable: own[shares[variable.path]])


def schedule(
    rate: float, steps: int, warm_up: float, cosine: bool
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A constant rate, or a schedule: it rises from 0 in the share `warm_up` of the steps, then falls along a cosine.

    Without `cosine` it is constant after the rise. https://arxiv.org/abs/1608.03983, without restarts.
    """
    import keras

    rising = round(steps * warm_up)
    if not cosine and not rising:
        return rate
    if not rising:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rising), alpha=0.0 if cosine else 1.0, warmup_target=rate, warmup_steps=rising
    )


def layer_wise(network: keras.Model, blocks: tuple[str, ...], decay: float) -> dict[str, float]:
    """Each variable's share of the rate: 1 above the last block, `decay` in it, its square in the one below, ….

    Layer-wise learning-rate decay: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2; as used for
    image networks in https://arxiv.org/abs/2106.08254, appendix. Empty if `decay` is 1.
    """
    if decay == 1:
        return {}
    order = {layer.name: at for at, layer in enumerate(network.layers)}
    ends = [order[block] for block in blocks]
    return {
        variable.path: decay ** sum(end >= order[layer.name] for end in ends)
        for layer in network.layers
        for variable in layer.trainable_variables
    }
