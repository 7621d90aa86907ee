"""A trained network as it is kept: its file, and how it does on the validation images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from tasks.features.batches import Batches
from tasks.networks import files
from tasks.records import PointRef
from tasks.runtime.store import folders
from tasks.training import fit

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from tasks.records import ModelRef


class Kept(TypedDict):
    """The fields of a `ModelRef` that saving gives."""

    path: str
    predictions: str
    validation: dict[str, float]


def keep(
    address: str,
    network: keras.Model,
    logits: Callable[[], np.ndarray],
    labels: np.ndarray,
    again: ModelRef | None,
) -> Kept:
    """Save a network, with the logits float[n, classes] that it gives the validation images, whose labels are int[n].

    `again`: the rung that was trained again, with the validation images among the others. What that one gave stays,
    since the new network has seen the answers.
    """
    with folders.folder("models", address) as (working, path):
        file = f"{path}/{files.save(network, working)}"
        if again:
            return Kept(path=file, predictions=again.predictions, validation=again.validation)
        found = logits()
        said = f"{path}/{write_probabilities(working, found)}"
        return Kept(path=file, predictions=said, validation=fit.scores(found, labels))


def write_probabilities(folder: Path, logits: np.ndarray) -> str:
    """Write what a network says of the validation images as float32[n, classes]; gives the file's name."""
    np.save(folder / "validation.npy", softmax(logits).astype(np.float32))
    return "validation.npy"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64[n, classes], of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def point(
    address: str,
    method: str,
    images: int,
    side: int,
    seed: int,
    model: keras.Model,
    validation: Batches,
    history: fit.History,
    seconds: float,
) -> PointRef:
    """A point of the method's curve: the model is asked for the validation rows, and what it says is kept."""
    logits = fit.predict(model, validation)
    with folders.folder("points", address) as (working, path):
        name = write_probabilities(working, logits)
    return PointRef(
        digest=address,
        method=method,
        images=images,
        side=side,
        seed=seed,
        validation=fit.scores(logits, validation.labels),
        predictions=f"{path}/{name}",
        seconds=round(seconds, 3),
        epochs=history.best,
    )
