"""Presets that KerasHub reads: folders with a network's configuration and weights, here, on Kaggle or on Hugging Face.

A preset's files (https://keras.io/keras_hub/presets/): `config.json`, the network's class and arguments;
`model.weights.h5`; `image_converter.json`, the range of its pixels. KerasHub also converts folders of timm and of
transformers: `config.json`, whose architecture it has a class for, and `model.safetensors`. This module does not import
Keras before a network is read.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import math
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.networks.weights import files, hdf5, limit
from tasks.runtime.errors import DependencyError, UsageError, brief
from tasks.runtime.home import expanded, home

if TYPE_CHECKING:
    import keras

#: Packages whose classes a preset may name.
KNOWN = {"keras", "keras_hub", "keras_nlp"}
#: Numbers of a network whose folder has no weights: a ViT-g has as many.
LARGEST = 10**9
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".joblib"}
#: Files that are downloaded: none that can hold code.
WANTED = ["*.json", "*.h5", "*.safetensors"]
HUGGING_FACE, KAGGLE = "hf://", "kaggle://"
#: How classes of KerasHub call the shape of their images.
SHAPES = ("image_shape", "input_shape")


def digest(preset: str) -> str:
    """SHA-256 over the files of a folder or an address; for a name, Kaggle's handle, which pins the version."""
    folder = local(preset) or (find(preset) if "://" in preset else None)
    if folder is None:
        return handle(preset)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {files.verified(path, None)}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def state(preset: str) -> str:
    """Whether the files of a preset are here, as text."""
    if find_spec("keras_hub") is None:
        return "needs pip install 'headstart[hub]'"
    if local(preset) or (_downloaded(preset) / "config.json").is_file():
        return "here"
    return "downloaded at first use"


def page(preset: str) -> str:
    """The web page with the files and the licence of a named preset or an address."""
    if preset.startswith(HUGGING_FACE):
        return f"https://huggingface.co/{preset.removeprefix(HUGGING_FACE).partition('@')[0]}"
    return f"https://www.kaggle.com/models/{handle(preset)}"


def local(preset: str) -> Path | None:
    """The folder that the user put a preset into: the path itself, or one below `HEADSTART_HOME/hub`."""
    for folder in (expanded(preset), home() / "hub" / preset):
        if folder.is_dir():
            return folder
    return None


def find(preset: str) -> Path:
    """The folder with a preset's files, downloaded where they are not here. Raises `DependencyError`, `UsageError`."""
    return local(preset) or (_from_hugging_face if preset.startswith(HUGGING_FACE) else _download)(preset)


@cache
def handle(preset: str) -> str:
    """Kaggle's handle of a named preset, owner/model/framework/variation/version, as the installed KerasHub pins it."""
    if preset.startswith(KAGGLE):
        return preset.removeprefix(KAGGLE)
    known = _handles()
    if preset not in known:
        close = ", ".join(difflib.get_close_matches(preset, known)) or "https://keras.io/keras_hub/presets/"
        raise UsageError(
            f"backbone.options.preset: expected a folder, the name of a KerasHub preset, hf://USER/NAME or "
            f"kaggle://OWNER/MODEL/keras/VARIATION, found {preset!r}. "
            f"See {close}."
        )
    return known[preset]


def read(folder: Path, with_weights: bool, **changes: Any) -> keras.Model:
    """KerasHub's backbone from a folder; `changes` replace arguments of its class.

    Only classes of Keras and KerasHub are created, and no file that can hold code is read. Raises `DependencyError`.
    """
    import keras_hub

    _check_classes(folder)
    try:
        numbers = sum(map(hdf5.check, folder.glob("*.h5"))) + sum(map(_numbers, folder.glob("*.safetensors")))
        with limit.at_most(numbers or LARGEST):
            return keras_hub.models.Backbone.from_preset(str(folder), load_weights=with_weights, **changes)
    except files.DAMAGE as error:
        raise DependencyError(f"{folder}: expected a KerasHub preset, found a mistake: {error}") from None


