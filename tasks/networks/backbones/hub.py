"""Networks of KerasHub: presets with their weights, or families built from their own arguments.

Presets: https://keras.io/keras_hub/presets/. Every class of the installed KerasHub that takes images works, and the
encoder of images of one that takes text too. A preset is a folder, a name, or an address. Files of a named one are
searched in `HEADSTART_HOME/hub/NAME`, then downloaded from Kaggle. Needs the extra `hub`.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tasks.data.images.ranges import CLIP, IMAGENET, SYMMETRIC, UNIT, Range
from tasks.networks import backend
from tasks.networks.backbones import Choice, _hub_graphs
from tasks.networks.cutting import Backbone
from tasks.networks.weights import arrays, files, presets
from tasks.runtime.errors import DependencyError, UsageError, brief

if TYPE_CHECKING:
    import keras

#: The pixel range that a family was trained with, where its preset does not say and it is not ImageNet's.
RANGES = {
    "CLIP": CLIP,
    "MetaCLIP2": CLIP,
    "MobileNetV5": UNIT,
    "SigLIP": SYMMETRIC,
    "ViT": SYMMETRIC,
    "Xception": SYMMETRIC,
}
#: Networks of images inside networks that take more than images.
TOWERS = ("vision_encoder", "image_encoder")
#: The preset's own weights.
OWN = "preset"

#: Presets worth trying first: side of the images in training (pixels), parameters up to the feature map.
CHOICES = {
    "resnet_18_imagenet": (224, 11_186_112),
    "resnet_50_imagenet": (224, 23_561_152),
    "densenet_121_imagenet": (224, 7_037_504),
    "mobilenet_v3_small_100_imagenet": (224, 939_120),
    "efficientnet_b0_ra_imagenet": (224, 4_049_564),
    "deit_tiny_distilled_patch16_224_imagenet": (224, 5_524_416),
    "vit_base_patch16_224_imagenet": (224, 85_797_888),
    "dinov2_small": (518, 22_055_808),
    "dinov2_base": (518, 86_578_944),
    "siglip_base_patch16_224": (224, 85_797_120),
}


def build(
    size: int,
    weights: str = OWN,
    *,
    preset: str = "",
    family: str = "",
    config: dict[str, Any] = {},  # noqa: B006
    tokens: _hub_graphs.Tokens = "auto",
) -> Backbone:
    """The network up to its last feature map, [n, size, size, 3] to [n, h, w, c]; for a transformer, after its norm.

    `preset`: a name of KerasHub, a folder in the format of KerasHub, timm or transformers, `hf://USER/NAME` with or
    without `@REVISION`, or `kaggle://OWNER/MODEL/keras/VARIATION`. `family` and `config`: a KerasHub class without
    "Backbone" or "VisionEncoder", and its arguments.
    `weights`: `preset`, `random`, or the path of a `.weights.h5` of KerasHub's class. `tokens`: for a transformer, the
    class token as a map [n, 1, 1, c], or the map of the patches. Raises `UsageError`, `DependencyError`.
    """
    _check(preset, family, weights)
    network, scaling = _preset(preset, size, weights) if preset else _family(family, size, config)
    if weights not in (OWN, "random"):
        _load(network, weights)
    model, blocks = _hub_graphs.flat(network, size, scaling, tokens)
    return Backbone(model, blocks)


def licence(weights: str, options: dict[str, Any]) -> str:
    """Where the preset's licence is stated; else that of the weights that the recipe names."""
    if weights != OWN:
        return "none: random weights" if weights == "random" else f"that of {weights}"
    preset = options.get("preset", "")
    return f"that of {preset}" if presets.local(preset) else f"see {presets.page(preset)}"


def weights_digest(weights: str, options: dict[str, Any]) -> str:
    """`random`, SHA-256 of a weights file or of a preset's folder, or the handle of a named preset."""
    _check(options.get("preset", ""), options.get("family", ""), weights)
    if weights == "random":
        return weights
    return presets.digest(options["preset"]) if weights == OWN else files.from_path(weights)[1]


