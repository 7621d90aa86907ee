"""The content-addressed store: Lance tables of rows by key, and folders of files by digest.

Lance commits a batch of rows whole or not at all, and lets several processes append at once
(https://lancedb.github.io/lance/format.html), so a killed run leaves every committed row readable.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.runtime.errors import DependencyError
from tasks.runtime.home import home

#: Tables that can be computed again, by the beginning of their names.
DERIVED = ("images-", "features-", "activations-", "answers-")


class Table:
    """Rows of (key: text, value: a fixed-size array) that are computed once and never change.

    `name` contains the digest of everything that the values depend on besides the key.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, shape, np.dtype(dtype)
        self.uri = f"{location()}/{name}.lance"

    @property
    def schema(self) -> pa.Schema:
        """Columns `key` and `value` as Arrow stores them."""
        value = pa.list_(pa.from_numpy_dtype(self.dtype), int(np.prod(self.shape)))
        return pa.schema([pa.field("key", pa.string()), pa.field("value", value)])

    def keys(self) -> set[str]:
        """Keys of all committed rows; reads no values."""
        dataset = _opened(self.uri)
        return set(dataset.to_table(columns=["key"])["key"].to_pylist()) if dataset is not None else set()

    def append(self, keys: list[str], values: np.ndarray) -> None:
        """Commit rows: `values` is [len(keys), *shape] of the table's dtype."""
        expected = (len(keys), *self.shape)
        if values.shape != expected or values.dtype != self.dtype:
            raise ValueError(f"{self.name}: expected {self.dtype}{expected}, found {values.dtype}{values.shape}")
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(self.shape)))
        rows = pa.table({"key": pa.array(keys, pa.string()), "value": column}, schema=self.schema)
        _commit(self.uri, rows)

    def read(self, keys: list[str]) -> np.ndarray:
        """Values in the order of `keys`, [len(keys), *shape]. Raises `DependencyError` when a key has no row."""
        return self.reader(keys)(np.arange(len(keys)))

    def batches(self, keys: list[str], size: int) -> Iterator[np.ndarray]:
        """Values in the order of `keys`, at most `size` rows at a time, so that memory does not grow with the table."""
        read = self.reader(keys)
        for start in range(0, len(keys), size):
            yield read(np.arange(start, min(start + size, len(keys))))

    def mapped(self) -> tuple[list[str], np.ndarray]:
        """All rows as (keys, memory-mapped array [rows, *shape], read only), for NumPy and other .npy readers.

        Lance's files are not flat arrays: the first call after a commit of new rows writes one to the home folder.
        """
        dataset = self._there()
        keys = dataset.to_table(columns=["key"])["key"].to_pylist()
        file = home() / "store" / "mapped" / f"{self.name}.{dataset.version}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            for old in file.parent.glob(f"{self.name}.*.npy"):
                old.unlink()
            working = file.with_name(f".{uuid4().hex}.npy")
            out = np.lib.format.open_memmap(working, "w+", self.dtype, (len(keys), *self.shape))
            start = 0
            for batch in dataset.to_batches(columns=["value"]):
                out[start : start + len(batch)] = self._array(batch["value"])
                start += len(batch)
            out.flush()
            working.rename(file)
        return keys, np.load(file, mmap_mode="r")

    def mapped_reader(self, keys: list[str]) -> Callable[[np.ndarray], np.ndarray]:
        """Like `reader`, from the flat file: many times as fast for rows in random order, but twice the space."""
        stored, values = self.mapped()
        rows = self._places(stored, keys)
        return lambda positions: values[rows[positions]]

    def _places(self, stored: list[str], keys: list[str]) -> np.ndarray:
        """Numbers of the rows that hold the keys, int[len(keys)]."""
        # Two writers may have committed the same key; the first row counts, for every reader.
        place = {key: i for i, key in reversed(list(enumerate(stored)))}
        absent = [key for key in keys if key not in place]
        if absent:
            raise DependencyError(f"{self.uri}: expected a row for each image, found none for {len(absent)} of them.")
        return np.array([place[key] for key in keys], int)

    def _there(self) -> Any:
        dataset = _opened(self.uri)
        if dataset is None:
            raise DependencyError(f"Expected the table {self.uri}, found none: run the command again with --refresh.")
        return dataset

    def _array(self, column: pa.Array) -> np.ndarray:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *self.shape)

    def reader(self, keys: list[str]) -> Callable[[np.ndarray], np.ndarray]:
        """A function from positions in `keys`, int[n], to their values, [n, *shape], on the table as it is now.

        Raises `DependencyError` when a key has no row.
        """
        if not keys:
            return lambda positions: np.empty((0, *self.shape), self.dtype)
        dataset = self._there()
        rows = self._places(dataset.to_table(columns=["key"])["key"].to_pylist(), keys)

        def read(positions: np.ndarray) -> np.ndarray:
            return self._array(dataset.take(rows[positions], columns=["value"])["value"].combine_chunks())

        return read


