"""Fingerprints of versions: the checks of `tasks/serving/golden.py`, for the files in MLflow."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from tasks.runtime.errors import DataError
from tasks.services import tracking
from tasks.services.registry import signing
from tasks.serving import golden, package

#: Where the golden images are in a version.
GOLDEN = Path("artifacts", "golden")


def seal(name: str, uri: str, model_id: str, sent: dict[str, str]) -> str:
    """The seal of a model that was just logged, from a fresh download; adds the manifest to the model, and a
    signature if there is a key.

    `sent`: digests of the files that were sent. Raises `DataError` if others came back, of which none is run, or if the
    model does not answer the golden images as in evaluation.
    """
    client = tracking.client()
    with _files(uri) as folder:
        if changed := golden.differences(sent, golden.digests(folder)):
            client.finalize_logged_model(model_id, "FAILED")
            raise DataError(
                f"Expected the model of {name} to come back from the artifact store as it was sent, found "
                f"{_listed(changed)}. It is not registered. See who can write into the store."
            )
        seal = golden.seal(folder)
        client.log_model_artifact(model_id, str(folder / golden.MANIFEST))
        if signature := signing.sign(folder):
            client.log_model_artifact(model_id, str(signature))
        signing.check(folder, name, "")
        strayed, _ = golden.strayed(folder / GOLDEN, _answerer(folder))
    if strayed:
        client.finalize_logged_model(model_id, "FAILED")
        raise DataError(
            f"Expected the packaged model of {name} to answer as it did in evaluation, found {_listed(strayed)}. "
            "It is not registered. If the difference is rounding (features kept as float16, another processor), "
            "raise promotion.tolerance."
        )
    return seal


def verify(name: str, version: str, seal: str) -> tuple[int, float]:
    """How many golden images a version answered on this machine, and the largest difference of a probability.

    If a file has changed, nothing of the version is run. Raises `DataError` naming what differs, and by how much.
    """
    with opened(name, version, seal) as folder:
        strayed, difference = golden.strayed(folder / GOLDEN, _answerer(folder))
        images = golden.count(folder / GOLDEN)
    if strayed:
        raise _broken(name, version, strayed)
    return images, difference


@contextmanager
def opened(name: str, version: str, seal: str) -> Iterator[Path]:
    """A copy of a version's files, checked to be as at registration, and signed where that is wanted.

    Raises `DataError`; nothing of the version has been run then.
    """
    if not seal:
        raise DataError(
            f"Expected {name} version {version} to be sealed, found no seal: it was not registered by "
            "headstart train, or by an older release. Train it again."
        )
    with _files(f"models:/{name}/{version}") as folder:
        if wrong := golden.broken(folder, seal):
            raise _broken(name, version, wrong)
        signing.check(folder, name, version)
        yield folder


def served(folder: Path) -> Path:
    """The folder that `serving/package.py` wrote, among a version's files."""
    return next(folder.glob(f"artifacts/*/{package.SPEC}")).parent


def golden_images(folder: Path) -> list[bytes]:
    """The golden images of a version's files."""
    return [file.read_bytes() for file in sorted((folder / GOLDEN).glob("*.image"))]


def answer(folder: Path, images: list[bytes]) -> pd.DataFrame:
    """All answers of the version in a folder for images."""
    import mlflow

    return mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"image": images}))


def _broken(name: str, version: str, wrong: list[str]) -> DataError:
    return DataError(
        f"Expected {name} version {version} as it was registered, found {_listed(wrong)}. Do not use it: take "
        f"another version (headstart models {name} lists them), or restore its files."
    )


@contextmanager
def _files(uri: str) -> Iterator[Path]:
    """A copy of a model's files, as a serving machine would download them, without Python's compiled code."""
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
