"""The content-addressed store under the home folder: Lance tables of rows by key, and folders of files by digest.

Lance commits a batch of rows whole or not at all, and lets several processes append at once
(https://lancedb.github.io/lance/format.html), so a killed run leaves every committed row readable.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

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
        import lance

        if not self.path.exists():
            return set()
        return set(lance.dataset(str(self.path)).to_table(columns=["key"])["key"].to_pylist())

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
        import lance

        if not self.path.exists():
            raise DependencyError(f"Expected the table {self.path}, found none: run the command again with --refresh.")
        dataset = lance.dataset(str(self.path))
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

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending to nothing would overwrite what another writer has made meanwhile: make it empty first.
        with suppress(OSError):  # another writer made it
            lance.write_dataset(rows.schema.empty_table(), str(path), mode="create")
    lance.write_dataset(rows, str(path), mode="append")


@contextmanager
def folder(kind: str, digest: str) -> Iterator[tuple[Path, str]]:
    """A folder to write results into, moved to its place only when the block ends without an error.

    Yields (where to write now, the final path relative to the home folder).
    """
    relative = f"store/{kind}/{digest}"
    final = home() / relative
    final.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=final.parent))
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
        import lance

        found = lance.dataset(str(self.path)).to_table() if self.path.exists() else self.schema.empty_table()
        return found.to_pandas()

    def append(self, rows: pd.DataFrame) -> None:
        """Commit the rows, all or none."""
        _commit(self.path, pa.Table.from_pandas(rows, self.schema, preserve_index=False))


def frame(path: str) -> pd.DataFrame:
    """The Parquet table at a record's path."""
    return pd.read_parquet(home() / path)
