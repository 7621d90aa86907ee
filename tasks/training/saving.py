"""How a trained network is saved: its file, and its scores on the validation images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from tasks.features.batches import Batches
from tasks.networks import engines, files
from tasks.records import ModelCost, ModelScores, TrainingLog
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.training import fit

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from tasks.records import ModelRef


#: A network's time for an image is measured within this time, seconds, but for its first images.
BRIEFLY = 0.5


class Saved(TypedDict):
    """The fields of a `ModelRef` that saving gives."""

    path: str
    validation: ModelScores
    cost: ModelCost


def keep(
    address: str,
    network: keras.Model,
    logits: Callable[[], np.ndarray],
    labels: np.ndarray,
    again: ModelRef | None,
    out_of_fold: np.ndarray | None = None,
) -> Saved:
    """Save a network, with its logits float[n, classes] for the validation images, whose labels are int[n].

    `again`: the rung that was trained again, on the validation images too. Its scores are kept, since the new network
    has seen the labels. `out_of_fold`: probabilities of cross-fitting, float[n, classes].
    """
    with folders.folder("models", address) as (working, path):
        name = files.save(network, working)
        file, cost = f"{path}/{name}", _cost(network, working / name)
        if again:
            return Saved(path=file, validation=again.validation, cost=cost)
        found = logits()
        scores = ModelScores(fit.scores(found, labels), f"{path}/{write_probabilities(working, found)}")
        if out_of_fold is not None:
            np.save(working / "out_of_fold.npy", out_of_fold.astype(np.float32))
            scores = replace(scores, out_of_fold=f"{path}/out_of_fold.npy")
        return Saved(path=file, validation=scores, cost=cost)


def _cost(network: keras.Model, file: Path) -> ModelCost:
    """What its file takes, and how long it takes for one image, whatever that shows."""
    engine = engines.own(lambda: network, home())
    pixels = np.zeros((1, *network.input_shape[1:]), np.uint8)
    # Rungs are saved at different times: the shortest time depends least on what else the machine does.
    return ModelCost(files.size(file) / 1e6, float(engines.milliseconds(engine, pixels, BRIEFLY).min()))


def write_probabilities(folder: Path, logits: np.ndarray) -> str:
    """Write a network's probabilities for the validation images, float32[n, classes]; returns the file's name."""
    np.save(folder / "validation.npy", softmax(logits).astype(np.float32))
    return "validation.npy"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64[n, classes], of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def scored(address: str, model: keras.Model, validation: Batches) -> ModelScores:
    """Predict the validation rows for a point of a learning curve, and store the probabilities."""
    logits = fit.predict(model, validation)
    with folders.folder("points", address) as (working, path):
        name = write_probabilities(working, logits)
    return ModelScores(fit.scores(logits, validation.labels), f"{path}/{name}")


def log(started: float, history: fit.History, frozen: int, model: keras.Model) -> TrainingLog:
    """How a model was trained since `started`, by `time.perf_counter()`. `frozen`: the number of frozen variables."""
    return TrainingLog(
        seconds=round(time.perf_counter() - started, 3),
        epochs=history.best,
        frozen_variables=frozen,
        trained_variables=len(model.trainable_variables),
        loss=tuple(history.loss),
        validation_loss=tuple(history.validation_loss),
    )