def backbone_class(folder: Path) -> type:
    """KerasHub's class for a preset's folder. Raises `DependencyError` where it has none."""
    from keras_hub.src.utils.preset_utils import get_preset_loader

    config(folder)
    _check_classes(folder)
    try:
        return get_preset_loader(str(folder)).check_backbone_class()
    except files.DAMAGE as error:
        raise DependencyError(
            f"{folder}: expected a preset that KerasHub reads, found another: {brief(error)}"
        ) from None


def side(folder: Path) -> int:
    """Side of the images in training, pixels; 0 where the preset does not say."""
    found = config(folder)
    own = found.get("config")
    tags = found.get("pretrained_cfg")
    sizes = [own.get(name) for name in SHAPES] if isinstance(own, dict) else []
    sizes += [[found.get("image_size")], list(tags.get("input_size") or ())[1:] if isinstance(tags, dict) else []]
    return next((each[0] for each in sizes if isinstance(each, list) and each and isinstance(each[0], int)), 0)


@cache
def families() -> dict[str, str]:
    """Classes of KerasHub that take images alone, by their family, from its source as text."""
    found: dict[str, str] = {}
    for tree in _sources("*_backbone.py", "*_vision_encoder.py"):
        for node in tree.body:
            name = getattr(node, "name", "")
            family = name.removesuffix("Backbone").removesuffix("VisionEncoder")
            if isinstance(node, ast.ClassDef) and family and family != name and _takes_images(node):
                found[family] = name
    return found