def choices() -> list[Choice]:
    """Presets of eight families, and whether their files are here. KerasHub's other presets for images work too."""
    return [Choice({"preset": name}, count, size, presets.state(name)) for name, (size, count) in CHOICES.items()]


def smallest() -> list[Choice]:
    """Networks that need no download, for the contract test."""
    vit = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    vgg = {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [4, 8]}
    return [
        Choice({"family": "ViT", "config": vit}, 3280, 64, "random"),
        Choice({"family": "VGG", "config": vgg}, 408, 64, "random"),
    ]


def _check(preset: str, family: str, weights: str) -> None:
    if find_spec("keras_hub") is None:
        raise DependencyError("Expected KerasHub for the backbone hub, found none: pip install 'headstart[hub]'.")
    if bool(preset) == bool(family):
        raise UsageError(f"backbone.options: expected preset or family, found {'both' if preset else 'none of them'}.")
    if family and family not in (known := presets.families()):
        close = difflib.get_close_matches(family, known) or known
        raise UsageError(f"backbone.options.family: expected a name such as {', '.join(close)}, found {family!r}.")
    if family and weights == OWN:
        raise UsageError(f"backbone.weights: expected random or a path for family {family}, found {weights}.")


def _preset(preset: str, size: int, weights: str) -> tuple[keras.Model, Range]:
    folder = presets.find(preset)
    made = presets.backbone_class(folder)
    shape, own = _shape_argument(made), presets.side(folder)
    backend.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that KerasHub builds when they are called
            network = presets.read(folder, weights == OWN, **({shape: (size, size, 3)} if shape else {}))
    except DependencyError as error:
        if shape and own not in (0, size):
            raise UsageError(
                f"images.size: expected {own}, the size that {preset} was trained with, or another that it takes, "
                f"found {size}: {brief(error)}"
            ) from None
        raise
    network = next((getattr(network, name) for name in TOWERS if hasattr(network, name)), network)
    _check_images(network, preset, size)
    return network, presets.pixel_range(folder) or _range(network)


def _check_images(network: keras.Model, name: str, size: int) -> None:
    import keras

    inputs = [tensor.shape for tensor in keras.tree.flatten(network.input)]
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][-1] != 3:
        raise UsageError(f"{name}: expected a network for images [n, height, width, 3], found one for {inputs}.")
    if inputs[0][1] not in (None, size):
        raise UsageError(f"images.size: expected {inputs[0][1]}, the size that {name} was trained with, found {size}.")


def _range(network: keras.Model) -> Range:
    family = type(network).__name__.removesuffix("Backbone").removesuffix("VisionEncoder")
    return RANGES.get(family, IMAGENET)


def _shape_argument(made: type) -> str:
    """The argument that sets the size of the images; empty for a network that takes more than images."""
    arguments = inspect.signature(made).parameters
    return next((name for name in presets.SHAPES if name in arguments), "")


def _family(family: str, size: int, config: dict[str, Any]) -> tuple[keras.Model, Range]:
    import keras_hub

    name = presets.families()[family]
    made = getattr(keras_hub.models, name, None)
    if made is None:
        raise UsageError(f"backbone.options.family: expected a class of keras_hub.models, found {name}, which is not.")
    # KerasHub ignores arguments that it does not know.
    known = [p.name for p in inspect.signature(made).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if unknown := set(config) - set(known):
        raise UsageError(
            f"backbone.options.config: expected the arguments of {name}, {', '.join(known)}, found "
            f"{', '.join(sorted(unknown))}."
        )
    backend.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that KerasHub builds when they are called
            network = made(**(config | {_shape_argument(made): (size, size, 3)}))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise UsageError(f"backbone.options.config: expected the arguments of {name}, found others: {error}") from None
    _check_images(network, name, size)
    return network, _range(network)


def _load(network: keras.Model, weights: str) -> None:
    path, _ = files.from_path(weights)
    try:
        arrays.exactly(network, path)
    except files.DAMAGE as error:
        raise DependencyError(
            f"{path}: expected .weights.h5 of {type(network).__name__}, found another file: {error}"
        ) from None
