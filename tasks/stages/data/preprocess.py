"""Preprocess: photos become squares of one size, each decoded only once."""

from dataclasses import replace

from tasks.data import datasets
from tasks.data.images import pipeline, squares
from tasks.records import DatasetRef, ImagesRef, digest
from tasks.runtime import progress
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.settings import Images


@stage(version=3)
def preprocess(dataset: DatasetRef, images: Images) -> ImagesRef:
    """Decode and resize the photos that the table does not hold yet: those that ingest read for another size or fit.

    Without `images.keep` there is no table: each stage that needs pixels decodes them as it goes.
    """
    table = squares.name(images.size, images.fit)
    ref = ImagesRef(
        dataset, table, digest(dataset, table), images.size, images.fit, images.max_pixels, images.keep, computed=0
    )
    if not images.keep:
        return ref
    computed = decode_into(datasets.pixel_table(ref), ref)
    return replace(ref, computed=computed, reused=sum(dataset.counts.values()) - computed)


def decode_into(table: Table, images: ImagesRef) -> int:
    """Decode the photos that the table lacks; returns how many."""
    rows = datasets.rows(images.dataset)
    new = rows[~rows["key"].isin(table.keys())]
    keys, paths = list(new["key"]), datasets.paths(new)
    if paths:
        formats = set(new["format"])
        batches = pipeline.prepared(paths, images.size, images.fit, images.max_pixels, formats=formats, keys=keys)
        for positions, pixels in progress.counted(((b, len(b[0])) for b in batches), len(paths), "preprocess"):
            table.append([keys[i] for i in positions], pixels)
    return len(paths)
