"""VGG 11 to 19 and ResNet 18 to 152 as in torchvision, for its ImageNet weights or others of the same layout.

Architectures: Simonyan and Zisserman, VGG (https://arxiv.org/abs/1409.1556); He et al., ResNet
(https://arxiv.org/abs/1512.03385), in the form v1.5, whose bottlenecks stride at the 3x3 convolution. Names, padding
and preprocessing are torchvision's (https://github.com/pytorch/vision/tree/main/torchvision/models, BSD-3-Clause).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tasks.data.images import ranges
from tasks.networks import backend
from tasks.networks.backbones import Choice
from tasks.networks.cutting import Backbone
from tasks.networks.weights import files
from tasks.networks.weights.fill import fill
from tasks.networks.weights.published import Published

if TYPE_CHECKING:
    import keras

Variant = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg13", "vgg16", "vgg19"]
DEFAULT: Variant = "resnet50"

LICENCES = {
    # https://docs.pytorch.org/vision/stable/models.html, "General information on pre-trained weights".
    "imagenet": "No licence is stated for the weights themselves; torchvision's code is BSD-3-Clause. ImageNet's terms "
    "allow non-commercial research and education; whether they bind the weights is for the user to determine.",
    "random": "Random weights: no third-party licence.",
}
#: Blocks in each of the four stages.
RESNETS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
#: ResNets with blocks of two 3x3 convolutions; the others have bottlenecks.
BASIC = ("resnet18", "resnet34")
#: Convolutions before each of the five pools.
VGGS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
#: Parameters up to the feature map, moving statistics included; start of the sha256 of torchvision's IMAGENET1K_V1.
FILES = {
    "resnet18": (11_186_112, "f37072fd"),
    "resnet34": (21_301_696, "b627a593"),
    "resnet50": (23_561_152, "0676ba61"),
    "resnet101": (42_605_504, "63fe2227"),
    "resnet152": (58_295_232, "394f9c45"),
    "vgg11": (9_220_480, "8a719046"),
    "vgg13": (9_404_992, "19584684"),
    "vgg16": (14_714_688, "397923af"),
    "vgg19": (20_024_384, "dcbb9e9d"),
}


def build(size: int, weights: str = "imagenet", *, variant: Variant = DEFAULT) -> Backbone:
    """The network up to its last feature map: [n, size, size, 3] to [n, size/32, size/32, c].

    c is 512 for VGG, ResNet 18 and 34, and 2048 for the other ResNets. `weights`: `imagenet`, `random`, or a
    PyTorch, safetensors or Keras file, whose classifier, if any, is ignored.
    """
    model, blocks = network(variant, size)
    if weights != "random":
        path = published(variant).fetch() if weights == "imagenet" else files.from_path(weights)[0]
        fill(model, path, lambda layer: layer.replace("_", "."))
    return Backbone(model, blocks)


def licence(weights: str, options: dict[str, str]) -> str:
    """What torchvision states of its own weights; else the licence of the weights that the recipe names."""
    return LICENCES.get(weights, f"that of {weights}, whose author has to state it")


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """SHA-256 of the weights file, for torchvision's own its start, or `random`. Downloads nothing."""
    return published(options.get("variant", DEFAULT)).digest_of(weights)


def choices() -> list[Choice]:
    """The nine networks, and whether torchvision's weights are here."""
    return [Choice({"variant": name}, FILES[name][0], 224, published(name).state()) for name in FILES]


def published(variant: str) -> Published:
    """torchvision's file, whose name contains the start of its sha256."""
    sha256 = FILES[variant][1]
    return Published(f"https://download.pytorch.org/models/{variant}-{sha256}.pth", sha256=sha256)


def network(variant: str, size: int) -> tuple[keras.Model, tuple[str, ...]]:
    """The Keras model with random weights, the same every time, and the names of its blocks' last layers.

    Layers have torchvision's names with an underscore for each dot.
    """
    import keras

    backend.seed(0)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(*ranges.IMAGENET, name="to_range")(pixels)
    x, blocks = _vgg(x, VGGS[variant]) if variant in VGGS else _resnet(x, RESNETS[variant], variant in BASIC)
    return keras.Model(pixels, x, name=variant), blocks


def _vgg(x: keras.KerasTensor, plan: tuple[int, ...]) -> tuple[keras.KerasTensor, tuple[str, ...]]:
    """Feature map and names of the pools; layers are numbered as in torchvision's `features`."""
    from keras import layers

    number, pools = 0, []
    for repeats, channels in zip(plan, (64, 128, 256, 512, 512), strict=True):
        for _ in range(repeats):
            x = layers.Conv2D(channels, 3, padding="same", name=f"features_{number}")(x)
            x = layers.ReLU(name=f"features_{number + 1}")(x)
            number += 2
        pools.append(f"features_{number}")
        x = layers.MaxPooling2D(2, name=pools[-1])(x)
        number += 1
    return x, tuple(pools)


def _resnet(x: keras.KerasTensor, plan: tuple[int, ...], basic: bool) -> tuple[keras.KerasTensor, tuple[str, ...]]:
    from keras import layers

    x = layers.ReLU(name="relu")(_convolution(x, "conv1", "bn1", 64, 7, 2))
    # PyTorch pads with -inf; zeros do the same where nothing is below zero.
    x = layers.MaxPooling2D(3, 2, name="maxpool")(layers.ZeroPadding2D(1, name="maxpool_pad")(x))
    blocks = []
    for stage, repeats in enumerate(plan):
        for number in range(repeats):
            name, stride = f"layer{stage + 1}_{number}", 2 if stage and not number else 1
            x = _block(x, name, 64 * 2**stage, stride, basic)
            blocks.append(f"{name}_relu")
    return x, tuple(blocks)


def _block(x: keras.KerasTensor, name: str, channels: int, stride: int, basic: bool) -> keras.KerasTensor:
    """Convolutions whose sum with the input, projected where shapes differ, goes through a ReLU."""
    from keras import layers

    narrow = ((channels, 3, stride), (channels, 3, 1))
    steps = narrow if basic else ((channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1))
    start = x
    for number, (wide, kernel, step) in enumerate(steps, 1):
        x = layers.ReLU(name=f"{name}_relu{number - 1}")(x) if number > 1 else x
        x = _convolution(x, f"{name}_conv{number}", f"{name}_bn{number}", wide, kernel, step)
    if start.shape != x.shape:
        start = _convolution(start, f"{name}_downsample_0", f"{name}_downsample_1", x.shape[-1], 1, stride)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, start]))


def _convolution(
    x: keras.KerasTensor, name: str, norm: str, channels: int, kernel: int, stride: int
) -> keras.KerasTensor:
    """PyTorch pads (kernel - 1) / 2 on every side; Keras' `same` would pad less at the start when the stride is 2."""
    from keras import layers

    if stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(channels, kernel, stride, padding=padding, use_bias=False, name=name)(x)
    return layers.BatchNormalization(epsilon=1e-5, name=norm)(x)
