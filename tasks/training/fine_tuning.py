"""The part of a classifier that is trained after its head, and the rows that reach it.

With a cached trunk the frozen blocks below see each fixed view of an image once, and only the blocks above run in every
epoch; with a live trunk the whole network runs from pixels, which can then be changed at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.features import extraction
from tasks.features.batches import Batches, batches_of, jittered
from tasks.networks import classifiers, cutting, freezing
from tasks.records import ImagesRef
from tasks.settings import FineTune, NetworkTraining
from tasks.training import fit, lr_finder, optimizers, precision

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Upper:
    """A model from what reaches it to logits, on the network's own variables, and its rows."""

    model: keras.Model
    train: Batches
    validation: Batches
    #: Tables that the rows come from.
    tables: tuple[str, ...]
    #: What computed them; empty where they were there.
    engine: str


@dataclass(frozen=True)
class Trained:
    """How training went."""

    history: fit.History
    #: Variables that were proved to be as they were.
    frozen: int
    #: The search for the learning rate, where there was one.
    found: lr_finder.Found | None


def part_above_cut(
    network: keras.Model, blocks: tuple[str, ...], settings: NetworkTraining, images: ImagesRef, refit: bool = False
) -> Upper:
    """What `settings` train of the network, thawed, with all below frozen.

    `refit`: validation images are among the rows to train on. Raises `UsageError` where there are not enough blocks.
    """
    splits, tuning = ("train", "validation") if refit else ("train",), settings.tuning
    if isinstance(tuning, FineTune):
        layer = cutting.boundary(blocks, tuning.blocks)
        trunk, top = cutting.cut(network, layer)
        freezing.freeze(trunk)
        freezing.thaw(top)
        if tuning.trunk == "cached":
            found, engine = extraction.trunk(images, trunk, layer, settings.extract), ""
            views = {split: settings.views if split in splits else ("identity",) for split in ("train", "validation")}
            if found.lacks(images, views | {"test": ()}):  # extract leaves them where it knows of the cut
                engine = f"{found.engine.name}: {found.engine.reason}"
                found.fill(images, views | {"test": ()}, "activations")
            train = batches_of(images, splits, settings.views, found.table)
            validation = batches_of(images, ("validation",), ("identity",), found.table)
            return Upper(top, train, validation, (found.table.name,), engine)
    else:
        freezing.thaw(network)
    train, validation = _live(images, splits, settings), batches_of(images, ("validation",), ("identity",))
    return Upper(classifiers.to_logits(network), train, validation, (), "")


def train(
    part: Upper,
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: NetworkTraining,
    only: int = 0,
    address: str = "",
) -> Trained:
    """Train the part of the network in place; all that is frozen is proved to be as it was.

    `only`: end after so many of the epochs, without a look at the validation rows. `address`: see `fit.fit`. Raises
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


def _live(images: ImagesRef, splits: tuple[str, ...], settings: NetworkTraining) -> Batches:
    """Rows as pixels: every view, or with jitter and for the whole network a random one each time."""
    tuning = settings.tuning
    if isinstance(tuning, FineTune) and not tuning.jitter:
        return batches_of(images, splits, settings.views)
    return jittered(batches_of(images, splits, ("identity",)), settings.views, tuning.jitter, settings.seed)
