"""The content-addressed store's tables: rows by key, and facts about files.

Each row has a checksum of its own, which a process compares when it first reads the row: what it costs grows with what
is read, not with the table. The end of each file is looked at before (`commits`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.runtime import progress
from tasks.runtime.errors import Lost
from tasks.runtime.home import home
from tasks.runtime.store import checksums, commits, uses
from tasks.runtime.store.checksums import COLUMN
from tasks.runtime.store.commits import Broken


class _Stored:
    """A table in the store: its name, where it is, and its columns."""

    def __init__(self, name: str) -> None:
        self.name, self.uri = name, commits.uri(name)

    @property
    def schema(self) -> pa.Schema:
        """Columns as Arrow stores them."""
        raise NotImplementedError

    def _columns(self, names: list[str]) -> tuple[Any, pa.Table] | None:
        """The table and some of its columns; None if there is none, or only a damaged one, which is set aside."""
        try:
            found = commits.opened(self.uri, self.schema)
            if found is None:
                return None
            uses.touch(self.uri)
            with commits.reading():
                return found, found.to_table(columns=names)
        except Broken as damage:
            commits.set_aside(self.uri, str(damage))
            return None

    def _commit(self, rows: pa.Table) -> None:
        try:
            commits.append(self.uri, rows)
        except Broken as damage:
            commits.set_aside(self.uri, str(damage))
            commits.append(self.uri, rows)


class Table(_Stored):
    """Rows of (key: text, value: a fixed-size array) that are computed once and never change.

    `name` contains the digest of everything that the values depend on besides the key. Reading raises `Lost` where rows
    are damaged or gone: whoever fills the table has to fill it again. A damaged table is set aside.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__(name)
        self.shape, self.dtype = shape, np.dtype(dtype)

    @property
    def schema(self) -> pa.Schema:
        """Columns `key`, `value` and `checksum` as Arrow stores them."""
        value = pa.list_(pa.from_numpy_dtype(self.dtype), int(np.prod(self.shape)))
        return pa.schema([pa.field("key", pa.string()), pa.field("value", value), pa.field(COLUMN, pa.uint32())])

    def keys(self) -> set[str]:
        """Keys of all committed rows; reads no values."""
        found = self._columns(["key"])
        return set(found[1]["key"].to_pylist()) if found else set()

    def append(self, keys: list[str], values: np.ndarray) -> None:
        """Commit rows: `values` is [len(keys), *shape] of the table's dtype."""
        expected = (len(keys), *self.shape)
        if values.shape != expected or values.dtype != self.dtype:
            raise ValueError(f"{self.name}: expected {self.dtype}{expected}, found {values.dtype}{values.shape}")
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(self.shape)))
        columns = {"key": pa.array(keys, pa.string()), "value": column, COLUMN: checksums.of_rows(keys, values)}
        self._commit(pa.table(columns, schema=self.schema))

    def read(self, keys: list[str]) -> np.ndarray:
        """Values in the order of `keys`, [len(keys), *shape]. Raises `Lost` when a key has no sound row."""
        return self.reader(keys)(np.arange(len(keys)))

    def batches(self, keys: list[str], size: int) -> Iterator[np.ndarray]:
        """Values in the order of `keys`, at most `size` rows at a time, so that memory does not grow with the table."""
        read = self.reader(keys)
        for start in range(0, len(keys), size):
            yield read(np.arange(start, min(start + size, len(keys))))

    def reader(self, keys: list[str]) -> Callable[[np.ndarray], np.ndarray]:
        """A function from positions in `keys`, int[n], to their values, [n, *shape], on the table as it is now.

        It and the function raise `Lost` when a key has no sound row.
        """
        if not keys:
            return lambda positions: np.empty((0, *self.shape), self.dtype)
        dataset, found = self._there()
        rows = self._places(found, keys)
        check = _Check(keys, found[COLUMN].to_numpy()[rows])

        def read(positions: np.ndarray) -> np.ndarray:
            try:
                with commits.reading():
                    taken = dataset.take(rows[positions], columns=["value"])["value"]
                    values = self._array(taken.combine_chunks())
                check(positions, values)
            except Broken as damage:
                raise self._damaged(str(damage)) from None
            return values

        return read

    def mapped(self) -> tuple[list[str], np.ndarray]:
        """All rows as (keys, memory-mapped array [rows, *shape], read only), for NumPy and other .npy readers.

        Lance's files are not flat arrays: the first call after a commit of new rows writes one to the home folder.
        """
        dataset, found = self._there()
        return found["key"].to_pylist(), self._flat(dataset, found)

    def mapped_reader(self, keys: list[str]) -> Callable[[np.ndarray], np.ndarray]:
        """Like `reader`, from the flat file: many times as fast for rows in random order, but twice the space.

        A flat file that is damaged is written again from the table.
        """
        dataset, found = self._there()
        rows = self._places(found, keys)
        check, values = _Check(keys, found[COLUMN].to_numpy()[rows]), self._flat(dataset, found)

        def read(positions: np.ndarray) -> np.ndarray:
            nonlocal values
            chosen = values[rows[positions]]
            try:
                check(positions, chosen)
            except Broken as damage:
                values = self._flat(dataset, found, str(damage))
                chosen = values[rows[positions]]
            return chosen

        return read

    def _flat(self, dataset: Any, found: pa.Table, damage: str = "") -> np.ndarray:
        """The flat file of the rows, mapped; written if it is not there or damaged."""
        file = home() / "store" / "mapped" / f"{self.name}.{commits.FORM}.{dataset.version}.npy"
        if file.exists() and not damage:
            try:
                mapped = np.load(file, mmap_mode="r")
            except (ValueError, EOFError):
                mapped = np.empty(0)
            if mapped.shape == (len(found), *self.shape) and mapped.dtype == self.dtype:
                uses.touch(file)
                return mapped
            damage = "it is no array of the table's rows"
        if damage:
            progress.say(f"The array {file.name} is damaged: {damage}. It is written again from its table.")
        file.parent.mkdir(parents=True, exist_ok=True)
        working = file.with_name(f".{uuid4().hex}.npy")
        try:
            self._write_flat(working, dataset, found)
            for old in file.parent.glob(f"{self.name}.*.npy"):
                old.unlink(missing_ok=True)
            working.rename(file)
        finally:
            working.unlink(missing_ok=True)
        return np.load(file, mmap_mode="r")

    def _write_flat(self, working: Any, dataset: Any, found: pa.Table) -> None:
        keys, sums = found["key"].to_pylist(), found[COLUMN].to_numpy()
        out = np.lib.format.open_memmap(working, "w+", self.dtype, (len(keys), *self.shape))
        start = 0
        try:
            with commits.reading():
                for batch in dataset.to_batches(columns=["value"]):
                    place = slice(start, start + len(batch))
                    out[place] = self._array(batch["value"])
                    _Check(keys[place], sums[place])(np.arange(len(batch)), out[place])
                    start += len(batch)
        except Broken as damage:
            raise self._damaged(str(damage)) from None
        out.flush()

    def _places(self, found: pa.Table, keys: list[str]) -> np.ndarray:
        """Numbers of the rows that hold the keys, int[len(keys)]."""
        # Two writers may have committed the same key; the first row counts, for every reader.
        place = {key: i for i, key in reversed(list(enumerate(found["key"].to_pylist())))}
        absent = [key for key in keys if key not in place]
        if absent:
            raise self._lost(f"expected a row for each image, found none for {len(absent)} of them")
        return np.array([place[key] for key in keys], int)

    def _there(self) -> tuple[Any, pa.Table]:
        found = self._columns(["key", COLUMN])
        if found is None:
            raise self._lost("expected this table, found none")
        return found

    def _damaged(self, why: str) -> Lost:
        commits.set_aside(self.uri, why)
        return self._lost(f"expected rows as they were written, but {why}")

    def _lost(self, what: str) -> Lost:
        return Lost(self.name, f"{self.uri}: {what}. Run the same command again, which computes them.")

    def _array(self, column: pa.Array) -> np.ndarray:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *self.shape)


