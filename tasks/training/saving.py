"""A trained network as it is kept: its file, and how it does on the validation images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from tasks.features.batches import Batches
from tasks.networks import files
from tasks.records import ModelScores
from tasks.runtime.store import folders
from tasks.training import fit

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from tasks.records import ModelRef


class Kept(TypedDict):
    """The fields of a `ModelRef` that saving gives."""

    path: str
    validation: ModelScores


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
            return Kept(path=file, validation=again.validation)
        found = logits()
        said = f"{path}/{write_probabilities(working, found)}"
        return Kept(path=file, validation=ModelScores(fit.scores(found, labels), said))


def write_probabilities(folder: Path, logits: np.ndarray) -> str:
    """Write what a network says of the validation images as float32[n, classes]; gives the file's name."""
    np.save(folder / "validation.npy", softmax(logits).astype(np.float32))
    return "validation.npy"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64[n, classes], of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def scored(address: str, model: keras.Model, validation: Batches) -> ModelScores:
    """Ask a model for the validation rows of a point of a learning curve, and keep what it says."""
    logits = fit.predict(model, validation)
    with folders.folder("points", address) as (working, path):
        name = write_probabilities(working, logits)
    return ModelScores(fit.scores(logits, validation.labels), f"{path}/{name}")
