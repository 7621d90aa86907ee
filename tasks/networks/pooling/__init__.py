"""From a backbone's feature map to the features that heads are trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.networks.freezing import STILL
from tasks.networks.names import SIDE
from tasks.networks.pooling import texture

if TYPE_CHECKING:
    import keras

    from tasks.networks.cutting import Backbone


#: Poolings that also see small things.
LOCAL = ("pyramid", "texture")


def pooled(backbone: Backbone, pooling: str) -> keras.Model:
    """Pixels to the features that heads are trained on.

    `avg`: mean over the feature map, [n, c]. `avg_max_std`: mean, maximum and standard deviation, [n, 3 c].
    `multi_level`: those of the feature map and of the last block at each resolution, joined. `pyramid`: of the same
    maps also the largest and smallest mean of 3 x 3 places, and the means of the four quarters. `texture`: also what
    filters find in the pixels themselves. `none`: the feature map, [n, h, w, c].
    """
    import keras

    pixels, top = backbone.model.input, backbone.model.output
    if pooling == "none":
        return keras.Model(pixels, top, name="features")
    pools = _aside(backbone, pooling)
    if pooling == "avg":
        pools.append(keras.layers.GlobalAveragePooling2D(name="pool_top")(top))
    else:
        pool = _pyramid if pooling in LOCAL else _statistics
        below = {} if pooling == "avg_max_std" else levels(backbone)
        pools += [pool(backbone.model.get_layer(name).output, f"{SIDE}{name}") for name in below]
        pools.append(pool(top, "pool_top"))
    vector = keras.layers.Concatenate(name="pool")(pools) if len(pools) > 1 else pools[0]
    return keras.Model(pixels, vector, name="features")


def _aside(backbone: Backbone, pooling: str) -> list[keras.KerasTensor]:
    """What is seen of the pixels beside the backbone; named as if pooled of them, so that each cut has it below."""
    import keras
    from keras import layers

    pixels = backbone.model.input
    found = [texture.energies(pixels, f"{STILL}texture")] if pooling == "texture" else []
    for number, other in enumerate(backbone.beside, 2):
        model = pooled(other, "pyramid" if pooling == "texture" else pooling)
        side = model.input_shape[1]
        seen = pixels if side == pixels.shape[1] else layers.Resizing(side, side, name=f"{STILL}size_{number}")(pixels)
        still = keras.Model(model.input, model.output, name=f"{STILL}beside_{number}")
        still.trainable = False
        found.append(still(seen))
    if not found:
        return []
    name = f"{SIDE}{pixels._keras_history.operation.name}"
    return [layers.Concatenate(name=name)(found) if len(found) > 1 else layers.Identity(name=name)(found[0])]


def part(pooling: str, channels: int) -> slice:
    """Position of a pooling's features within those of any wider pooling, along the last axis.

    `channels`: of the feature map.
    """
    return {"avg": slice(-3 * channels, -2 * channels), "avg_max_std": slice(-3 * channels, None)}.get(
        pooling, slice(None)
    )


def parts(backbone: Backbone, pooling: str) -> tuple[int, ...]:
    """How many features each statistic of each map has, in their order: what a head can weigh apart."""
    if pooling == "none":
        return (math.prod(backbone.model.output.shape[1:]),)
    below = () if pooling in ("avg", "avg_max_std") else levels(backbone)
    maps = [*(backbone.model.get_layer(name).output for name in below), backbone.model.output]
    own = [times * output.shape[-1] for output in maps for times in _each(pooling)]
    first = texture.PARTS if pooling == "texture" else ()
    others = "pyramid" if pooling == "texture" else pooling
    return (*first, *(width for other in backbone.beside for width in parts(other, others)), *own)


def summary(pooling: str, widths: tuple[int, ...]) -> tuple[int, int]:
    """First column, and the one after the last, of the means of the last map, where `parts` have these widths."""
    of_last = len(_each(pooling))
    start = sum(widths[:-of_last])
    return start, start + widths[-of_last]


def _each(pooling: str) -> tuple[int, ...]:
    """How many values each statistic has of a channel; the mean is the first."""
    if pooling == "avg":
        return (1,)
    return (1, 1, 1, 1, 1, 4) if pooling in LOCAL else (1, 1, 1)


def levels(backbone: Backbone) -> list[str]:
    """The last block at each resolution of the network; none for a transformer, whose blocks give tokens."""
    shapes = {name: backbone.model.get_layer(name).output.shape for name in backbone.blocks}
    sizes = {name: shape[1] for name, shape in shapes.items() if len(shape) == 4}
    return [name for name, size in sizes.items() if name == [n for n, s in sizes.items() if s == size][-1]]


def _statistics(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Mean, maximum and standard deviation over height and width: [n, h, w, c] to [n, 3 c]."""
    import keras

    mean = keras.layers.GlobalAveragePooling2D(name=f"{name}_mean")(features)
    most = keras.layers.GlobalMaxPooling2D(name=f"{name}_max")(features)
    # A floor under the root: its slope at 0 is infinite, and a constant map has variance 0.
    spread = keras.ops.sqrt(keras.ops.var(features, axis=(1, 2)) + 1e-6)
    return keras.layers.Concatenate(name=name)([mean, most, spread])


def _pyramid(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """What `_statistics` gives, and what is small or has its place: [n, h, w, c] to [n, 9 c].

    A maximum of single places is noisy; one of 3 x 3 shows what covers several. Means of quarters: spatial pyramids,
    Lazebnik et al. 2006, https://doi.org/10.1109/CVPR.2006.68.
    """
    import keras
    from keras import layers, ops

    height, width = features.shape[1:3]
    window = (min(3, height), min(3, width))
    near = layers.AveragePooling2D(window, strides=1, name=f"{name}_near")(features)
    most = layers.GlobalMaxPooling2D(name=f"{name}_near_max")(near)
    least = ops.negative(layers.GlobalMaxPooling2D(name=f"{name}_near_min")(ops.negative(near)))
    down, across = -(-height // 2), -(-width // 2)
    halves = [features[:, :down], features[:, -down:]]
    quarters = [part for half in halves for part in (half[:, :, :across], half[:, :, -across:])]
    means = [ops.mean(quarter, axis=(1, 2)) for quarter in quarters]
    return keras.layers.Concatenate(name=name)([_statistics(features, f"{name}_all"), most, least, *means])
