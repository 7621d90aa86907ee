"""From a backbone's feature map to the features that heads are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from tasks.networks.cutting import Backbone


#: Names of the layers that pool below the top of the network, followed by the block that they pool.
SIDE = "pool_of_"


def pooled(backbone: Backbone, pooling: str) -> keras.Model:
    """Pixels to the features that heads are trained on.

    `avg`: mean over the feature map, [n, c]. `avg_max_std`: mean, maximum and standard deviation, [n, 3 c].
    `multi_level`: those of the feature map and of the last block at each resolution, joined. `none`: the feature map,
    [n, h, w, c].
    """
    import keras

    top = backbone.model.output
    if pooling == "none":
        return keras.Model(backbone.model.input, top, name="features")
    if pooling == "avg":
        vector = keras.layers.GlobalAveragePooling2D(name="pool")(top)
    elif pooling == "avg_max_std":
        vector = _statistics(top, "pool")
    else:
        outputs = {name: backbone.model.get_layer(name).output for name in levels(backbone)}
        pools = [_statistics(output, f"{SIDE}{name}") for name, output in outputs.items()]
        vector = keras.layers.Concatenate(name="pool")([*pools, _statistics(top, "pool_top")])
    return keras.Model(backbone.model.input, vector, name="features")


def part(pooling: str, channels: int) -> slice:
    """Position of a pooling's features within those of any wider pooling, along the last axis.

    `channels`: of the feature map.
    """
    return {"avg": slice(-3 * channels, -2 * channels), "avg_max_std": slice(-3 * channels, None)}.get(
        pooling, slice(None)
    )


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
