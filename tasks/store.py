"""The content-addressed store under the home folder: Lance tables of rows by key, and folders of files by digest.

Lance commits a batch of rows whole or not at all, and lets several processes append at once
(https://lancedb.github.io/lance/format.html), so a killed run leaves every committed row readable.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.errors import DependencyError
from tasks.home import home


class Table:
    """Rows of (key: text, value: a fixed-size array) that are computed once and never change.

    `name` holds the digest of all that the values depend on besides the key.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, shape, np.dtype(dtype)
        self.path = home() / "store" / f"{name}.lance"

    @property
    def schema(self) -> pa.Schema:
        """Columns `key` and `value` as Arrow stores them."""
        value = pa.list_(pa.from_numpy_dtype(self.dtype), int(np.prod(self.shape)))
        return pa.schema([pa.field("key", pa.string()), pa.field("value", value)])

    def keys(self) -> set[str]:
        """Keys of all committed rows; reads no values."""
        dataset = _opened(self.path)
        return set(dataset.to_table(columns=["key"])["key"].to_pylist()) if dataset is not None else set()

    def append(self, keys: list[str], values: np.ndarray) -> None:
        """Commit rows: `values` is [len(keys), *shape] of the table's dtype."""
        expected = (len(keys), *self.shape)
        if values.shape != expected or values.dtype != self.dtype:
            raise ValueError(f"{self.name}: expected {self.dtype}{expected}, found {values.dtype}{values.shape}")
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(self.shape)))
        rows = pa.table({"key": pa.array(keys, pa.string()), "value": column}, schema=self.schema)
        _commit(self.path, rows)

    def read(self, keys: list[str]) -> np.ndarray:
        """Values in the order of `keys`, [len(keys), *shape]. Raises `DependencyError` when a key has no row."""
        return self.reader(keys)(np.arange(len(keys)))

    def batches(self, keys: list[str], size: int) -> Iterator[np.ndarray]:
        """Values in the order of `keys`, at most `size` rows at a time, so that memory does not grow with the table."""
        read = self.reader(keys)
        for start in range(0, len(keys), size):
            yield read(np.arange(start, min(start + size, len(keys))))

    def reader(self, keys: list[str]) -> Callable[[np.ndarray], np.ndarray]:
        """A function from positions in `keys`, int[n], to their values, [n, *shape], on the table as it is now.

        Raises `DependencyError` when a key has no row.
        """
        if not keys:
            return lambda positions: np.empty((0, *self.shape), self.dtype)
        dataset = _opened(self.path)
        if dataset is None:
            raise DependencyError(f"Expected the table {self.path}, found none: run the command again with --refresh.")
        stored = dataset.to_table(columns=["key"])["key"].to_pylist()
        # Two writers may have committed the same key; the first row counts, whoever reads.
        place = {key: i for i, key in reversed(list(enumerate(stored)))}
        absent = [key for key in keys if key not in place]
        if absent:
            raise DependencyError(f"{self.path}: expected a row for each image, found none for {len(absent)} of them.")
        rows = np.array([place[key] for key in keys])

        def read(positions: np.ndarray) -> np.ndarray:
            values = dataset.take(rows[positions], columns=["value"])["value"].combine_chunks()
            return values.flatten().to_numpy(zero_copy_only=False).reshape(-1, *self.shape)

        return read


def _commit(path: Path, rows: pa.Table) -> None:
    """Append rows in one transaction, next to other writers."""
    import lance

    if _opened(path) is None:
        _begin(path, rows.schema)
    # Onto an opened table: a path where there is none would be begun anew, over what another writer has begun.
    lance.write_dataset(rows, _opened(path), mode="append")


def _begin(path: Path, schema: pa.Schema) -> None:
    """Make an empty table, unless another writer is first.

    Lance's own `create` is no such promise: of two that create at once, the second overwrites the first's rows.
    """
    import lance

    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{uuid4().hex}-{path.name}")
    lance.write_dataset(schema.empty_table(), str(made), mode="overwrite")
    try:
        made.rename(path)
    except OSError:  # there is one now
        shutil.rmtree(made)


def _opened(path: Path) -> Any:
    """The table at its newest version, or None where nothing was committed yet."""
    import lance

    try:
        return lance.dataset(str(path))
    except ValueError as error:
        if "not found" in str(error):
            return None
        raise


@contextmanager
def folder(kind: str, digest: str) -> Iterator[tuple[Path, str]]:
    """A folder to write results into, moved to its place only when the block ends without an error.

    Yields (where to write now, the final path relative to the home folder).
    """
    relative = f"store/{kind}/{digest}"
    final = home() / relative
    final.parent.mkdir(parents=True, exist_ok=True)
    working = final.with_name(f".{uuid4().hex}-{digest}")
    working.mkdir()
    try:
        yield working, relative
        if final.exists():
            shutil.rmtree(final)
        working.replace(final)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def missing(paths: Iterable[str]) -> list[str]:
    """Those of the paths (relative to the home folder) that are not there."""
    return [path for path in paths if not (home() / path).exists()]


class Rows:
    """A plain append-only table with named columns, for what is remembered of files and not addressed by content."""

    def __init__(self, name: str, schema: pa.Schema) -> None:
        self.schema = schema
        self.path = home() / "store" / f"{name}.lance"

    def read(self) -> pd.DataFrame:
        """All committed rows; empty where there is no table."""
        dataset = _opened(self.path)
        return (dataset.to_table() if dataset is not None else self.schema.empty_table()).to_pandas()

    def append(self, rows: pd.DataFrame) -> None:
        """Commit the rows, all or none."""
        _commit(self.path, pa.Table.from_pandas(rows, self.schema, preserve_index=False))


def frame(path: str) -> pd.DataFrame:
    """The Parquet table at a record's path."""
    return pd.read_parquet(home() / path)