class _Check:
    """Compares rows with their checksums, each once."""

    def __init__(self, keys: list[str], expected: np.ndarray) -> None:
        self.keys, self.expected, self.sound = keys, expected, np.zeros(len(keys), bool)

    def __call__(self, positions: np.ndarray, values: np.ndarray) -> None:
        """Raise `Broken` where values, [n, …], are not those of the positions, int[n]."""
        new = ~self.sound[positions]
        at = positions[new]
        if at.size:
            found = checksums.of_rows([self.keys[i] for i in at], values if new.all() else values[new])
            if wrong := int((found != self.expected[at]).sum()):
                raise Broken(f"{wrong} of {len(at)} rows have other bytes than were written")
            self.sound[at] = True


class Rows(_Stored):
    """A plain append-only table with named columns, for facts about files that are not addressed by content.

    The columns are in its name: a table with others is not met. Rows that are damaged are gone, and so found anew.
    """

    def __init__(self, name: str, schema: pa.Schema) -> None:
        self.own = schema
        super().__init__(f"{name}-{checksums.of_text(str(schema)):08x}")

    @property
    def schema(self) -> pa.Schema:
        """The columns, and each row's checksum."""
        return self.own.append(pa.field(COLUMN, pa.uint32()))

    def read(self) -> pd.DataFrame:
        """All committed rows; empty if there is no table, or a damaged one, which is set aside."""
        found = self._columns(self.schema.names)
        rows = found[1] if found else self.schema.empty_table()
        if (checksums.of_cells(rows.select(self.own.names)) != rows[COLUMN].to_numpy()).any():
            commits.set_aside(self.uri, "rows have other bytes than were written")
            rows = self.schema.empty_table()
        return rows.select(self.own.names).to_pandas()

    def append(self, rows: pd.DataFrame) -> None:
        """Commit the rows, all or none."""
        cells = pa.Table.from_pandas(rows, self.own, preserve_index=False)
        self._commit(cells.append_column(self.schema.field(COLUMN), pa.array(checksums.of_cells(cells))))


def absent(names: Iterable[str]) -> list[str]:
    """Those of the tables that do not exist."""
    listed = list(names)
    return [name for name, there in zip(listed, commits.exist(listed), strict=True) if not there]
