"""The part of a classifier that is trained after its head, and the rows that reach it.

With a cached trunk the frozen blocks below see each fixed view of an image once, and only the blocks above run in every
epoch; with a live trunk the whole network runs from pixels, which can then be changed at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks import engines, features, store
from tasks.backend import current
from tasks.errors import UsageError
from tasks.home import home
from tasks.records import ImagesRef, digest
from tasks.settings import Extract, FineTune, Images, Tuning
from tasks.training import fit, networks, thaw

if TYPE_CHECKING:
    import keras

#: What crosses the cut is stored with 11 bits of precision: half the space, a relative error of 5e-4.
CROSSING = "float16"


@dataclass(frozen=True)
class Upper:
    """A model from what reaches it to logits, on the network's own variables, and its rows."""

    model: keras.Model
    train: fit.Batches
    validation: fit.Batches
    #: Tables that the rows come from.
    tables: tuple[str, ...]
    #: What computed them.
    engine: str


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
    if not isinstance(settings, FineTune) or settings.trunk == "live":
        if isinstance(settings, FineTune):
            trunk, top = networks.cut(network, boundary(blocks, settings.blocks))
            thaw.freeze(trunk)
            thaw.thaw(top)
        else:
            thaw.thaw(network)
        train = _live(images, splits, settings, augment, seed)
        return Upper(networks.to_logits(network), train, fit.rows_of(images, ("validation",), ("identity",)), (), "")
    layer = boundary(blocks, settings.blocks)
    trunk, top = networks.cut(network, layer)
    thaw.freeze(trunk)
    thaw.thaw(top)
    views: dict[str, tuple[str, ...]] = {"train": augment.views, "validation": ("identity",), "test": ()}
    views = views | {"validation": augment.views} if refit else views
    table, engine = _activations(images, trunk, layer, extract, views)
    train = fit.rows_of(images, splits, augment.views, table)
    return Upper(top, train, fit.rows_of(images, ("validation",), ("identity",), table), (table.name,), engine)


def _activations(
    images: ImagesRef, trunk: keras.Model, layer: str, extract: Extract, views: dict[str, tuple[str, ...]]
) -> tuple[store.Table, str]:
    """What crosses the cut for the views, computed where it is missing."""
    weights = thaw.fingerprint(trunk.variables)
    address = digest("trunk", weights, layer, trunk.output_shape, images.size, current())
    engine = engines.start(extract.engine, lambda: trunk, home() / "store" / "engines" / address, images.size)
    table = store.Table(f"activations-{digest(address, images.table, CROSSING)}", engine.shape, CROSSING)
    features.fill(table, images, views, engine, extract.batch_size, "activations")
    return table, f"{engine.name}: {engine.reason}"


def _live(images: ImagesRef, splits: tuple[str, ...], settings: Tuning, augment: Images, seed: int) -> fit.Batches:
    """Rows as pixels: every view, or with jitter and for the whole network a random one each time."""
    if isinstance(settings, FineTune) and not settings.jitter:
        return fit.rows_of(images, splits, augment.views)
    return fit.jittered(fit.rows_of(images, splits, ("identity",)), augment.views, settings.jitter, seed)


def boundary(blocks: tuple[str, ...], last: int) -> str:
    """Name of the layer below which nothing is trained; `UsageError` when there are not that many blocks."""
    if last >= len(blocks):
        most = f"expected at most {len(blocks) - 1}" if len(blocks) > 1 else "expected fine_tune.enabled = false"
        raise UsageError(f"fine_tune.blocks: {most} for this backbone, found {last}.")
    return blocks[-last - 1]
