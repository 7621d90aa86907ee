"""The facts of each photo: read once per file, stored, and joined to the rows of a source."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.data.images import facts, pipeline, plain, squares
from tasks.runtime import progress
from tasks.runtime.store import photos
from tasks.runtime.store.tables import Rows
from tasks.settings import Images

#: Raise it when facts, or which files are readable, change.
VERSION = 2
#: Files whose facts are committed together.
BATCH = 256

IDENTITY = ["uri", "bytes_on_disk", "mtime"]
SCHEMA = pa.schema(
    {name: pa.string() for name in ("uri", "key", "format", "phash", "error")}
    | {name: pa.int64() for name in ("bytes_on_disk", "mtime", "bytes", "width", "height", "channels")}
    | {name: pa.float64() for name in ("brightness", "contrast", "sharpness")}
)


def with_facts(rows: pd.DataFrame, images: Images) -> tuple[pd.DataFrame, int]:
    """The rows with the facts of each file, and how many files were read: those that the facts table has not seen.

    A file is read once: its bytes give the key, the facts and, with `images.keep`, the prepared square. Batches are
    committed as they come, so that a run that was ended goes on where it was.
    """
    # A photo is decoded for a size (`decode.decode`), and its facts are those of the pixels that are used.
    table = Rows(f"facts-{VERSION}-{images.max_pixels}-{images.size}", SCHEMA)
    known = table.read()
    readable = rows[rows["error"].isna()]
    # What could not be opened is tried again: it may have been for a moment, or the permissions have changed.
    opened = known[~known["error"].str.startswith(facts.CLOSED, na=False)]
    new = readable[~_identity(readable).isin(_identity(opened))].drop_duplicates(IDENTITY)
    if len(new):
        for facts_of_batch in _read(new[IDENTITY].reset_index(drop=True), images):
            table.append(facts_of_batch)
        # Read back, not joined in memory: the columns' types, and thus the digest, must not depend on which are new.
        known = table.read()
    joined = rows.merge(known.drop_duplicates(IDENTITY, keep="last"), on=IDENTITY, how="left", suffixes=("_source", ""))
    joined["error"] = joined["error_source"].where(joined["error_source"].notna(), joined["error"])
    return joined.drop(columns="error_source"), len(new)


def _read(new: pd.DataFrame, images: Images) -> Iterator[pd.DataFrame]:
    """The facts of the files, some rows at a time; the squares of each are stored before."""
    table = squares.table(images.size, images.fit) if images.keep else None
    there = table.keys() if table else set()
    # Pillow, hashlib and TensorFlow release the interpreter's lock while they work.
    read = pipeline.ahead(partial(_examined, images=images), photos.fetched(new["uri"]))
    done = 0
    tracked = progress.track(read, len(new), "ingest")
    while found := list(islice(tracked, BATCH)):
        fresh = {f["key"]: square for f, square in found if square is not None and f["key"] not in there}
        if table and fresh:
            table.append(list(fresh), np.stack(list(fresh.values())))
            there |= fresh.keys()
        batch = pd.DataFrame([f for f, _ in found])
        yield pd.concat([new.iloc[done : done + len(found)].reset_index(drop=True), batch], axis=1)
        done += len(found)


def _examined(file: tuple[str, str | None], images: Images) -> tuple[dict[str, Any], np.ndarray | None]:
    """The facts of a file, and its square where squares are kept and it has one; it has a path, or why it has none."""
    path, error = file
    if error:
        return facts.unread(error), None
    found, photo = facts.read(path, images.size, images.max_pixels)
    return found, plain.fitted(photo, images.size, images.fit) if photo is not None and images.keep else None


def _identity(rows: pd.DataFrame) -> pd.Series:
    return rows["uri"].astype(str) + "|" + rows["bytes_on_disk"].astype(str) + "|" + rows["mtime"].astype(str)