def _takes_images(made: ast.ClassDef) -> bool:
    starts = [each for each in made.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    names = {argument.arg for start in starts for argument in (*start.args.args, *start.args.kwonlyargs)}
    others = {"vision_encoder", "image_encoder", "text_encoder", "backbone", "vae", "vocabulary_size", "num_frames"}
    return bool(names & set(SHAPES)) and not names & others and "x_shape" not in names and "text_shape" not in names


def config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """One of the preset's JSON files; {} where it has none. Raises `DependencyError` where it is no JSON object."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DependencyError(f"{path}: expected JSON, found a mistake: {error}.") from None
    if not isinstance(found, dict):
        raise DependencyError(f"{path}: expected a JSON object, found a {type(found).__name__}.")
    return found


def pixel_range(folder: Path) -> tuple[list[float], list[float]] | None:
    """(scale, offset) for red, green and blue of pixels 0 to 255; None where the preset does not say."""
    import keras

    serialized = config(folder, "image_converter.json")
    if not serialized:
        return _of_others(folder)
    path = folder / "image_converter.json"
    _check(serialized, path)
    try:
        with limit.at_most(0):
            converter = keras.saving.deserialize_keras_object(serialized, safe_mode=True)
        return _channels(converter.scale, 1.0), _channels(converter.offset, 0.0)
    except files.DAMAGE as error:
        raise DependencyError(f"{path}: expected a converter of images, found a mistake: {brief(error)}") from None


def _of_others(folder: Path) -> tuple[list[float], list[float]] | None:
    """As timm and transformers state it: mean and deviation of pixels 0 to 1."""
    tags, processor = config(folder).get("pretrained_cfg"), config(folder, "preprocessor_config.json")
    given = (tags.get("mean"), tags.get("std")) if isinstance(tags, dict) else ()
    mean, deviation = given or (processor.get("image_mean"), processor.get("image_std"))
    if not mean or not deviation:
        return None
    try:
        pairs = [(float(m), float(d)) for m, d in zip(mean, deviation, strict=True)]
        scaling = [1 / 255 / d for _, d in pairs], [-m / d for m, d in pairs]
    except files.DAMAGE as error:
        raise DependencyError(f"{folder}: expected mean and deviation of red, green and blue: {error}") from None
    if len(pairs) != 3:
        raise DependencyError(f"{folder}: expected mean and deviation of red, green and blue, found {len(pairs)}.")
    return scaling


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(path.stat().st_size, 2**26):
            raise ValueError(f"{path.name} is no safetensors file")
        header = json.loads(file.read(length))
    return min(
        sum(math.prod(each["shape"]) for name, each in header.items() if name != "__metadata__"), path.stat().st_size
    )


def _channels(value: Any, default: float) -> list[float]:
    values = [default] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    return [float(each) for each in values] * (3 // len(values))


def _check_classes(folder: Path) -> None:
    """Refuse pickles, and configurations of anything but a KerasHub backbone made of Keras' and KerasHub's classes."""
    import keras
    import keras_hub

    pickles = [path.name for path in folder.rglob("*") if path.suffix in PICKLES]
    if pickles:
        raise DependencyError(
            f"{folder}: expected configurations and .h5 weights, found {', '.join(pickles)}: files that can run code "
            f"are refused."
        )
    found = config(folder)
    _check(found, folder / "config.json")
    if "registered_name" not in found and {"architecture", "model_type"} & found.keys():
        return  # of timm or transformers: numbers and names, for which KerasHub chooses the class
    name = found.get("registered_name") or ""
    if not issubclass(keras.saving.get_registered_object(name) or object, keras_hub.models.Backbone):
        raise DependencyError(f"{folder}/config.json: expected a backbone of KerasHub, found {name or 'none'!r}.")


def _check(value: Any, path: Path) -> None:
    for item in _objects(value):
        package = str(item.get("module") or "keras").partition(".")[0]
        if package not in KNOWN or item["class_name"] == "Lambda":
            raise DependencyError(
                f"{path}: expected classes of Keras and KerasHub, found {item.get('module')}.{item['class_name']}: "
                f"refused."
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object inside JSON."""
    if isinstance(value, dict) and "class_name" in value:
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(item)


@cache
def _handles() -> dict[str, str]:
    """Handles of all presets."""
    found = (pair for tree in _sources("*_presets.py") for pair in _pairs(tree))
    return {name: handle.removeprefix(KAGGLE) for name, handle in found}


def _sources(*patterns: str) -> Iterator[ast.Module]:
    """KerasHub's modules of models whose names match, as text: importing it takes seconds."""
    spec = find_spec("keras_hub")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError("Expected KerasHub for backbone hub, found none: pip install 'headstart[hub]'.")
    for pattern in patterns:
        for path in sorted(Path(spec.submodule_search_locations[0]).glob(f"src/models/*/{pattern}")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _pairs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(preset, its "kaggle_handle") of each dictionary in a module."""
    for node in ast.walk(tree):
        for key, entry in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if isinstance(key, ast.Constant) and isinstance(entry, ast.Dict):
                inner = {ast.literal_eval(k): v for k, v in zip(entry.keys, entry.values, strict=True) if k}
                address = inner.get("kaggle_handle")
                if isinstance(address, ast.Constant):
                    yield str(key.value), str(address.value)


def _downloaded(preset: str) -> Path:
    """Where kagglehub keeps a preset: below `KAGGLEHUB_CACHE`, which is `HEADSTART_HOME/hub` where it is not set."""
    return Path(os.environ.get("KAGGLEHUB_CACHE") or home() / "hub") / "models" / handle(preset)


def _download(preset: str) -> Path:
    address = handle(preset)
    os.environ.setdefault("KAGGLEHUB_CACHE", str(home() / "hub"))
    import kagglehub

    try:
        return Path(kagglehub.model_download(address))
    except Exception as error:  # from requests, kagglehub or the network: all mean a failed download
        raise DependencyError(
            f"Expected the preset {preset}, found no files, and the download from {page(preset)} failed: "
            f"{str(error)[:200]}. Put the files into {home() / 'hub' / preset}."
        ) from None


def _from_hugging_face(preset: str) -> Path:
    """A snapshot below `HEADSTART_HOME/hub`; the one that is there, where the hub cannot be asked for a newer one."""
    import huggingface_hub

    name, _, revision = preset.removeprefix(HUGGING_FACE).partition("@")
    folder = home() / "hub" / "huggingface"
    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision or None, cache_dir=folder, allow_patterns=WANTED
        )
    except Exception as error:  # from httpx, huggingface_hub or the network: all mean a failed download
        raise DependencyError(
            f"Expected the preset {preset}, found no files, and the download from {page(preset)} failed: "
            f"{str(error)[:200]}. Put the files into a folder, and name that as the preset."
        ) from None
    return Path(found)
