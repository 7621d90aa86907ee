"""Predictions of a version. Its files are compared with its seal before anything in them is run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from tasks.data.images.bounded import bounded
from tasks.features import occlusion
from tasks.runtime.errors import DataError, UsageError
from tasks.services.registry import verification, versions
from tasks.serving import package

if TYPE_CHECKING:
    import keras

#: Pictures of small photos are enlarged to about this many pixels a side.
SIDE = 224


@contextmanager
def opened(name: str, version: str) -> Iterator[Any]:
    """The version as MLflow's generic Python model. Raises `DataError` if a file is not as it was registered."""
    import mlflow

    with verification.opened(name, version, versions.seal(name, version)) as folder:
        yield mlflow.pyfunc.load_model(str(folder))


def network(name: str, version: str) -> "tuple[keras.Model | None, package.Spec]":
    """A version's network, with its calibration, and its spec; no network if that is a SavedModel.

    Raises `DataError` if a file is not as it was registered.
    """
    with verification.opened(name, version, versions.seal(name, version)) as folder:
        return package.network(verification.served(folder))


def predict(model: Any, images: Iterable[bytes], batch: int = 256) -> Iterator[pd.DataFrame]:
    """The model's answers for the bytes of images, some at a time, in order.

    Raises `ValueError` for bytes that would take the decoder of an older version without end.
    """
    left = iter(images)
    while part := list(islice(left, batch)):
        yield model.predict(pd.DataFrame({"image": [bounded(data) for data in part]}))


def score(
    name: str, version: str, images: Iterable[bytes], classes: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A version's probabilities for the bytes of images, float64[n, classes], and the classes that it knows.

    The probability of a class that it does not know is 0.
    """
    with opened(name, version) as model:
        own = {label: i for i, label in enumerate(model.metadata.metadata["classes"])}
        found = np.concatenate([np.stack(part["probabilities"].to_list()) for part in predict(model, images)])
    columns = [found[:, own[label]] if label in own else np.zeros(len(found)) for label in classes]
    return np.stack(columns, axis=1), tuple(own)


def answers(address: str, images: list[Path], explain: str | None = None) -> Iterator[dict[str, Any]]:
    """For each image file, the answer of the version at `address`: label, probability, and how reliable they are.

    With the folder `explain`, also the path of a picture there, which shows what the answer rests on
    (`tasks/features/occlusion.py`). Raises `UsageError` for a missing file or a folder that cannot be written; after
    the last answer `DataError` for files that are no readable images.
    """
    absent = [str(path) for path in images if not path.is_file()]
    if absent:
        raise UsageError(f"Expected image files, found none at {', '.join(absent)}.")
    folder, unreadable = _folder(explain) if explain is not None else None, dict[Path, Exception]()
    with opened(*versions.resolve(address)) as model:
        for number, path in enumerate(images, 1):
            try:
                data = path.read_bytes()
                answer = next(predict(model, [data])).iloc[0]
            except Exception as error:  # whatever a decoder says of damaged bytes
                unreadable[path] = error
                continue
            shown = answer.drop("probabilities").to_dict().items()
            found = {"image": str(path)} | {name: getattr(value, "item", lambda v=value: v)() for name, value in shown}
            if folder:
                said = model.metadata.metadata["classes"].index(answer["label"])
                picture = folder / f"{number:03}-{path.stem[:60]}.png"
                _explained(model, data, said).save(picture)
                found["explained"] = str(picture)
            yield found
    if unreadable:
        first, *others = unreadable
        more = f" and {len(others)} more without an answer" if others else ""
        raise DataError(
            f"Expected JPEG, PNG, GIF, BMP or WebP, found {first}{more}, which cannot be read. Convert or remove it."
        ) from unreadable[first]


def _folder(path: str) -> Path:
    """The folder for pictures, made if need be. Raises `UsageError` if nothing can be written there."""
    folder = Path(path)
    try:
        if not path:
            raise OSError(0, "it has no name")
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--explain: expected a folder for pictures, found {path!r}, but {error.strerror}.") from None
    return folder


def _explained(model: Any, data: bytes, said: int) -> Image.Image:
    """The photo beside itself with what the answer, a position among the classes, does not rest on left dark."""
    import tensorflow as tf

    version = model.unwrap_python_model()
    pixels = version.decoder.decode(tf.constant(bounded(data))).numpy()

    def run(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            yield np.asarray(version.run(tf.constant(batch))["probabilities"])

    (fall,) = occlusion.maps(pixels[None], np.array([said]), run)
    both = Image.fromarray(np.concatenate([pixels, occlusion.spotlight(pixels, fall)], axis=1))
    times = max(1, SIDE // both.height)
    return both.resize((both.width * times, both.height * times), Image.Resampling.NEAREST)
