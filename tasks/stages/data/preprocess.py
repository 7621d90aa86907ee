"""Preprocess: photos become squares of one size, each decoded only once."""

from dataclasses import replace

from tasks.data import datasets
from tasks.records import DatasetRef, ImagesRef
from tasks.services.orchestration.stage import stage
from tasks.settings import Images


@stage(version=3)
def preprocess(dataset: DatasetRef, images: Images) -> ImagesRef:
    """Decode and resize the photos that the table does not hold yet: those that ingest read for another size or fit.

    Without `images.keep` there is no table: each stage that needs pixels decodes them as it goes.
    """
    ref = datasets.images_of(dataset, images)
    if not images.keep:
        return ref
    computed = datasets.prepare(ref, datasets.rows(dataset))
    return replace(ref, computed=computed, reused=sum(dataset.counts.values()) - computed)
