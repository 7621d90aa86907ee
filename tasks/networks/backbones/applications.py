"""Every image network of keras.applications, each with the preprocessing that it was trained with.

https://keras.io/api/applications/ lists the networks and their papers. Their `preprocess_input` functions define
the input values; here the same arithmetic is a layer of the network. Licences of the weights: as given by their
authors, see the page.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from tasks.data.images import ranges
from tasks.networks import backend
from tasks.networks.backbones import Choice
from tasks.networks.cutting import Backbone
from tasks.networks.weights import files
from tasks.networks.weights.fill import fill
from tasks.networks.weights.published import Published
from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Family:
    """Common to networks of one kind: input values, pattern of the names of a block's layers, smallest side."""

    values: str
    block: str
    smallest: int = 32


#: `caffe`: blue, green, red, each minus ImageNet's mean, -123.68 to 151.061. `tf`: -1 to 1. `torch`: 0 to 1, minus the
#: mean, divided by the deviation, -2.118 to 2.64. `own`: the network's first layers take 0 to 255.
FAMILIES = {
    "convnext": Family("own", r"convnext_\w+_stage_\d_block_\d+(?=_)"),
    "densenet": Family("torch", r"conv\d_block\d+(?=_)"),
    "efficientnet": Family("own", r"block\d[a-z](?=_)"),
    "efficientnet_v2": Family("own", r"block\d[a-z](?=_)"),
    "inception_resnet_v2": Family("tf", r"mixed_\w+$|block\d+_\d+(?=_)", 75),
    "inception_v3": Family("tf", r"mixed\d+$", 75),
    "mobilenet": Family("tf", r"conv_[dp]w_(?P<number>\d+)(?=_|$)"),
    "mobilenet_v2": Family("tf", r"(expanded_conv|block_\d+)(?=_)"),
    "mobilenet_v3": Family("own", r"expanded_conv(_\d+)?(?=_)"),
    "nasnet": Family("tf", r"(normal|reduction)_concat_\w+$"),
    "resnet": Family("caffe", r"conv\d_block\d+(?=_)"),
    "resnet_v2": Family("tf", r"conv\d_block\d+(?=_)"),
    "vgg16": Family("caffe", r"block\d(?=_)"),
    "vgg19": Family("caffe", r"block\d(?=_)"),
    "xception": Family("tf", r"add(_\d+)?$|block(1|14)(?=_)", 71),
}


@dataclass(frozen=True)
class Network:
    """A line of `applications.toml`."""

    family: Family
    parameters: int
    size: int
    published: Published


@cache
def networks() -> dict[str, Network]:
    """The networks by the name of their function in keras.applications."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return {
        name: Network(FAMILIES[row.pop("family")], row.pop("parameters"), row.pop("size"), Published(**row))
        for name, row in table.items()
    }


def known(name: str) -> str:
    """The name, or a `ValueError` that lists all."""
    if name not in networks():
        raise ValueError(f"expected one of {', '.join(networks())}")
    return name


def build(
    size: int, weights: str = "imagenet", *, name: Annotated[str, AfterValidator(known)] = "ResNet50"
) -> Backbone:
    """The network up to its last feature map: [n, size, size, 3] to [n, h, w, c].

    `weights`: `imagenet`, `random`, or a file: Keras' `.h5`, `.weights.h5` or `.keras` of the same network.
    """
    network = networks()[name]
    if size < network.family.smallest:
        raise UsageError(
            f"images.size: expected at least {network.family.smallest} pixels for {name}, found {size}. "
            f"It was trained at {network.size}."
        )
    model = _network(name, network.family, size)
    if weights != "random":
        fill(model, network.published.fetch() if weights == "imagenet" else _file(weights))
    _normalise(model)
    return Backbone(model, _blocks(model, network.family.block))


def licence(weights: str, options: dict[str, str]) -> str:
    """For ImageNet weights that of their authors; else that of the weights that the recipe names."""
    known = {"imagenet": "see https://keras.io/api/applications/", "random": "none: random weights"}
    return known.get(weights, f"that of {weights}")


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """Digest of the weights file; of `imagenet` the published one, without a file."""
    return networks()[options.get("name", "ResNet50")].published.digest_of(weights)


def choices() -> list[Choice]:
    """All networks, and whether their ImageNet weights are here."""
    return [
        Choice({"name": name}, n.parameters, n.size, n.published.state(), n.family.smallest)
        for name, n in networks().items()
    ]


def _file(weights: str) -> Path:
    path, _ = files.from_path(weights)
    if path.suffix not in (".h5", ".keras"):
        raise UsageError(
            f"backbone.weights: expected imagenet, random or a .h5, .weights.h5 or .keras file, found {path.name}. "
            'PyTorch\'s networks pad and scale differently: backbone.kind = "torchvision" reads their files.'
        )
    return path


def _network(name: str, family: Family, size: int) -> keras.Model:
    """One flat graph with random weights, the same every time, and layer names that do not depend on the process."""
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    network = getattr(keras.applications, name)
    model = network(weights=None, include_top=False, input_tensor=_prepared(pixels, family.values))
    counts: Counter[str] = Counter()

    def named(layer: keras.Layer) -> keras.Layer:
        config, stem = layer.get_config(), re.sub(r"_\d+$", "", layer.name)
        own = re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        if stem in (own, "re_lu"):  # Keras numbers layers without a name through the whole process
            config["name"] = f"{stem}_{counts[stem]}" if counts[stem] else stem
            counts[stem] += 1
        return type(layer).from_config(config)

    backend.seed(0)
    again = keras.models.clone_model(model, clone_function=named)
    return keras.Model(again.inputs[0], again.outputs[0], name=name.lower())


def _prepared(pixels: keras.KerasTensor, values: str) -> keras.KerasTensor:
    """Pixels 0 to 255 as the values that a family expects; layer `to_range`, unless the network does it itself."""
    import keras
    from keras import layers

    if values == "own":
        return pixels
    if values == "caffe":
        blue_first = keras.ops.flip(pixels, axis=-1)
        return layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="to_range")(blue_first)
    scaling = ranges.SYMMETRIC if values == "tf" else ranges.IMAGENET
    return layers.Rescaling(*scaling, name="to_range")(pixels)


def _normalise(model: keras.Model) -> None:
    """EfficientNet learns its input's mean and variance from data; its published file holds deviations for variances.

    Keras corrects that with one more layer, only with `weights="imagenet"`
    (https://github.com/keras-team/keras/blob/master/keras/src/applications/efficientnet.py); here the values are right.
    """
    for layer in model.layers:
        if type(layer).__name__ == "Normalization" and layer.weights:
            layer.load_own_variables({"0": ranges.MEAN, "1": [d * d for d in ranges.DEVIATION], "2": 0})


def _blocks(model: keras.Model, pattern: str) -> tuple[str, ...]:
    """The last layer of each block: of those whose names begin with the same text."""
    last: dict[str, str] = {}
    for layer in model.layers:
        if found := re.match(pattern, layer.name):
            last[found.groupdict().get("number") or found.group()] = layer.name
    return tuple(last.values())
