"""Extract: the frozen backbone turns each prepared image and its views into features, once, ever."""

from prefect import task

from tasks.features import extraction, tables
from tasks.networks import backbones
from tasks.networks.backend import use
from tasks.records import FeaturesRef, ImagesRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Backbone, Extract, Images


@stage(version=3)
def extract(
    images: ImagesRef,
    backbone: Backbone,
    settings: Extract,
    augment: Images,
    backend: str,
    refit: bool = False,
    *,
    cut: int = 0,
) -> FeaturesRef:
    """Features of every image of the data set, and of the training images' views, that the table does not hold yet.

    `refit`: validation images will be trained on too, hence in every view. `cut`: so many of the last blocks will be
    trained, and the same pass keeps what reaches them. Each backend has tables of its own. The digests of all later
    stages are made of this one's.
    """
    found = extraction.start(images, backbone, settings, backend, cut)
    tracking.log_tag("headstart.engine", f"{found.engine.name}: {found.engine.reason}")
    views = _views(augment, refit)
    computed = tables.fill(
        found.table, images, views, found.engine, settings.batch_size, "extract", beside=_beside(found, views)
    )
    return FeaturesRef(
        table=found.table.name,
        digest=digest(images, found.table.name, augment.views),
        shape=found.table.shape,
        dtype=settings.dtype,
        weights=backbones.weights(backbone),
        computed=computed,
        reused=sum(count * len(views[split]) for split, count in images.dataset.counts.items()) - computed,
    )


@task(name="extract shard", task_run_name="shard {part} of {parts}", retries=3, retry_delay_seconds=5)
def shard(
    images: ImagesRef,
    backbone: Backbone,
    settings: Extract,
    augment: Images,
    backend: str,
    refit: bool,
    cut: int,
    part: int,
    parts: int,
) -> int:
    """The rows of one of several parts of the images, whichever machine it runs on; returns how many were missing.

    A shard that died is run again: rows that it had committed are there and are not computed twice.
    """
    use(backend)
    found, views = extraction.start(images, backbone, settings, backend, cut), _views(augment, refit)
    return tables.fill(
        found.table,
        images,
        views,
        found.engine,
        settings.batch_size,
        f"shard {part}",
        (part, parts),
        beside=_beside(found, views),
    )


def _beside(found: extraction.Frozen, views: dict[str, tuple[str, ...]]) -> tables.Beside | None:
    """Nothing is trained on test images."""
    return tables.Beside(found.crossing, views | {"test": ()}) if found.crossing else None


def _views(augment: Images, refit: bool) -> dict[str, tuple[str, ...]]:
    return {"train": augment.views, "validation": augment.views if refit else ("identity",), "test": ("identity",)}
