"""Predictions of a version. Its files are compared with its seal before anything in them is run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.runtime.errors import DataError, UsageError
from tasks.services.registry import verification, versions


@contextmanager
def opened(name: str, version: str) -> Iterator[Any]:
    """The version as MLflow's generic Python model. Raises `DataError` if a file is not as it was registered."""
    import mlflow

    with verification.opened(name, version, versions.seal(name, version)) as folder:
        yield mlflow.pyfunc.load_model(str(folder))


def predict(model: Any, paths: list[str], batch: int = 256) -> Iterator[pd.DataFrame]:
    """The model's answers for image files, some at a time, in order."""
    for start in range(0, len(paths), batch):
        yield model.predict(pd.DataFrame({"image": [Path(path).read_bytes() for path in paths[start : start + batch]]}))


def score(name: str, version: str, paths: list[str], classes: tuple[str, ...]) -> np.ndarray:
    """A version's probabilities for image files, float64[n, classes]; 0 for a class that it does not know."""
    with opened(name, version) as model:
        own = {label: i for i, label in enumerate(model.metadata.metadata["classes"])}
        found = np.concatenate([np.stack(part["probabilities"].to_list()) for part in predict(model, paths)])
    columns = [found[:, own[label]] if label in own else np.zeros(len(found)) for label in classes]
    return np.stack(columns, axis=1)


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
                answer = next(predict(model, [str(path)])).iloc[0]
            except Exception as error:
                raise DataError(
                    f"Expected JPEG, PNG, GIF, BMP or WebP, found {path}, which cannot be read. Convert or remove it."
                ) from error
            shown = answer.drop("probabilities").to_dict().items()
            yield {"image": str(path)} | {name: getattr(value, "item", lambda v=value: v)() for name, value in shown}
