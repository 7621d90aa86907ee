"""KerasHub's image networks as flat Keras graphs that can be cut at every block.

Most networks keep KerasHub's graph, layer by layer. A Vision Transformer (Dosovitskiy et al. 2020,
https://arxiv.org/abs/2010.11929) is rebuilt around its own layers, because KerasHub's encoder is one layer, and because
several of its layers are not restored correctly from a `.keras` file: the embeddings and blocks of ViT and DeiT save
arguments that they do not accept, and the embedding of DINOv2 loses its trained positions by interpolation. Swin
(Liu et al. 2021, https://arxiv.org/abs/2103.14030) and HGNetV2 are opened at their stages. A network of
another class whose layers do not compute the same once they are laid out is one layer, as a whole, and one block.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.networks import files
from tasks.networks.cutting import block_ends
from tasks.networks.weights.files import DAMAGE
from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    import keras

Tokens = Literal["auto", "class", "patches"]
#: Largest difference between a network and its flat graph, relative to the largest output.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Transformer:
    """The parts of a Vision Transformer."""

    patches: keras.layers.Conv2D
    #: Values added to each token, float32[tokens, channels]; for tokens that are not patches, with the token itself.
    #: With fewer rows than tokens all that remain have the last one.
    positions: np.ndarray
    #: Tokens in front of the patches: class, distillation, registers.
    extra: int
    #: Layers of each block: a single one, or two chains whose outputs are added to their inputs.
    blocks: list[Any]
    norm: keras.layers.Layer
    #: A layer that turns a map of the patches into rotations, which each block needs; None for trained positions.
    rotary: Callable[[str], keras.Layer] | None = None


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
    laid_out = _laid_out(pixels, x, backbone, tokens)
    return laid_out or (_whole(pixels, x, backbone, tokens), ("whole",))


def _laid_out(
    pixels: keras.KerasTensor, x: keras.KerasTensor, backbone: keras.Model, tokens: Tokens
) -> tuple[keras.Model, tuple[str, ...]] | None:
    """The network layer by layer and its blocks; None where that does not compute what the network does."""
    import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whether a layer is built right is seen below
            open_up = OPENED.get(type(backbone).__name__, _called)
            laid_out = keras.Model(pixels, _features(open_up(backbone, x), backbone, tokens))
            _rename(laid_out)
            model = files.anew(laid_out)
            expected = _features(backbone(_given(backbone, probe := _probe(x)), training=False), backbone, tokens)
            found = keras.Model(model.get_layer("to_range").output, model.output)(probe, training=False)
    except DAMAGE:
        return None
    most, apart = (float(keras.ops.max(keras.ops.abs(each))) for each in (expected, expected - found))
    if not apart <= ROUNDING * most:
        return None
    # Some layers of MobileNet get a longer name each time that they are read from a configuration.
    names = {layer.name for layer in laid_out.layers}
    ends = [name for name in block_ends(model, _levels(backbone)) if name in names]
    return (model, tuple(ends)) if ends else None


def _whole(pixels: keras.KerasTensor, x: keras.KerasTensor, backbone: keras.Model, tokens: Tokens) -> keras.Model:
    """The network as one layer: KerasHub saves and restores its own classes.

    What the layer `network` itself calls its output is in the graph inside it, so that another one is the block.
    """
    import keras

    backbone.name = "network"
    features = _features(backbone(_given(backbone, x)), backbone, tokens)
    return keras.Model(pixels, keras.layers.Identity(name="whole")(features))


def _called(backbone: keras.Model, x: keras.KerasTensor) -> Any:
    return backbone.call(_given(backbone, x))


def _given(backbone: keras.Model, x: Any) -> Any:
    """Images as the network takes them: alone, or by their name."""
    return dict.fromkeys(backbone.input, x) if isinstance(backbone.input, dict) else x


def _probe(x: keras.KerasTensor) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, *x.shape[1:])).astype("float32")


def _features(outputs: Any, backbone: keras.Model, tokens: Tokens) -> Any:
    """The feature map [n, h, w, c] among a network's outputs: the last one at the lowest resolution, or of its tokens.

    Of tokens [n, t, c] the last h w are the patches; in front of them there may be a class token.
    """
    from keras import layers

    # Not Keras' order, which sorts by name: a stem would come last.
    given = list(outputs.values()) if isinstance(outputs, dict) else outputs
    each = given if isinstance(given, list | tuple) else [given]
    if maps := [tensor for tensor in each if len(tensor.shape) == 4]:
        if tokens == "class":
            raise UsageError(f"backbone.options.tokens: expected auto for {_named_so(backbone)}, which has no tokens.")
        smallest = min(math.prod(tensor.shape[1:3]) for tensor in maps)
        return [tensor for tensor in maps if math.prod(tensor.shape[1:3]) == smallest][-1]
    last = next(tensor for tensor in reversed(each) if len(tensor.shape) in (2, 3))
    if len(last.shape) == 2:
        return layers.Reshape((1, 1, last.shape[-1]), name="features")(last)
    count, channels = last.shape[1:]
    side = _side(backbone, count)
    extra = count - side * side
    if tokens == "class" and not extra:
        raise UsageError(f"backbone.options.tokens: expected patches for {_named_so(backbone)} without class token.")
    if extra and tokens != "patches":
        return layers.Reshape((1, 1, channels), name="features")(
            layers.Cropping1D((0, count - 1), name="class_token")(last)
        )
    last = layers.Cropping1D((extra, 0), name="patch_tokens")(last) if extra else last
    return layers.Reshape((side, side, channels), name="features")(last)


def _side(backbone: keras.Model, tokens: int) -> int:
    """Patches along a side of the image; without a stated size of a patch as many as make a square of the tokens."""
    import keras

    patch, image = getattr(backbone, "patch_size", None), keras.tree.flatten(backbone.input)[0].shape[1]
    side = image // patch if isinstance(patch, int) and image else 0
    return side if 0 < side * side <= tokens and tokens - side * side < side * side else math.isqrt(tokens)


def _named_so(backbone: keras.Model) -> str:
    return type(backbone).__name__.removesuffix("Backbone")


def _rename(model: keras.Model) -> None:
    """Names that do not depend on what else the process has built: Keras counts layers without a name."""
    counts: Counter[str] = Counter()
    for layer in model.layers:
        stem, own = re.sub(r"_\d+$", "", layer.name), re.sub(r"[\W_]", "", type(layer).__name__).lower()
        if stem.replace("_", "") == own:
            layer.name = f"{stem}_{counts[stem]}"
            counts[stem] += 1


def _swin(backbone: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """Each stage ends with a map; between two stages patches are merged."""
    from keras import layers

    x = backbone.patch_embedding.proj(x)
    height, width, channels = x.shape[1:]
    x = layers.Reshape((height * width, channels), name="patches")(x)
    x = _named(backbone.patch_embedding.norm, "patches_norm")(x) if backbone.patch_embedding.norm else x
    for number, stage in enumerate(backbone.stages):
        for place, block in enumerate(stage.blocks):
            x = _named(block, f"stage_{number}_block_{place}")(x)
        height, width = stage.input_resolution
        x = layers.Reshape((height, width, stage.dim), name=f"stage_{number}")(x)
        x = layers.Reshape((height * width, stage.dim), name=f"stage_{number}_tokens")(x)
        if stage.downsample:
            x = _named(stage.downsample, f"stage_{number}_merging")(x, H=height, W=width)
    x = _named(backbone.norm, "norm")(x)
    return layers.Reshape((height, width, x.shape[-1]), name="features")(x)


def _hgnetv2(backbone: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    x = backbone.embedder_layer(x)
    for number, stage in enumerate(backbone.encoder_layer.stages_list):
        if stage.downsample_layer.weights:
            x = _named(stage.downsample_layer, f"stage_{number}_downsample")(x)
        for place, block in enumerate(stage.blocks_list):
            x = _named(block, f"stage_{number}_block_{place}")(x)
    return x


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
        x = _block(x, f"block_{number}", block, parts, (height, width, channels))
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
    if len(parts.positions) < x.shape[1]:
        places = ops.minimum(places, len(parts.positions) - 1)
    table = layers.Embedding(*parts.positions.shape, name="positions")
    x = layers.Add(name="embedded")([x, table(places)])
    table.set_weights([parts.positions])
    return x


def _block(
    x: keras.KerasTensor, name: str, block: Any, parts: Transformer, shape: tuple[int, int, int]
) -> keras.KerasTensor:
    from keras import layers

    if parts.rotary:
        # Each block takes its rotations from its own input, so that nothing but that crosses a cut.
        patches = layers.Cropping1D((parts.extra, 0), name=f"{name}_patches")(x)
        rotations = parts.rotary(f"{name}_rotations")(layers.Reshape(shape, name=f"{name}_map")(patches))
        return _named(block, name)(x, position_embeddings=rotations, num_prefix_tokens=parts.extra)
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


def _dinov3(backbone: keras.Model) -> Transformer:
    """Patches have rotary positions, relative to the image (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104)."""
    embedding, rope = backbone.embeddings, backbone.rope_embedding
    first = [embedding.cls_token.numpy()[0]]
    first += [embedding.register_tokens.numpy()[0]] if embedding.num_register_tokens else []
    nothing = np.zeros_like(first[0])  # for every patch

    def rotary(name: str) -> keras.Layer:
        return type(rope)(rope.hidden_dim, rope.num_heads, rope.rope_theta, patch_size=1, name=name)

    positions = np.concatenate([*first, nothing])
    extra = 1 + embedding.num_register_tokens
    blocks = backbone.encoder.layers
    return Transformer(embedding.patch_embeddings.projection, positions, extra, blocks, backbone.layernorm, rotary)


def _siglip(backbone: keras.Model) -> Transformer:
    """Without the attention pooling on top: the feature map is its input."""
    embedding = backbone.embedding
    positions = embedding.position_embedding.embeddings.numpy()
    return Transformer(embedding.patch_embedding, positions, 0, backbone.encoder_layers, backbone.post_layer_norm)


#: How the parts of each transformer are found, by KerasHub's class.
PARTS = {
    "ViTBackbone": _vit,
    "DeiTBackbone": _deit,
    "DINOV2Backbone": _dinov2,
    "DINOV3Backbone": _dinov3,
    "SigLIPVisionEncoder": _siglip,
}
#: How other networks with large layers are opened.
OPENED = {"SwinTransformerBackbone": _swin, "HGNetV2Backbone": _hgnetv2}
