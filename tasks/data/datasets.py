"""A validated data set: its rows, by split, and their labels as numbers."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from tasks.data import splits
from tasks.data.images import pipeline, squares
from tasks.records import AuditRef, DatasetRef, ImagesRef, digest
from tasks.runtime import progress
from tasks.runtime.home import home
from tasks.runtime.store import folders, photos
from tasks.runtime.store.tables import Table
from tasks.settings import Images


def rows(dataset: DatasetRef, split: str | None = None) -> pd.DataFrame:
    """Rows of (key, uri, label, group, split, facts), of one split or all, in the order of their keys."""
    every = folders.frame(dataset.path)
    return every if split is None else every[every["split"] == split].reset_index(drop=True)


def units(dataset: DatasetRef, audited: AuditRef | None, *parts: str) -> np.ndarray:
    """int[n]: which rows are no independent evidence: of one group of the source, or copies of one photo.

    `parts`: names of the splits whose rows these are, in the order of their keys; of all splits without. Copies are
    known from an audit.
    """
    every, columns = rows(dataset), ["copy_key", "original_key"]
    alike = (
        pd.read_csv(home() / audited.duplicates_table, usecols=columns, dtype=str) if audited and audited.path else None
    )
    found = splits.units(every, alike if alike is None else alike[columns])
    return found[every["split"].isin(parts).to_numpy()] if parts else found


def stratified(rows: pd.DataFrame, images: int) -> pd.DataFrame:
    """At most `images` of the rows, stratified by class; a larger sample contains every smaller one.

    Rows are sorted by their keys, which are digests: the first rows of a class are a random sample.
    """
    of_class = rows.groupby("label")["label"]
    place = (of_class.cumcount() + 0.5) / of_class.transform("size")
    return rows.loc[place.sort_values(kind="stable").index[:images]].sort_index().reset_index(drop=True)


def stratified_by_unit(rows: pd.DataFrame, images: int, least: int, seed: int) -> pd.DataFrame:
    """About `images` rows, stratified, with `least` units or more of each class: of many classes, of as many as fit."""

    def judged(some: pd.DataFrame) -> pd.DataFrame:
        # What each fold cannot hold is left out: a rare class shall not keep all others from being judged.
        return some[some.groupby("label")["unit"].transform("nunique") >= least].reset_index(drop=True)

    enough = judged(rows)
    names = np.random.default_rng(seed).permutation(sorted(enough["label"].unique()))[: images // least]
    return judged(stratified(enough[enough["label"].isin(names)].reset_index(drop=True), images))


def paths(rows: pd.DataFrame) -> list[str]:
    """The local path of each photo: of one behind an address, that of its copy. Raises `DataError` if it is gone."""
    return photos.paths(rows["uri"], rows["key"])


def contents(rows: pd.DataFrame) -> Iterator[bytes]:
    """The bytes of each photo. Raises `DataError` if one has changed since its key was computed."""
    return map(photos.content, paths(rows), rows["key"])


def labels(rows: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """int64[n], positions of the rows' labels in `classes`."""
    return rows["label"].map({name: i for i, name in enumerate(classes)}).to_numpy(np.int64)


def images_of(dataset: DatasetRef, images: Images) -> ImagesRef:
    """The prepared images of a data set, before any of them is."""
    table = squares.name(images.size, images.fit)
    address = digest(dataset, table)
    return ImagesRef(dataset, table, address, images.size, images.fit, images.max_pixels, images.keep, computed=0)


def prepare(images: ImagesRef, rows: pd.DataFrame) -> int:
    """Decode the photos of the rows that the table of prepared images lacks; returns how many."""
    table = pixel_table(images)
    new = rows[~rows["key"].isin(table.keys())]
    keys, files = list(new["key"]), paths(new)
    if files:
        formats = set(new["format"])
        batches = pipeline.prepared(files, images.size, images.fit, images.max_pixels, formats=formats, keys=keys)
        for positions, pixels in progress.counted(((b, len(b[0])) for b in batches), len(files), "preprocess"):
            table.append([keys[i] for i in positions], pixels)
    return len(files)


def pixel_table(images: ImagesRef) -> Table:
    """The table of prepared images: uint8[size, size, 3] by key."""
    return Table(images.table, (images.size, images.size, 3), "uint8")


def pixels(images: ImagesRef, rows: pd.DataFrame, size: int) -> Iterator[np.ndarray]:
    """Prepared images of the rows in their order, uint8[at most `size`, side, side, 3] at a time."""
    if images.kept:
        return pixel_table(images).batches(list(rows["key"]), size)
    formats, keys = set(rows["format"]), list(rows["key"])
    batches = pipeline.prepared(paths(rows), images.size, images.fit, images.max_pixels, size, formats, keys)
    return (pixels for _, pixels in batches)


def pixel_reader(images: ImagesRef, rows: pd.DataFrame) -> Callable[[np.ndarray], np.ndarray]:
    """A function from positions in the rows, int[n], to their prepared images, uint8[n, side, side, 3]."""
    if images.kept:
        return pixel_table(images).reader(list(rows["key"]))
    files, keys, read = paths(rows), list(rows["key"]), pipeline.reader(images.size, images.fit, images.max_pixels)
    return lambda positions: read([files[i] for i in positions], [keys[i] for i in positions])
