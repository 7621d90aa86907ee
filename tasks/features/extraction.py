"""A frozen network for the images of a data set: its engine, and the tables that store its outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.data.images.augment import view
from tasks.features import tables
from tasks.networks import backbones, cutting, engines, freezing, pooling
from tasks.networks.backend import current
from tasks.records import OLDER, ImagesRef, digest
from tasks.runtime import progress
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tasks.settings import Extract, Extraction

#: Activations at a cut are stored with 11 bits of precision: half the space, a relative error of 5e-4.
CROSSING = "float16"
#: For each split, the views that its images need.
Views = Mapping[str, Sequence[str]]
#: Of images that nothing is trained on, no activations are needed.
UNTRAINED: dict[str, tuple[str, ...]] = {"test": (), OLDER: ()}


@dataclass(frozen=True)
class Frozen:
    """A network and its engine, which is started on first use."""

    #: Builds the network; an engine that was prepared before does not need it.
    build: Callable[[], keras.Model]
    started: Callable[[], engines.Engine]
    #: Images per step.
    batch_size: int
    table: Table
    #: Table of the activations at a cut, if the engine returns them too, after the values of `table`.
    crossing: Table | None = None
    #: As in `heads.Examples`, of the values of `table`; empty if they are one part.
    parts: tuple[int, ...] = ()

    @property
    def engine(self) -> engines.Engine:
        """The engine, the same each time."""
        return self.started()

    def lacks(self, images: ImagesRef, views: Views, rows: pd.DataFrame | None = None) -> bool:
        """Whether `fill` would have anything to compute."""
        every = datasets.rows(images.dataset) if rows is None else rows
        return not tables.missing(self.table, every, views)[0].empty

    def fill(
        self,
        images: ImagesRef,
        views: Views,
        what: str,
        rows: pd.DataFrame | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> int:
        """Compute and commit the rows that the table lacks; returns how many.

        `what`: for progress and errors. `rows`: only these images, instead of all. `shard`: (i, n) takes every n-th
        image, from the i-th. Activations at the cut are stored for the same rows, except those that
        nothing is trained on. Decoding, views and inference overlap. Raises `DataError` where an output is not a
        number, or does not fit the table's type.
        """
        part, parts = shard
        every = datasets.rows(images.dataset) if rows is None else rows
        rows, wanted = tables.missing(self.table, every[part::parts], views)
        total = sum(len(names) for names in wanted)
        if not total:
            return 0
        own = math.prod(self.table.shape)
        waiting = [tables.Waiting(self.table, slice(own), what)]
        if self.crossing:
            beside = set(tables.keys_of(*tables.missing(self.crossing, rows, {**views, **UNTRAINED})))
            # Committed first: the rows of `table` decide what counts as missing.
            waiting.insert(0, tables.Waiting(self.crossing, slice(own, None), what, beside))
        counted = ((batch, len(batch[0])) for batch in _outputs(self, images, rows, wanted))
        for keys, outputs in progress.counted(counted, total, what):
            for each in waiting:
                each.add(keys, outputs)
            if len(waiting[-1].keys) >= tables.COMMIT:
                for each in waiting:
                    each.commit()
        for each in waiting:
            each.commit()
        return total


def start(images: ImagesRef, settings: Extraction, cut: int = 0) -> Frozen:
    """The engine for the backbone with its pooling, and its table; equal networks on equal images share them.

    `cut`: also return the activations at the cut below this number of last blocks, in the same pass. Each backend has
    its own tables. Raises `UsageError` or `DependencyError` if needed weights cannot be loaded, and `UsageError` if
    there are too few blocks.
    """
    backbone, how = settings.backbone, settings.extract
    weights = backbones.weights(backbone)
    identity = (weights, backbone.kind, backbone.options, images.size, backbone.pooling, settings.backend)
    address = digest("network", *identity)
    name = f"features-{digest('features', address, images.table, how.dtype)}"

    # Built at most once per start.
    @cache
    def build() -> keras.Model:
        return pooling.pooled(loaded(), backbone.pooling)

    @cache
    def loaded() -> cutting.Backbone:
        return backbones.load(backbone, images.size)

    parts = (
        ()
        if backbone.pooling in ("avg", "none") and not backbone.beside
        else _parts(address, lambda: pooling.parts(loaded(), backbone.pooling))
    )
    if not cut:
        started = _starter(how, build, address, images)
        return Frozen(build, started, how.batch_size, Table(name, started().shape, how.dtype), parts=parts)
    layer = cutting.boundary(loaded().blocks, cut)
    below = cutting.trunk(build(), layer)
    started = _starter(how, lambda: cutting.both(build(), below), digest("both", address, layer), images)
    features = Table(name, build().output_shape[1:], how.dtype)
    return Frozen(build, started, how.batch_size, features, trunk(images, below, layer, how).table, parts)


def trunk(images: ImagesRef, network: keras.Model, layer: str, settings: Extract) -> Frozen:
    """The part of a network up to a layer, and the table of the activations there, which `start` may fill too."""
    weights = freezing.variables_digest(network.variables)
    address = digest("trunk", weights, layer, network.output_shape, images.size, current())
    table = Table(f"activations-{digest(address, images.table, CROSSING)}", network.output_shape[1:], CROSSING)
    return Frozen(lambda: network, _starter(settings, lambda: network, address, images), settings.batch_size, table)


def _parts(address: str, count: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
    """Widths of a network's parts, stored beside its engine, which starts without building the network."""
    memory = home() / "store" / "engines" / address / "parts.json"
    with suppress(OSError, ValueError, TypeError):  # none yet, or damaged
        return tuple(int(width) for width in json.loads(memory.read_bytes()))
    found = count()
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(found))
    return found


def _starter(
    settings: Extract, build: Callable[[], keras.Model], address: str, images: ImagesRef
) -> Callable[[], engines.Engine]:
    return cache(lambda: engines.start(settings.engine, build, home() / "store" / "engines" / address, images.size))


def _outputs(
    frozen: Frozen, images: ImagesRef, rows: pd.DataFrame, wanted: list[list[str]]
) -> Iterator[tuple[list[str], np.ndarray]]:
    keys = tables.keys_of(rows, wanted)
    batches = engines.ahead(_views(datasets.pixels(images, rows, frozen.batch_size), wanted))
    start = 0
    for outputs in frozen.engine.run(batches):
        yield keys[start : start + len(outputs)], outputs
        start += len(outputs)


def _views(batches: Iterator[np.ndarray], wanted: list[list[str]]) -> Iterator[np.ndarray]:
    """Each image's wanted views, one after the other: uint8[sum of views, side, side, 3] per batch."""
    names = iter(wanted)
    for batch in batches:
        yield np.stack([view(image, name) for image, own in zip(batch, names, strict=False) for name in own])
