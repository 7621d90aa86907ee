"""The part of a classifier that is trained after its head, and the rows that reach it.

With a cached trunk the frozen blocks below see each fixed view of an image once, and only the blocks above run in every
epoch; with a live trunk the whole network runs from pixels, which can then be changed at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tasks.data import datasets
from tasks.features import extraction
from tasks.features.batches import Batches, batches_of, jittered, table_batches
from tasks.networks import classifiers, cutting, freezing
from tasks.records import ImagesRef
from tasks.settings import FineTune, NetworkTraining
from tasks.training import fit, lr_finder, optimizers, precision

if TYPE_CHECKING:
    import keras


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


@dataclass(frozen=True)
class Trained:
    """How training went."""

    history: fit.History
    #: Number of variables that were checked to be unchanged.
    frozen: int
    #: The search for the learning rate, if there was one.
    found: lr_finder.Found | None


def part_above_cut(
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: NetworkTraining,
    images: ImagesRef,
    refit: bool = False,
    only: pd.DataFrame | None = None,
) -> TrainablePart:
    """The part of the network that `settings` train, thawed, with everything below it frozen.

    `refit`: validation images are among the rows to train on. `only`: with a cached trunk, the images to train on out
    of those. Raises `UsageError` if there are not enough blocks.
    """
    splits, tuning = ("train", "validation") if refit else ("train",), settings.tuning
    if isinstance(tuning, FineTune):
        layer = cutting.boundary(blocks, tuning.blocks)
        trunk, top = cutting.cut(network, layer)
        freezing.freeze(trunk)
        freezing.unfreeze(top)
        if tuning.trunk == "cached":
            found, engine = extraction.trunk(images, trunk, layer, settings.extract), ""
            views: dict[str, tuple[str, ...]] = {
                split: settings.views if split in splits else ("identity",) for split in ("train", "validation")
            }
            rows = _rows(images, splits) if only is None else only
            needed = pd.concat([rows, _rows(images, ("validation",))]).drop_duplicates("key")
            if found.lacks(images, views, needed):  # extract stores them if it knows the cut
                engine = f"{found.engine.name}: {found.engine.reason}"
                found.fill(images, views, "activations", needed)
            labels = datasets.labels(rows, images.dataset.classes)
            train = table_batches(rows, labels, found.table, settings.views)
            validation = batches_of(images, ("validation",), ("identity",), found.table)
            return TrainablePart(top, train, validation, (found.table.name,), engine)
    else:
        freezing.unfreeze(network)
    train, validation = _live(images, splits, settings), batches_of(images, ("validation",), ("identity",))
    return TrainablePart(classifiers.to_logits(network), train, validation, (), "")


def train(
    part: TrainablePart,
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: NetworkTraining,
    only: int = 0,
    address: str = "",
) -> Trained:
    """Train the part of the network in place, and check that the frozen variables are unchanged.

    `only`: end after this number of epochs, without the validation rows. `address`: see `fit.fit`. Raises
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
        shares = optimizers.layer_wise(network, blocks, tuning.layer_decay)
        plan = fit.plan(tuning, rate, settings.loss, settings.seed, shares)
        stop = None if only else part.validation
        history = fit.fit(part.model, part.train, stop, plan, only=only, address=address)
    freezing.check_frozen(before, frozen)
    return Trained(history, len(frozen), found)


def _rows(images: ImagesRef, parts: tuple[str, ...]) -> pd.DataFrame:
    every = datasets.rows(images.dataset)
    return every[every["split"].isin(parts)].reset_index(drop=True)


def _live(images: ImagesRef, splits: tuple[str, ...], settings: NetworkTraining) -> Batches:
    """Rows as pixels: every view; with jitter, or for the whole network, a random view each time."""
    tuning = settings.tuning
    if isinstance(tuning, FineTune) and not tuning.jitter:
        return batches_of(images, splits, settings.views)
    return jittered(batches_of(images, splits, ("identity",)), settings.views, tuning.jitter, settings.seed)
