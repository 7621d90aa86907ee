"""Extract: the frozen backbone turns each prepared image and its views into features, once, ever."""

from prefect import task

from tasks.features.extraction import Views, start
from tasks.networks import backbones
from tasks.networks.backend import use
from tasks.records import FeaturesRef, ImagesRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Extraction


@stage(version=4)
def extract(images: ImagesRef, settings: Extraction, *, cut: int = 0) -> FeaturesRef:
    """Features of every image of the data set, and of the training images' views, that the table does not hold yet.

    `cut`: so many of the last blocks will be trained, and the same pass keeps what reaches them. Each backend has
    tables of its own. The digests of all later stages are made of this one's.
    """
    found, views = start(images, settings, cut), _views(settings)
    tracking.log_tag("headstart.engine", f"{found.engine.name}: {found.engine.reason}")
    computed = found.fill(images, views, "extract")
    return FeaturesRef(
        table=found.table.name,
        digest=digest(images, found.table.name, settings.views),
        shape=found.table.shape,
        dtype=settings.extract.dtype,
        weights=backbones.weights(settings.backbone),
        computed=computed,
        reused=sum(count * len(views[split]) for split, count in images.dataset.counts.items()) - computed,
    )


@task(name="extract shard", task_run_name="shard {part} of {parts}", retries=3, retry_delay_seconds=5)
def shard(images: ImagesRef, settings: Extraction, cut: int, part: int, parts: int) -> int:
    """The rows of one of several parts of the images, whichever machine it runs on; returns how many were missing.

    A shard that died is run again: rows that it had committed are there and are not computed twice.
    """
    use(settings.backend)
    return start(images, settings, cut).fill(images, _views(settings), f"shard {part}", shard=(part, parts))


def _views(settings: Extraction) -> Views:
    validation = settings.views if settings.refit else ("identity",)
    return {"train": settings.views, "validation": validation, "test": ("identity",)}