def location() -> str:
    """Where the tables are: `HEADSTART_STORE`, a folder or the URI of an object store, else in the home folder."""
    place = os.environ.get("HEADSTART_STORE") or str(home() / "store")
    return place.rstrip("/") if "://" in place else str(Path(place).absolute())


def _commit(uri: str, rows: pa.Table) -> None:
    """Append rows in one transaction, next to other writers."""
    import lance

    if _opened(uri) is None:
        _begin(uri, rows.schema)
    # Append to an opened table: with a path, Lance could create a new table over one that another writer just created.
    lance.write_dataset(rows, _opened(uri), mode="append")


def _begin(uri: str, schema: pa.Schema) -> None:
    """Make an empty table, unless another writer is first.

    Lance's own `create` does not guarantee this: of two at the same time, the second overwrites the first's rows. A
    commit without retries does: the first version is written only if there is none.
    """
    import lance

    try:
        lance.LanceDataset.commit(uri, lance.LanceOperation.Overwrite(schema, []), max_retries=0)
    except OSError:
        if _opened(uri) is None:
            raise


def _opened(uri: str) -> Any:
    """The table at its newest version, or None if nothing was committed yet."""
    import lance

    try:
        return lance.dataset(uri)
    except ValueError as error:
        if "not found" in str(error):
            return None
        raise


class Rows:
    """A plain append-only table with named columns, for facts about files that are not addressed by content."""

    def __init__(self, name: str, schema: pa.Schema) -> None:
        self.schema = schema
        self.uri = f"{location()}/{name}.lance"

    def read(self) -> pd.DataFrame:
        """All committed rows; empty if there is no table."""
        dataset = _opened(self.uri)
        return (dataset.to_table() if dataset is not None else self.schema.empty_table()).to_pandas()

    def append(self, rows: pd.DataFrame) -> None:
        """Commit the rows, all or none."""
        _commit(self.uri, pa.Table.from_pandas(rows, self.schema, preserve_index=False))


def tables() -> list[dict[str, Any]]:
    """Every table of images and features: name, rows, bytes stored, the largest first."""
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(location())
    found = []
    for folder in system.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        if folder.base_name.startswith(DERIVED) and folder.base_name.endswith(".lance"):
            dataset = _opened(f"{location()}/{folder.base_name}")
            # A folder without a version: a writer is making a table, or died while it made or dropped one.
            rows = dataset.count_rows() if dataset is not None else 0
            files = system.get_file_info(fs.FileSelector(folder.path, allow_not_found=True, recursive=True))
            size = sum(file.size for file in files if file.is_file)
            found.append({"table": folder.base_name.removesuffix(".lance"), "rows": rows, "bytes": size})
    return sorted(found, key=lambda table: -table["bytes"])


def absent(names: Iterable[str]) -> list[str]:
    """Those of the tables that do not exist."""
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(location())
    return [name for name in names if system.get_file_info(f"{root}/{name}.lance").type == fs.FileType.NotFound]


def drop(name: str) -> None:
    """Delete a table; its rows are computed again when they are needed."""
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(location())
    # The versions first: without them there is no table, even if an interruption leaves other files.
    if system.get_file_info(f"{root}/{name}.lance/_versions").type != fs.FileType.NotFound:
        system.delete_dir(f"{root}/{name}.lance/_versions")
    system.delete_dir(f"{root}/{name}.lance")
    for flat in (home() / "store" / "mapped").glob(f"{name}.*.npy"):
        flat.unlink()
