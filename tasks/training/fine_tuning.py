"""The part of a classifier that is trained after its head, and the rows that reach it.

With a cached trunk the frozen blocks below see each fixed view of an image once, and only the blocks above run in every
epoch; with a live trunk the whole network runs from pixels, which can then be changed at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.features import extraction, tables
from tasks.features.batches import Batches, batches_of, jittered
from tasks.networks import classifiers, cutting, freezing
from tasks.records import ImagesRef
from tasks.settings import Extract, FineTune, Images, Loss, Tuning
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
    #: The search for the step size, where there was one.
    found: lr_finder.Found | None


def of(
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: Tuning,
    images: ImagesRef,
    extract: Extract,
    augment: Images,
    seed: int,
    refit: bool = False,
) -> Upper:
    """What `settings` train of the network, thawed, with all below frozen.

    `refit`: validation images are among the rows to train on. Raises `UsageError` where there are not enough blocks.
    """
    splits = ("train", "validation") if refit else ("train",)
    if isinstance(settings, FineTune):
        layer = cutting.boundary(blocks, settings.blocks)
        trunk, top = cutting.cut(network, layer)
        freezing.freeze(trunk)
        freezing.thaw(top)
        if settings.trunk == "cached":
            views = {split: augment.views if split in splits else ("identity",) for split in ("train", "validation")}
            found, engine = extraction.trunk(images, trunk, layer, extract), ""
            table, wanted = found.table, views | {"test": ()}
            if tables.lacks(table, images, wanted):  # extract leaves them where it knows of the cut
                engine = f"{found.engine.name}: {found.engine.reason}"
                tables.fill(table, images, wanted, found.engine, extract.batch_size, "activations")
            train = batches_of(images, splits, augment.views, table)
            return Upper(top, train, batches_of(images, ("validation",), ("identity",), table), (table.name,), engine)
    else:
        freezing.thaw(network)
    train = _live(images, splits, settings, augment, seed)
    return Upper(classifiers.to_logits(network), train, batches_of(images, ("validation",), ("identity",)), (), "")


def train(
    part: Upper,
    network: keras.Model,
    blocks: tuple[str, ...],
    settings: Tuning,
    loss: Loss,
    seed: int,
    only: int = 0,
    address: str = "",
) -> Trained:
    """Train the part of the network in place; all that is frozen is proved to be as it was.

    `only`: end after so many of the epochs, without a look at the validation rows. `address`: see `fit.fit`. Raises
    `thaw.FrozenChanged`.
    """
    frozen = freezing.frozen_variables(network)
    before = freezing.fingerprint(frozen)
    found = None
    with precision.mixed(part.model, settings.precision):
        rate = settings.learning_rate
        if rate == "find":
            found = lr_finder.rate(part.model, part.train, fit.plan(settings, lr_finder.LOWEST, loss, seed))
            rate = found.rate
        plan = fit.plan(settings, rate, loss, seed, optimizers.layer_wise(network, blocks, settings.layer_decay))
        stop = None if only else part.validation
        history = fit.fit(part.model, part.train, stop, plan, only=only, address=address)
    freezing.check_frozen(before, frozen)
    return Trained(history, len(frozen), found)


def _live(images: ImagesRef, splits: tuple[str, ...], settings: Tuning, augment: Images, seed: int) -> Batches:
    """Rows as pixels: every view, or with jitter and for the whole network a random one each time."""
    if isinstance(settings, FineTune) and not settings.jitter:
        return batches_of(images, splits, augment.views)
    return jittered(batches_of(images, splits, ("identity",)), augment.views, settings.jitter, seed)
