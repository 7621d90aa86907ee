"""Predictions of a version. Its files are compared with its seal before anything in them is run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.data.images.bounded import bounded
from tasks.runtime.errors import DataError, UsageError
from tasks.services.registry import verification, versions
from tasks.serving import package

if TYPE_CHECKING:
    import keras


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


def answers(address: str, images: list[Path]) -> Iterator[dict[str, Any]]:
    """For each image file, the answer of the version at `address`: label, probability, and how reliable they are.

    Raises `UsageError` for a missing file, `DataError` for one that is not a readable image.
    """
    absent = [str(path) for path in images if not path.is_file()]
    if absent:
        raise UsageError(f"Expected image files, found none at {', '.join(absent)}.")
    with opened(*versions.resolve(address)) as model:
        for path in images:
            try:
                answer = next(predict(model, [path.read_bytes()])).iloc[0]
            except Exception as error:
                raise DataError(
                    f"Expected JPEG, PNG, GIF, BMP or WebP, found {path}, which cannot be read. Convert or remove it."
                ) from error
            shown = answer.drop("probabilities").to_dict().items()
            yield {"image": str(path)} | {name: getattr(value, "item", lambda v=value: v)() for name, value in shown}
