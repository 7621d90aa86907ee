"""The seal of a version: digests of all its files, and photos whose answers are known.

`manifest.json` holds the SHA-256 of every file of the version, so that any changed byte is found; its own digest is the
seal, which is kept in the registry, away from the files. `golden/` holds some original test images (raw bytes)
with the probabilities that evaluation found for them, so that a machine with other results for the same files is found.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.runtime.errors import DataError

MANIFEST, EXPECTED, SIGNATURE = "manifest.json", "expected.json", "model.sig"
#: Larger files, bytes, are skipped; if all are larger, the smallest is taken.
LARGEST = 8_000_000


def write(folder: Path, predictions: pd.DataFrame, classes: tuple[str, ...], count: int, tolerance: float) -> None:
    """Keep `count` images of a report's predictions (key, uri, label, probabilities) with their probabilities.

    `tolerance`: largest difference of a probability from the expected one, 0 to 1. Raises `DataError` if no image is
    unchanged since it was scored.
    """
    folder.mkdir(parents=True)
    images = []
    for number, (data, probabilities) in enumerate(_chosen(predictions, count)):
        (folder / f"{number}.image").write_bytes(data)
        images.append({"file": f"{number}.image", "probabilities": [float(p) for p in probabilities]})
    expected = {"classes": list(classes), "tolerance": tolerance, "images": images}
    (folder / EXPECTED).write_text(json.dumps(expected, indent=1), encoding="utf-8")


def order(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows in order of choice: from each class in turn, the least certain first, which react most to a change."""
    top = np.sort(np.stack(predictions["probabilities"].to_list()), axis=1)
    margin = top[:, -1] - top[:, -2] if top.shape[1] > 1 else top[:, -1]
    ranked = predictions.assign(margin=margin).sort_values("margin", kind="stable")
    ranked["turn"] = ranked.groupby("label").cumcount()
    return ranked.sort_values(["turn", "margin"], kind="stable")


def seal(folder: Path) -> str:
    """Write the manifest of a version's folder; returns the seal, a SHA-256 in hex."""
    text = json.dumps(digests(folder), indent=1, sort_keys=True).encode()
    (folder / MANIFEST).write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def broken(folder: Path, seal: str) -> list[str]:
    """Files that changed since the version was sealed, a sentence each; checked before anything is run."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return [f"{MANIFEST} is missing"]
    text = manifest.read_bytes()
    if hashlib.sha256(text).hexdigest() != seal:
        return [f"{MANIFEST}: expected SHA-256 {seal[:12]}…, found {hashlib.sha256(text).hexdigest()[:12]}…"]
    try:
        expected = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return [f"{MANIFEST} is no list of files"]
    return differences(expected, digests(folder))


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """A sentence for each file whose digest is another one, that is missing, or that is new."""
    return [
        _difference(name, expected.get(name), found.get(name))
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def strayed(folder: Path, answer: Callable[[list[bytes]], np.ndarray]) -> tuple[list[str], float]:
    """Golden images whose probabilities are not the expected ones, a sentence each, and the largest difference.

    `folder`: `golden/` of the version. `answer`: from files' bytes to probabilities, float[n, classes].
    """
    expected = json.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    images, tolerance = expected["images"], expected["tolerance"]
    wanted = np.array([image["probabilities"] for image in images])
    found = answer([(folder / image["file"]).read_bytes() for image in images])
    if found.shape != wanted.shape:
        return [f"expected {wanted.shape[1]} classes, found {found.shape[1]}"], float("inf")
    apart = np.abs(found - wanted)
    worst = apart.argmax(axis=1)
    sentences = [
        f"golden/{images[i]['file']}: probability of {expected['classes'][k]} expected {wanted[i, k]:.4f}, found "
        f"{found[i, k]:.4f}, a difference of {apart[i, k]:.4f}, at most {tolerance:g} is allowed"
        for i, k in enumerate(worst)
        if not apart[i, k] <= tolerance  # NaN is a difference
    ]
    return sentences, float(apart.max())


def count(folder: Path) -> int:
    """Images in `golden/`."""
    return len(list(folder.glob("*.image")))


def _chosen(predictions: pd.DataFrame, count: int) -> list[tuple[bytes, np.ndarray]]:
    rows = order(predictions)
    rows = rows.assign(uri=datasets.paths(rows))
    sizes = rows["uri"].map(lambda uri: Path(uri).stat().st_size if Path(uri).is_file() else np.inf)
    if (sizes > LARGEST).all():
        sizes, count = sizes.sort_values(kind="stable"), 1
    else:
        sizes = sizes[sizes <= LARGEST]
    unchanged = _unchanged(rows.loc[sizes[np.isfinite(sizes)].index])
    found = list(islice(unchanged, count))
    if not found:
        raise DataError("Expected the test images where they were when scored, found none of them unchanged.")
    return found


def _unchanged(rows: pd.DataFrame) -> Iterator[tuple[bytes, np.ndarray]]:
    for row in rows.itertuples():
        data = Path(row.uri).read_bytes()
        if hashlib.sha256(data).hexdigest() == row.key:
            yield data, row.probabilities


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file but the manifest, its signature, and what MLflow and Python add where they load a model."""
    ignored = {MANIFEST, SIGNATURE, "registered_model_meta"}
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.parent.name != "__pycache__"]
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in names.items() if name not in ignored}


def _difference(name: str, sealed: str | None, found: str | None) -> str:
    if sealed is None:
        return f"{name} was not there when the version was registered"
    if found is None:
        return f"{name} is missing"
    return f"{name}: expected SHA-256 {sealed[:12]}…, found {found[:12]}…"
