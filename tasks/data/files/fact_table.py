"""The facts of each photo: read once per file, stored, and joined to the rows of a source."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa

from tasks.data.images import facts
from tasks.runtime import progress
from tasks.runtime.store.tables import Rows

IDENTITY = ["uri", "bytes_on_disk", "mtime"]
SCHEMA = pa.schema(
    {name: pa.string() for name in ("uri", "key", "format", "phash", "error")}
    | {name: pa.int64() for name in ("bytes_on_disk", "mtime", "bytes", "width", "height", "channels")}
    | {name: pa.float64() for name in ("brightness", "contrast", "sharpness")}
)


def with_facts(rows: pd.DataFrame, max_pixels: int) -> pd.DataFrame:
    """The rows with the facts of each file; only files that the facts table has not seen are read."""
    table = Rows(f"facts-{max_pixels}", SCHEMA)
    known = table.read()
    readable = rows[rows["error"].isna()]
    new = readable[~_identity(readable).isin(_identity(known))].drop_duplicates(IDENTITY)
    if len(new):
        fresh = pd.DataFrame(_read(list(new["uri"]), max_pixels))
        fresh = pd.concat([new[IDENTITY].reset_index(drop=True), fresh], axis=1)
        table.append(fresh)
        # Read back, not joined in memory: the columns' types, and thus the digest, must not depend on which are new.
        known = table.read()
    joined = rows.merge(known.drop_duplicates(IDENTITY), on=IDENTITY, how="left", suffixes=("_source", ""))
    joined["error"] = joined["error_source"].where(joined["error_source"].notna(), joined["error"])
    return joined.drop(columns="error_source")


def _read(paths: list[str], max_pixels: int) -> list[dict[str, Any]]:
    # Pillow and hashlib release the interpreter's lock while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda path: facts.read(path, max_pixels), paths)
        return list(progress.track(read, len(paths), "ingest"))


def _identity(rows: pd.DataFrame) -> pd.Series:
    return rows["uri"].astype(str) + "|" + rows["bytes_on_disk"].astype(str) + "|" + rows["mtime"].astype(str)
