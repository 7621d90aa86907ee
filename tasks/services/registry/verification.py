"""Fingerprints of versions: what `tasks/serving/golden.py` says of a folder, asked of what MLflow keeps."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from tasks.runtime.errors import DataError
from tasks.services import tracking
from tasks.serving import golden, package

#: Where the golden images are in a version.
GOLDEN = Path("artifacts", "golden")


def seal(name: str, uri: str, model_id: str) -> str:
    """The fingerprint of a model that was just logged, fetched from where it was put; the manifest is added to it.

    Raises `DataError` where it does not answer the golden images as evaluation did.
    """
    client = tracking.client()
    with _files(uri) as folder:
        fingerprint = golden.seal(folder)
        client.log_model_artifact(model_id, str(folder / golden.MANIFEST))
        strayed, _ = golden.strayed(folder / GOLDEN, _answerer(folder))
    if strayed:
        client.finalize_logged_model(model_id, "FAILED")
        raise DataError(
            f"Expected the packed model of {name} to answer as it did when it was evaluated, found {_listed(strayed)}. "
            "It is not registered. Where the difference is rounding (features kept as float16, another processor), "
            "promotion.tolerance may be raised."
        )
    return fingerprint


def verify(name: str, version: str, fingerprint: str) -> tuple[int, float]:
    """How many golden images a version answered on this machine, and the largest difference of a probability.

    Nothing of the version is run where a file has changed. Raises `DataError` naming what differs, and by how much.
    """
    with opened(name, version, fingerprint) as folder:
        strayed, apart = golden.strayed(folder / GOLDEN, _answerer(folder))
        images = golden.count(folder / GOLDEN)
    if strayed:
        raise _broken(name, version, strayed)
    return images, apart


@contextmanager
def opened(name: str, version: str, fingerprint: str) -> Iterator[Path]:
    """A copy of a version's files, all of which are as they were when it was registered. Raises `DataError`."""
    if not fingerprint:
        raise DataError(
            f"Expected {name} version {version} to have a fingerprint, found none: it was not registered by "
            "headstart train, or by an older one. Train it again."
        )
    with _files(f"models:/{name}/{version}") as folder:
        if wrong := golden.broken(folder, fingerprint):
            raise _broken(name, version, wrong)
        yield folder


def served(folder: Path) -> Path:
    """The part of a version's files that answers: what `serving/package.py` wrote."""
    return next(folder.glob(f"artifacts/*/{package.SPEC}")).parent


def golden_images(folder: Path) -> list[bytes]:
    """The golden images of a version's files."""
    return [file.read_bytes() for file in sorted((folder / GOLDEN).glob("*.image"))]


def answer(folder: Path, images: list[bytes]) -> pd.DataFrame:
    """All that the version in a folder says of images."""
    import mlflow

    return mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"image": images}))


def _broken(name: str, version: str, wrong: list[str]) -> DataError:
    return DataError(
        f"Expected {name} version {version} as it was registered, found {_listed(wrong)}. Do not use it: take "
        f"another version (headstart models {name} shows them), or put its files back."
    )


@contextmanager
def _files(uri: str) -> Iterator[Path]:
    """A copy of a model's files, as a machine that serves would fetch them, without Python's compiled code."""
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory() as folder:
        there = Path(download_artifacts(artifact_uri=uri, dst_path=folder))
        for compiled in list(there.rglob("__pycache__")):
            shutil.rmtree(compiled)
        yield there


def _answerer(folder: Path) -> Callable[[list[bytes]], np.ndarray]:
    """From files' bytes to probabilities, by the version in a folder."""
    return lambda images: np.stack(answer(folder, images)["probabilities"].to_list())


def _listed(sentences: list[str], shown: int = 4) -> str:
    more = f"; and {len(sentences) - shown} more" if len(sentences) > shown else ""
    return "; ".join(sentences[:shown]) + more
