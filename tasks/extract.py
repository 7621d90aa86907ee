"""Extract: the frozen backbone turns each prepared image and its views into features, once, ever."""

from prefect import task

from tasks import backbones, features, frozen, tracking
from tasks.backend import use
from tasks.records import FeaturesRef, ImagesRef, digest
from tasks.settings import Backbone, Extract, Images
from tasks.stage import stage


@stage(version=3)
def extract(
    images: ImagesRef, backbone: Backbone, settings: Extract, augment: Images, backend: str, refit: bool = False
) -> FeaturesRef:
    """Features of every image of the data set, and of the training images' views, that the table does not hold yet.

    `refit`: validation images will be trained on too, hence in every view. Each backend has tables of its own. The
    digests of all later stages are made of this one's.
    """
    engine = frozen.engine(images, backbone, settings, backend)
    tracking.log_tag("headstart.engine", f"{engine.name}: {engine.reason}")
    table = frozen.table(images, backbone, settings, backend, engine)
    computed = features.fill(table, images, _views(augment, refit), engine, settings.batch_size, "extract")
    return FeaturesRef(
        table=table.name,
        digest=digest(images, table.name, augment.views),
        shape=engine.shape,
        dtype=settings.dtype,
        weights=backbones.weights(backbone),
        computed=computed,
    )


@task(name="extract shard", task_run_name="shard {part} of {parts}", retries=3, retry_delay_seconds=5)
def shard(
    images: ImagesRef, backbone: Backbone, settings: Extract, augment: Images, backend: str, part: int, parts: int
) -> int:
    """The rows of one of several parts of the images, whichever machine it runs on; returns how many were missing.

    A shard that died is run again: rows that it had committed are there and are not computed twice.
    """
    use(backend)
    engine = frozen.engine(images, backbone, settings, backend)
    table = frozen.table(images, backbone, settings, backend, engine)
    name = f"shard {part}"
    return features.fill(table, images, _views(augment), engine, settings.batch_size, name, (part, parts))


def _views(augment: Images, refit: bool = False) -> dict[str, tuple[str, ...]]:
    return {"train": augment.views, "validation": augment.views if refit else ("identity",), "test": ("identity",)}
