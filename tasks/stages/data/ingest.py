"""Ingest: list the source's photos, read the facts of those that are new, draw the split."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa

from tasks.data import sources
from tasks.data.images import facts
from tasks.records import Corrections, FactsRef, digest
from tasks.runtime import progress
from tasks.runtime.store import tables as store
from tasks.services.orchestration.stage import stage
from tasks.settings import Images, Source, Split

IDENTITY = ["uri", "bytes_on_disk", "mtime"]
SCHEMA = pa.schema(
    {name: pa.string() for name in ("uri", "key", "format", "phash", "error")}
    | {name: pa.int64() for name in ("bytes_on_disk", "mtime", "bytes", "width", "height", "channels")}
    | {name: pa.float64() for name in ("brightness", "contrast", "sharpness")}
)


NONE = Corrections()


@stage(version=3, reads=lambda source, split, images, corrections=NONE: sources.fingerprint(source))
def ingest(source: Source, split: Split, images: Images, corrections: Corrections = NONE) -> FactsRef:
    """Facts table: one row an image with `key, uri, label, group, split`, facts, and the source's own as `slice_…`.

    Where a person has corrected a label, `corrected_from` holds the source's.
    """
    rows = corrected(with_facts(sources.listing(source), images.max_pixels), corrections)
    rows["split"] = draw_split(rows, split)
    content = digest(rows.drop(columns="mtime").to_csv(index=False))
    with store.folder("facts", content) as (working, relative):
        rows.to_parquet(working / "facts.parquet")
    return FactsRef(f"{relative}/facts.parquet", content, len(rows), int(rows["error"].notna().sum()))


def with_facts(rows: pd.DataFrame, max_pixels: int) -> pd.DataFrame:
    """The rows with the facts of each file; only files that the facts table has not seen are read."""
    table = store.Rows(f"facts-{max_pixels}", SCHEMA)
    known = table.read()
    readable = rows[rows["error"].isna()]
    new = readable[~_identity(readable).isin(_identity(known))].drop_duplicates(IDENTITY)
    if len(new):
        fresh = pd.DataFrame(_read(list(new["uri"]), max_pixels))
        fresh = pd.concat([new[IDENTITY].reset_index(drop=True), fresh], axis=1)
        table.append(fresh)
        # Read back, not joined in memory: the columns' types, and with them the digest, must not depend on who is new.
        known = table.read()
    joined = rows.merge(known.drop_duplicates(IDENTITY), on=IDENTITY, how="left", suffixes=("_source", ""))
    joined["error"] = joined["error_source"].where(joined["error_source"].notna(), joined["error"])
    return joined.drop(columns="error_source")


def corrected(rows: pd.DataFrame, corrections: Corrections) -> pd.DataFrame:
    """The rows with the labels that a person has put right, and the source's own beside those that this changes."""
    put_right = rows["key"].map(corrections.labels).astype(object)
    changed = put_right.notna() & (put_right != rows["label"])
    own = rows["label"].astype(object)
    return rows.assign(label=own.where(~changed, put_right), corrected_from=own.where(changed, None))


def draw_split(rows: pd.DataFrame, split: Split) -> pd.Series:
    """train, validation or test for each row.

    A salted hash of `group`, else of `key`, decides, so that an image keeps its split when data grows, and copies and
    groups never straddle two. A split that the source fixes stays; what it lacks is drawn out of its training rows.
    """
    fixed = rows["split"]
    given = set(fixed.dropna())
    token = rows["group"].where(rows["group"].notna(), rows["key"]).fillna(rows["uri"])
    draw = token.map(lambda text: int(hashlib.sha256(f"{split.salt}|{text}".encode()).hexdigest()[:13], 16) / 16**13)
    test = 0.0 if "test" in given else split.test
    validation = 0.0 if "validation" in given else split.validation
    drawn = pd.Series("train", index=rows.index)
    drawn[draw < test + validation] = "validation"
    drawn[draw < test] = "test"
    return fixed.where(fixed.isin(["validation", "test"]), drawn)


def _read(paths: list[str], max_pixels: int) -> list[dict[str, Any]]:
    # Pillow and hashlib let go of the interpreter's lock while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(lambda path: facts.read(path, max_pixels), paths)
        return list(progress.track(read, len(paths), "ingest"))


def _identity(rows: pd.DataFrame) -> pd.Series:
    return rows["uri"].astype(str) + "|" + rows["bytes_on_disk"].astype(str) + "|" + rows["mtime"].astype(str)
