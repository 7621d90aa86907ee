"""Extract: the frozen backbone turns each prepared image and its views into features, only once."""

from prefect import task

from tasks.features.extraction import Views, start
from tasks.networks import backbones, pooling
from tasks.networks.backend import use
from tasks.records import OLDER, FeaturesRef, ImagesRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Extraction


@stage(version=5)
def extract(images: ImagesRef, settings: Extraction, *, cut: int = 0) -> FeaturesRef:
    """Compute the features that the table does not hold yet, of every image and of the training images' views.

    `cut`: number of last blocks that will be trained; the same pass stores their inputs. Each backend has its own
    tables. The digests of all later stages depend on this one's.
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
        parts=found.parts,
        summary=pooling.summary(settings.backbone.pooling, found.parts) if found.parts else (),
        computed=computed,
        reused=sum(count * len(views[split]) for split, count in images.dataset.counts.items()) - computed,
    )


@task(name="extract shard", task_run_name="shard {part} of {parts}", retries=3, retry_delay_seconds=5)
def shard(images: ImagesRef, settings: Extraction, cut: int, part: int, parts: int) -> int:
    """Compute the rows of one of several parts of the images, on any machine; returns how many were missing.

    A failed shard is run again: rows that it had committed are not computed twice.
    """
    use(settings.backend)
    return start(images, settings, cut).fill(images, _views(settings), f"shard {part}", shard=(part, parts))


def _views(settings: Extraction) -> Views:
    validation = settings.views if settings.refit else ("identity",)
    return {"train": settings.views, "validation": validation, "test": ("identity",), OLDER: ("identity",)}
