"""The part of a classifier that is trained after its head, and the rows that reach it.

With a cached trunk the frozen blocks below see each fixed view of an image once, and only the blocks above run in every
epoch; with a live trunk the whole network runs from pixels, which can then be changed at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.features import extraction
from tasks.features.augmentation import augmented
from tasks.features.batches import Batches, jittered, joined, pixel_batches, table_batches
from tasks.networks import classifiers, cutting, freezing
from tasks.records import ImagesRef
from tasks.runtime.errors import UsageError
from tasks.settings import FineTune, NetworkTraining, Whole
from tasks.training import fit, optimizers, precision
from tasks.training.trials import lr_finder

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class TrainablePart:
    """A model from its inputs to logits, with the network's own variables, and its rows."""

    model: keras.Model
    train: Batches
    validation: Batches
    #: Tables that the rows come from.
    tables: tuple[str, ...]
    #: What computed them; empty if they were stored already.
    engine: str
    #: Views of each photo, one after the other among the rows to train on.
    views: tuple[str, ...]


@dataclass(frozen=True)
class Photos:
    """Rows of a data set: those to train on, those to validate on, and further ones without labels to train on."""

    train: pd.DataFrame
    validation: pd.DataFrame
    further: pd.DataFrame | None = None


@dataclass(frozen=True)
class Trained:
    """How training went."""

    history: fit.History
    #: Number of variables that were checked to be unchanged.
    frozen: int
    #: The search for the learning rate, if there was one.
    found: lr_finder.Found | None


def of_splits(images: ImagesRef, refit: bool = False) -> Photos:
    """The photos of a data set; `refit`: those to validate on are trained on too."""
    every = datasets.rows(images.dataset)
    splits = ("train", "validation") if refit else ("train",)
    train, validation = (every[every["split"].isin(some)] for some in (splits, ("validation",)))
    return Photos(train.reset_index(drop=True), validation.reset_index(drop=True))


def part_above_cut(
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: NetworkTraining,
    images: ImagesRef,
    photos: Photos | None = None,
) -> TrainablePart:
    """The part of the network that `settings` train, thawed, with everything below it frozen.

    `photos`: without them, those of the splits `train` and `validation`. Further ones follow those to train on; their
    labels are 0 here. Raises `UsageError` if there are not enough blocks.
    """
    tuning, photos = settings.tuning, photos or of_splits(images)
    rows, further = photos.train, photos.further
    if isinstance(tuning, FineTune):
        layer = cutting.boundary(blocks, tuning.blocks)
        trunk, top = cutting.cut(network, layer)
        freezing.freeze(trunk)
        freezing.unfreeze(top)
        if tuning.trunk == "cached":
            found, engine = extraction.trunk(images, trunk, layer, settings.extract), ""
            needed = _views(photos, settings.views)
            seen = pd.concat([rows, photos.validation]).drop_duplicates("key")
            if found.lacks(images, needed, seen):  # extract stores them if it knows the cut
                engine = f"{found.engine.name}: {found.engine.reason}"
                found.fill(images, needed, "activations", seen)
            train = table_batches(rows, datasets.labels(rows, images.dataset.classes), found.table, settings.views)
            if further is not None:
                found.fill(images, {"train": settings.views}, "activations", further)
                train = joined(train, table_batches(further, _none(further), found.table, settings.views))
            labels = datasets.labels(photos.validation, images.dataset.classes)
            validation = table_batches(photos.validation, labels, found.table, ("identity",))
            return TrainablePart(top, train, validation, (found.table.name,), engine, settings.views)
    elif tuning.lora_rank:
        if not freezing.low_rank(network, tuning.lora_rank):
            raise UsageError(
                f"whole.lora_rank: expected 0 for a network without attention whose queries and values are known, "
                f"found {tuning.lora_rank}."
            )
    else:
        freezing.unfreeze(network)
    random = not isinstance(tuning, FineTune) or tuning.random
    views: tuple[str, ...] = ("identity",) if random else settings.views
    train = pixel_batches(images, rows, datasets.labels(rows, images.dataset.classes), views)
    if further is not None:
        train = joined(train, pixel_batches(images, further, _none(further), views))
    if random:
        train = jittered(train, settings.views, tuning.jitter, settings.seed)
        train = augmented(train, tuning.augment, settings.seed, len(images.dataset.classes))
    validation = pixel_batches(
        images, photos.validation, datasets.labels(photos.validation, images.dataset.classes), ("identity",)
    )
    return TrainablePart(classifiers.to_logits(network), train, validation, (), "", views)


def train(
    part: TrainablePart,
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: NetworkTraining,
    on_epoch: Callable[[fit.History], None] = lambda history: None,
    only: int = 0,
    address: str = "",
) -> Trained:
    """Train the part of the network in place, and check that the frozen variables are unchanged.

    `only`: end after this number of epochs, without the validation rows. `on_epoch`, `address`: see `fit.fit`. Raises
    `freezing.FrozenChanged`.
    """
    frozen, tuning = freezing.frozen_variables(network), settings.tuning
    before = freezing.variables_digest(frozen)
    found = None
    with precision.mixed(part.model, tuning.precision):
        rate = tuning.learning_rate
        if rate == "find":
            plan = fit.plan(tuning, lr_finder.LOWEST, settings.loss, settings.seed)
            found = lr_finder.rate(part.model, part.train, plan)
            rate = found.rate
        shares = {} if _updates(tuning) else optimizers.layer_wise(network, blocks, tuning.layer_decay)
        plan = fit.plan(tuning, rate, settings.loss, settings.seed, shares)
        stop = None if only else part.validation
        history = fit.fit(part.model, part.train, stop, plan, on_epoch, only, address)
    freezing.check_frozen(before, frozen)
    return Trained(history, len(frozen), found)


def merged(network: keras.Model, tuning: FineTune | Whole, load: Callable[[], keras.Model]) -> keras.Model:
    """The trained network with the layers that `load` gives: updates of low rank are added to their weights."""
    return freezing.merged(network, load()) if _updates(tuning) else network


def _updates(tuning: FineTune | Whole) -> bool:
    return isinstance(tuning, Whole) and tuning.lora_rank > 0


def _none(rows: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(rows), np.int64)


def _views(photos: Photos, trained: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Views that are needed of the photos of each split."""
    needed: dict[str, tuple[str, ...]] = dict.fromkeys(photos.train["split"].unique(), trained)
    for split in photos.validation["split"].unique():
        needed[split] = tuple(dict.fromkeys((*needed.get(split, ()), "identity")))
    return needed
