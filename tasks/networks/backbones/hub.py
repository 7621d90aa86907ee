"""Networks of KerasHub: presets with their weights, or families built from their own arguments.

Presets: https://keras.io/keras_hub/presets/. Files of a preset are searched in `HEADSTART_HOME/hub/NAME`, then
downloaded from Kaggle. Needs the extra `hub`.
"""

from __future__ import annotations

import difflib
import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data.images.ranges import IMAGENET, SYMMETRIC, Range
from tasks.networks import backend
from tasks.networks.backbones import Choice, _hub_graphs
from tasks.networks.cutting import Backbone
from tasks.networks.weights import arrays, files, presets
from tasks.runtime.errors import DependencyError, UsageError

if TYPE_CHECKING:
    import keras

#: The supported families, and the pixel range that they were trained with.
FAMILIES = {
    "CSPNet": IMAGENET,
    "DINOV2": IMAGENET,
    "DeiT": IMAGENET,
    "DenseNet": IMAGENET,
    "EfficientNet": IMAGENET,
    "MobileNet": IMAGENET,
    "ResNet": IMAGENET,
    "SigLIP": SYMMETRIC,
    "VGG": IMAGENET,
    "ViT": SYMMETRIC,
    "Xception": SYMMETRIC,
}

#: Families with a trained position for each patch, so for one image size. DINOv2 interpolates.
FIXED = {"DeiT", "SigLIP", "ViT"}
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

    `preset`: a name or a folder. `family` and `config`: a KerasHub class without "Backbone", and its arguments.
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
    """Presets of eight families, and whether their files are here. KerasHub's other presets of `FAMILIES` work too."""
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
    if family and family not in FAMILIES:
        close = difflib.get_close_matches(family, FAMILIES) or FAMILIES
        raise UsageError(f"backbone.options.family: expected a name such as {', '.join(close)}, found {family!r}.")
    if family and weights == OWN:
        raise UsageError(f"backbone.weights: expected random or a path for family {family}, found {weights}.")


def _preset(preset: str, size: int, weights: str) -> tuple[keras.Model, Range]:
    folder = presets.find(preset)
    family, config = _described(folder)
    if family in FIXED and size != config["image_shape"][0]:
        raise UsageError(
            f"images.size: expected {config['image_shape'][0]}, the size that {preset} has positions for, found {size}."
        )
    shape = {key: (size, size, 3) for key in ("image_shape", "input_shape") if key in config and family != "SigLIP"}
    backend.seed(0)
    network = presets.read(folder, weights == OWN, **shape)
    return getattr(network, "vision_encoder", network), presets.pixel_range(folder) or FAMILIES[family]


def _described(folder: Path) -> tuple[str, dict[str, Any]]:
    """Family and arguments of the image network in a preset's folder. Raises `UsageError` for other families."""
    found = presets.config(folder)
    family = str(found.get("class_name", "nothing")).removesuffix("Backbone")
    if family not in FAMILIES:
        raise UsageError(f"{folder}: expected a preset of {', '.join(FAMILIES)}, found one of {family}.")
    config = found["config"]
    return family, config["vision_encoder"]["config"] if family == "SigLIP" else config


def _family(family: str, size: int, config: dict[str, Any]) -> tuple[keras.Model, Range]:
    import keras_hub

    name = "SigLIPVisionEncoder" if family == "SigLIP" else f"{family}Backbone"
    shape = {"input_shape" if family == "EfficientNet" else "image_shape": (size, size, 3)}
    made = getattr(keras_hub.models, name)
    # KerasHub ignores arguments that it does not know.
    known = [p.name for p in inspect.signature(made).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if unknown := set(config) - set(known):
        raise UsageError(
            f"backbone.options.config: expected the arguments of {name}, {', '.join(known)}, found "
            f"{', '.join(sorted(unknown))}."
        )
    backend.seed(0)
    try:
        return made(**(config | shape)), FAMILIES[family]
    except (TypeError, ValueError) as error:
        raise UsageError(f"backbone.options.config: expected the arguments of {name}, found others: {error}") from None


def _load(network: keras.Model, weights: str) -> None:
    path, _ = files.from_path(weights)
    try:
        arrays.exactly(network, path)
    except files.DAMAGE as error:
        raise DependencyError(
            f"{path}: expected .weights.h5 of {type(network).__name__}, found another file: {error}"
        ) from None
