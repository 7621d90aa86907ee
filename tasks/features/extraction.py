"""A frozen network for the images of a data set: what runs it, and the tables that keep what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tasks.networks import backbones, cutting, engines, freezing, pooling
from tasks.networks.backend import current
from tasks.records import ImagesRef, digest
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table
from tasks.settings import Backbone, Extract

if TYPE_CHECKING:
    import keras

#: What crosses a cut is stored with 11 bits of precision: half the space, a relative error of 5e-4.
CROSSING = "float16"


@dataclass(frozen=True)
class Frozen:
    """A network and what runs it, which is started by who asks for it first."""

    #: Makes the network; an engine that was prepared before does without.
    build: Callable[[], keras.Model]
    started: Callable[[], engines.Engine]
    table: Table
    #: Of what crosses a cut, where the engine gives that too, after what belongs into `table`.
    crossing: Table | None = None

    @property
    def engine(self) -> engines.Engine:
        """The engine, the same each time."""
        return self.started()


def start(images: ImagesRef, backbone: Backbone, settings: Extract, backend: str, cut: int = 0) -> Frozen:
    """The engine of the settings on the backbone with its pooling, and its table; equal networks on equal images share.

    `cut`: give what crosses the cut below so many of the last blocks in the same pass. Each backend has tables of its
    own. Raises `UsageError` or `DependencyError` where the weights are needed and cannot be had, and `UsageError` where
    there are not that many blocks.
    """
    weights = backbones.weights(backbone)
    address = digest("network", weights, backbone.kind, backbone.options, images.size, backbone.pooling, backend)
    name = f"features-{digest('features', address, images.table, settings.dtype)}"

    # Made once for all that the start wants of it, and not kept beyond.
    @cache
    def build() -> keras.Model:
        return pooling.pooled(loaded(), backbone.pooling)

    @cache
    def loaded() -> cutting.Backbone:
        return backbones.load(backbone, images.size)

    if not cut:
        started = _starter(settings, build, address, images)
        return Frozen(build, started, Table(name, started().shape, settings.dtype))
    layer = cutting.boundary(loaded().blocks, cut)
    below = cutting.trunk(build(), layer)
    started = _starter(settings, lambda: cutting.both(build(), below), digest("both", address, layer), images)
    features = Table(name, build().output_shape[1:], settings.dtype)
    return Frozen(build, started, features, trunk(images, below, layer, settings).table)


def trunk(images: ImagesRef, network: keras.Model, layer: str, settings: Extract) -> Frozen:
    """The part of a network up to a layer, and the table of what crosses the cut there, which `start` may fill too."""
    weights = freezing.fingerprint(network.variables)
    address = digest("trunk", weights, layer, network.output_shape, images.size, current())
    table = Table(f"activations-{digest(address, images.table, CROSSING)}", network.output_shape[1:], CROSSING)
    return Frozen(lambda: network, _starter(settings, lambda: network, address, images), table)


def _starter(
    settings: Extract, build: Callable[[], keras.Model], address: str, images: ImagesRef
) -> Callable[[], engines.Engine]:
    return cache(lambda: engines.start(settings.engine, build, home() / "store" / "engines" / address, images.size))
