"""A frozen network for the images of a data set: what runs it, and the table that keeps what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tasks import backbones, engines, store
from tasks.home import home
from tasks.records import ImagesRef, digest
from tasks.settings import Backbone, Extract
from tasks.training import networks

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Frozen:
    """A backbone with its pooling, ready to run."""

    #: Makes the network, pixels to features; an engine that was prepared before does without.
    build: Callable[[], keras.Model]
    engine: engines.Engine
    table: store.Table


def start(images: ImagesRef, backbone: Backbone, settings: Extract, backend: str) -> Frozen:
    """The engine of the settings on the backbone, and its table; equal networks on equal images share one.

    Each backend has tables of its own. Raises `UsageError` or `DependencyError` where the weights are needed and cannot
    be had.
    """
    weights = backbones.weights(backbone)
    address = digest("network", weights, backbone.kind, backbone.options, images.size, backbone.pooling, backend)

    def build() -> keras.Model:
        return networks.pooled(backbones.load(backbone, images.size), backbone.pooling)

    # Made once for all that the start wants of it, and not kept beyond.
    engine = engines.start(settings.engine, cache(build), home() / "store" / "engines" / address, images.size)
    name = digest("features", address, images.table, settings.dtype)
    return Frozen(build, engine, store.Table(f"features-{name}", engine.shape, settings.dtype))
