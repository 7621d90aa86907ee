"""The frozen network that a recipe names: ready to run, and the table of what it gives."""

from tasks import backbones, engines, store
from tasks.home import home
from tasks.records import ImagesRef, digest
from tasks.settings import Backbone, Extract
from tasks.training import networks


def engine(images: ImagesRef, backbone: Backbone, settings: Extract, backend: str) -> engines.Engine:
    """From prepared images, uint8[n, size, size, 3], to pooled features, float32[n, *shape]."""
    return engines.start(
        settings.engine,
        lambda: networks.pooled(backbones.load(backbone, images.size), backbone.pooling),
        home() / "store" / "engines" / _network(images, backbone, backend),
        images.size,
    )


def table(
    images: ImagesRef, backbone: Backbone, settings: Extract, backend: str, engine: engines.Engine
) -> store.Table:
    """Where the features of this network are kept, by image and view. Each backend has tables of its own."""
    address = digest("features", _network(images, backbone, backend), images.table, settings.dtype)
    return store.Table(f"features-{address}", engine.shape, settings.dtype)


def _network(images: ImagesRef, backbone: Backbone, backend: str) -> str:
    """Digest of all that the features depend on besides the pixels."""
    weights = backbones.weights(backbone)
    return digest("network", weights, backbone.kind, backbone.options, images.size, backbone.pooling, backend)
