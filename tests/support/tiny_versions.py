"""Versions that are registered in a moment and answer without TensorFlow, for tests of what is done with versions."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from tasks.data.expectations import FACTS
from tasks.services import tracking
from tasks.services.registry import promotion, registration, versions
from tasks.serving import golden

SCRIPT = Path(__file__).with_name("tiny_model.py")
CLASSES = ("dark", "light")
SIZE = 64


def register(
    name: str, weight: float = 4.0, recipe: dict[str, Any] | None = None, photos: Path | None = None, **tags: str
) -> str:
    """A version of the tiny model, with golden images and the alias `challenger`; the tags are without `headstart.`.

    With a folder for its test photos, they and its answers are in MLflow as after training.
    """
    named = {f"headstart.{tag}": value for tag, value in tags.items()}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        served(folder / "served", weight)
        golden.write(folder / "golden", predictions(folder, weight), CLASSES, 4, 1e-3)
        stage = tracking.stage("register", "digest", {})
        run = tracking.run(name, "train", recipe or {})
        with run, stage, mock.patch.object(registration, "SCRIPT", SCRIPT):
            if photos:
                tested = predictions(photos, weight, 60).assign(group=None, split="test", unit=range(60))
                tracking.log_table(versions.TEST, tested)
                facts = dict.fromkeys(FACTS, 0.5)
                tracking.log_table(versions.DATA, tested.drop(columns=["uri", "probabilities"]).assign(**facts))
            version = registration.add(name, folder / "served", folder / "golden", named, CLASSES)
    promotion.introduce(name, version, "keep", "", False)
    return version


def real(name: str, photos: list[Path], **tags: str) -> str:
    """A version with a real network of random weights, calibrated; some of the photos are its golden images.

    The tags are without `headstart.`.
    """
    from tiny_networks import calibration_of, classifier

    from tasks.serving import package, pyfunc
    from tasks.settings import Images

    classes = ("blue", "green", "red")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        network = classifier()
        network.save(folder / "trained.keras")
        (folder / "served").mkdir()
        found, _ = calibration_of(network, folder)
        package.write(folder / "served", folder / "trained.keras", classes, Images(size=32), found)
        model = pyfunc.Classifier()
        model.load_context(SimpleNamespace(artifacts={"classifier": str(folder / "served")}))
        data = [photo.read_bytes() for photo in photos]
        said = model.predict(None, pd.DataFrame({"image": data}))
        keys = [hashlib.sha256(each).hexdigest() for each in data]
        answers = said[["label", "probabilities"]].assign(key=keys, uri=[str(photo) for photo in photos])
        golden.write(folder / "golden", answers, classes, 4, 1e-3)
        with tracking.run(name, "train", {}), tracking.stage("register", "digest", {}):
            named = {f"headstart.{tag}": value for tag, value in tags.items()}
            version = registration.add(name, folder / "served", folder / "golden", named, classes)
    promotion.introduce(name, version, "promote", "", False)
    return version


def served(folder: Path, weight: float) -> None:
    """What the version answers with."""
    folder.mkdir()
    (folder / "decoder.json").write_text(json.dumps({"size": SIZE}))
    (folder / "network.json").write_text(json.dumps({"weight": weight}))


def predictions(folder: Path, weight: float, number_of_files: int = 12) -> pd.DataFrame:
    """Files, and what evaluation would say of them; bytes grow along a file, so that its size matters."""
    rows, step = [], 240 / number_of_files
    for number in range(number_of_files):
        data = bytes(min(255, round(step * number) + place // 4) for place in range(4 * SIZE))
        file = folder / f"{number}.png"
        file.write_bytes(data)
        high = 1 / (1 + np.exp(-weight * (np.frombuffer(data, np.uint8)[:SIZE].mean() / 255 - 0.5)))
        key, label = hashlib.sha256(data).hexdigest(), CLASSES[number >= number_of_files // 2]
        rows.append({"key": key, "uri": str(file), "label": label, "probabilities": np.array([1 - high, high])})
    return pd.DataFrame(rows)


def files(name: str, version: str) -> Path:
    """The folder in which a version's files are, on this machine."""
    uri = tracking.client().get_model_version_download_uri(name, version)
    logged = tracking.client().get_logged_model(uri.rpartition("/")[2]) if uri.startswith("models:") else None
    return Path((logged.artifact_location if logged else uri).removeprefix("file://"))


def sealed_again(name: str, version: str) -> None:
    """Write the manifest and the fingerprint anew, as who changes a version and covers it up."""
    fingerprint = golden.seal(files(name, version))
    tracking.client().set_model_version_tag(name, version, versions.FINGERPRINT, fingerprint)
