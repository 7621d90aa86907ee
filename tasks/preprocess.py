"""Preprocess: photos become squares of one size, each decoded once, ever."""

from tasks import progress, store
from tasks.images import pipeline
from tasks.records import DatasetRef, ImagesRef, digest
from tasks.settings import Images
from tasks.stage import stage

#: Raise it when `images/decode.py` gives other pixels.
DECODER = 1


def table_of(images: Images) -> store.Table:
    """The table of prepared images for a size and fit: (sha256 of the file, uint8[size, size, 3])."""
    address = digest("prepared", DECODER, images.size, images.fit)
    return store.Table(f"images-{address}", (images.size, images.size, 3), "uint8")


@stage(version=1)
def preprocess(dataset: DatasetRef, images: Images) -> ImagesRef:
    """Decode and resize the photos that the table does not hold yet."""
    rows = store.frame(dataset.path)
    table = table_of(images)
    new = rows[~rows["key"].isin(table.keys())]
    keys, paths = list(new["key"]), list(new["uri"])
    if paths:
        batches = pipeline.prepared(paths, images.size, images.fit, images.max_pixels)
        for positions, pixels in progress.counted(((b, len(b[0])) for b in batches), len(paths), "preprocess"):
            table.append([keys[i] for i in positions], pixels)
    return ImagesRef(dataset, table.name, digest(dataset, table.name), images.size, len(paths))
