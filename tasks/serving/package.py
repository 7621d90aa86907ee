"""A self-contained folder: network, decoder, labels, and the settings that they were made with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data.images.decode import preparer
from tasks.networks import files
from tasks.serving import calibrated

if TYPE_CHECKING:
    import keras

    from tasks.records import CalibrationRef
    from tasks.settings import Images

SPEC = "spec.json"


@dataclass(frozen=True)
class Spec:
    """What is needed besides the network: its labels in order, how images are prepared, its `CalibrationTerms`."""

    classes: list[str]
    images: dict[str, Any]
    terms: dict[str, Any]
    #: How many validation images it assigned to each class.
    said: dict[str, int]


@dataclass(frozen=True)
class Served:
    """What is in the folder. `decoder.decode`: an image file's bytes to uint8[size, size, 3]."""

    network: keras.Model
    decoder: Any
    spec: Spec
    #: Whether the network is a SavedModel as one layer.
    of_graph: bool


def write(folder: Path, network: Path, classes: tuple[str, ...], images: Images, calibration: CalibrationRef) -> None:
    """Write the calibrated network, `decoder/` (a SavedModel from bytes to pixels), and `spec.json`."""
    import tensorflow as tf

    files.save(calibrated.with_calibration(files.load(network), calibration), folder)
    decoder = tf.Module()
    decoder.decode = preparer(images.size, images.fit, images.max_pixels)
    tf.saved_model.save(decoder, str(folder / "decoder"))
    prepared = {name: getattr(images, name) for name in ("size", "fit", "max_pixels")}
    predicted = dict(zip(classes, calibration.said, strict=True))
    spec = Spec(list(classes), prepared, calibration.terms.summary(), predicted)
    (folder / SPEC).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")


def network(folder: Path) -> tuple[keras.Model | None, Spec]:
    """The network that `write` wrote and the spec; no network if it is a SavedModel."""
    file = folder / "network.keras"
    return files.load(file) if file.is_file() else None, _spec(folder)


def read(folder: Path) -> Served:
    """What `write` wrote."""
    import tensorflow as tf

    graph = folder / "network"
    return Served(
        files.load(graph if graph.is_dir() else folder / "network.keras"),
        tf.saved_model.load(str(folder / "decoder")),
        _spec(folder),
        graph.is_dir(),
    )


def _spec(folder: Path) -> Spec:
    return Spec(**json.loads((folder / SPEC).read_text(encoding="utf-8")))
