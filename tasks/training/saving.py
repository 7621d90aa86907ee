"""A trained network as it is kept: its file, and how it does on the validation images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from tasks.networks import classifiers
from tasks.runtime.store import tables as store
from tasks.training import fit

if TYPE_CHECKING:
    import keras
    import numpy as np

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
    with store.folder("models", address) as (working, path):
        file = f"{path}/{classifiers.save(network, working)}"
        if again:
            return Kept(path=file, predictions=again.predictions, validation=again.validation)
        found = logits()
        said = f"{path}/{classifiers.write_probabilities(working, found)}"
        return Kept(path=file, predictions=said, validation=fit.scores(found, labels))
