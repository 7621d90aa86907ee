"""KerasHub's image networks as flat Keras graphs that can be cut at every block.

A convolutional network keeps KerasHub's graph, layer by layer. A Vision Transformer (Dosovitskiy et al. 2020,
https://arxiv.org/abs/2010.11929) is rebuilt around its own layers, because KerasHub's encoder is one layer, and because
several of its layers are not restored correctly from a `.keras` file: the embeddings and blocks of ViT and DeiT save
arguments that they do not accept, and the embedding of DINOv2 loses its trained positions by interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.networks import files
from tasks.networks.cutting import block_ends
from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    import keras
    import numpy as np

Tokens = Literal["auto", "class", "patches"]


@dataclass(frozen=True)
class Transformer:
    """The parts of a Vision Transformer."""

    patches: keras.layers.Conv2D
    #: Values added to each token, float32[tokens, channels]; for tokens that are not patches, with the token itself.
    positions: np.ndarray
    #: Tokens in front of the patches: class, distillation, registers.
    extra: int
    #: Layers of each block: a single one, or two chains whose outputs are added to their inputs.
    blocks: list[Any]
    norm: keras.layers.Layer


def flat(
    backbone: keras.Model, size: int, scaling: tuple[list[float], list[float]], tokens: Tokens
) -> tuple[keras.Model, tuple[str, ...]]:
    """Pixels 0 to 255, float32[n, size, size, 3], to a feature map [n, h, w, c], and the names of its blocks.

    `scaling`: (scale, offset) of each channel. Raises `UsageError` for tokens that the network does not have.
    """
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(*scaling, name="to_range")(pixels)
    family = type(backbone).__name__
    if family in PARTS:
        parts = PARTS[family](backbone)
        x = _transformer(x, parts, _wanted(tokens, family, backbone))
        return files.anew(keras.Model(pixels, x)), tuple(f"block_{i}" for i in range(len(parts.blocks)))
    if tokens == "class":
        raise UsageError(f"backbone.options.tokens: expected auto for {family}, which has no tokens, found class.")
    laid_out = keras.Model(pixels, backbone.call(x))
    model = files.anew(laid_out)
    # Some layers of MobileNet get a longer name each time that they are read from a configuration.
    names = {layer.name for layer in laid_out.layers}
    return model, tuple(name for name in block_ends(model, _levels(backbone)) if name in names)


def _levels(backbone: keras.Model) -> set[str]:
    """Layers that KerasHub names as the last at their resolution, if any."""
    outputs = getattr(backbone, "pyramid_outputs", {})
    return {tensor._keras_history.operation.name for tensor in outputs.values()}


def _wanted(tokens: Tokens, family: str, backbone: keras.Model) -> str:
    """The class token where a family was trained with one.

    The authors of DINOv2 too put linear probes and nearest neighbours on the class token (Oquab et al. 2023,
    https://arxiv.org/abs/2304.07193, section 7); SigLIP was trained without.
    """
    has_class = family != "SigLIPVisionEncoder" and getattr(backbone, "use_class_token", True)
    if tokens == "class" and not has_class:
        raise UsageError(f"backbone.options.tokens: expected patches for {family} without class token, found class.")
    return tokens if tokens != "auto" else "class" if has_class else "patches"


def _transformer(x: keras.KerasTensor, parts: Transformer, tokens: str) -> keras.KerasTensor:
    from keras import layers

    x = parts.patches(x)
    height, width, channels = x.shape[1:]
    x = _embedded(layers.Reshape((height * width, channels), name="patches")(x), parts)
    for number, block in enumerate(parts.blocks):
        x = _block(x, f"block_{number}", block)
    x = _named(parts.norm, "norm")(x)
    if tokens == "class":
        return layers.Reshape((1, 1, channels), name="features")(
            layers.Cropping1D((0, x.shape[1] - 1), name="class_token")(x)
        )
    x = layers.Cropping1D((parts.extra, 0), name="patch_tokens")(x) if parts.extra else x
    return layers.Reshape((height, width, channels), name="features")(x)


def _embedded(x: keras.KerasTensor, parts: Transformer) -> keras.KerasTensor:
    """Patches [n, h w, c] to tokens [n, extra + h w, c], each with the values of its position added."""
    from keras import layers, ops

    x = layers.ZeroPadding1D((parts.extra, 0), name="extra_tokens")(x)
    # 0, 1, 2 … counted from the input itself: a constant would not be part of the graph.
    places = ops.cumsum(ops.ones_like(x[:, :, 0], dtype="int32"), axis=1) - 1
    table = layers.Embedding(*parts.positions.shape, name="positions")
    x = layers.Add(name="embedded")([x, table(places)])
    table.set_weights([parts.positions])
    return x


def _block(x: keras.KerasTensor, name: str, block: Any) -> keras.KerasTensor:
    if not isinstance(block, tuple):
        return _named(block, name)(x)
    middle = _residual(x, f"{name}_attention", block[0])
    return _residual(middle, name, block[1])


def _residual(start: keras.KerasTensor, name: str, chain: tuple[keras.Layer, ...]) -> keras.KerasTensor:
    from keras import layers

    x = start
    for number, layer in enumerate(chain):
        if isinstance(layer, layers.Dropout):  # a new one: KerasHub calls one of them twice
            layer = layers.Dropout(layer.rate)
        layer = _named(layer, f"{name}_part_{number}")
        x = layer(x, x) if isinstance(layer, layers.MultiHeadAttention) else layer(x)
    return layers.Add(name=name)([start, x])


def _named(layer: keras.Layer, name: str) -> keras.Layer:
    """The layer with a name that is unique in the graph."""
    layer.name = name
    return layer


def _vit(backbone: keras.Model) -> Transformer:
    embedding, encoder = (backbone.get_layer(f"vit_{part}") for part in ("patching_and_embedding", "encoder"))
    positions = embedding.position_embedding.embeddings.numpy()
    if embedding.use_class_token:
        positions[0] += embedding.class_token.numpy()[0, 0]
    chains = [
        (
            (b.layer_norm_1, b.mha, b.dropout),
            (b.layer_norm_2, b.mlp.dense_1, b.mlp.dropout, b.mlp.dense_2, b.mlp.dropout),
        )
        for b in encoder.encoder_layers
    ]
    return Transformer(embedding.patch_embedding, positions, int(embedding.use_class_token), chains, encoder.layer_norm)


def _deit(backbone: keras.Model) -> Transformer:
    embedding, encoder = (backbone.get_layer(f"deit_{part}") for part in ("patching_and_embedding", "encoder"))
    positions = embedding.position_embedding.numpy()[0]
    positions[0] += embedding.class_token.numpy()[0, 0]
    positions[1] += embedding.distillation_token.numpy()[0, 0]
    chains = [
        ((b.layer_norm_1, b.mha), (b.layer_norm_2, b.mlp.dense, b.output_layer.dense, b.output_layer.dropout))
        for b in encoder.encoder_layers
    ]
    return Transformer(embedding.patch_embedding, positions, 2, chains, encoder.layer_norm)


def _dinov2(backbone: keras.Model) -> Transformer:
    """Positions are those interpolated to the size of the images; registers have none (Darcet et al. 2023)."""
    import numpy as np

    embedding = backbone.embeddings
    positions = embedding.interpolated_position_embeddings.numpy()[0]
    first = positions[:1] + embedding.cls_token.numpy()[0]
    registers = embedding.register_tokens.numpy()[0] if embedding.num_register_tokens else positions[:0]
    return Transformer(
        embedding.patch_embeddings.projection,
        np.concatenate([first, registers, positions[1:]]),
        1 + len(registers),
        backbone.encoder.layers,
        backbone.layernorm,
    )


def _siglip(backbone: keras.Model) -> Transformer:
    """Without the attention pooling on top: the feature map is its input."""
    embedding = backbone.embedding
    positions = embedding.position_embedding.embeddings.numpy()
    return Transformer(embedding.patch_embedding, positions, 0, backbone.encoder_layers, backbone.post_layer_norm)


#: How the parts of each transformer are found, by KerasHub's class.
PARTS = {"ViTBackbone": _vit, "DeiTBackbone": _deit, "DINOV2Backbone": _dinov2, "SigLIPVisionEncoder": _siglip}
