"""Tables that name photos: CSV in any usual encoding and with any usual separator, JSON lines, Parquet."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.files import delimited, encodings
from tasks.runtime.errors import DataError, brief

#: Suffixes of files that are tables.
PARQUET, LINES, TEXT = (".parquet", ".pq"), (".jsonl", ".ndjson"), (".csv", ".tsv", ".tab", ".txt")
SUFFIXES = (*PARQUET, *LINES, *TEXT)
#: Names of Hugging Face's table beside a folder of photos.
METADATA = tuple(f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))


@dataclass(frozen=True)
class Table:
    """A table as it was read. Cells of text files are text, and blank ones are missing."""

    cells: pd.DataFrame
    #: Names that several columns have; all but the first of them got a number.
    doubled: tuple[str, ...] = ()
    #: By row, why it cannot be used.
    errors: dict[int, str] = field(default_factory=dict)
    #: What was assumed to read it.
    notes: tuple[str, ...] = ()
    #: The encoding, if it was a guess.
    guessed: str = ""


def read(path: Path, encoding: str | None = None) -> Table:
    """The table in a file; the encoding of a text file is guessed if it is not given.

    Raises `DataError` for a file that is empty, broken, or no table, and `UsageError` for an unknown encoding.
    """
    suffix = path.suffix.lower()
    if encoding:
        encodings.check(encoding)
    try:
        if suffix in PARQUET:
            return Table(*_once(_parquet(path)))
        found = encodings.read(path, encoding)
    except OSError as error:
        raise DataError(f"{path}: expected a table, but it cannot be read: {error.strerror or error}.") from None
    text, notes = found.text, found.notes(path.name)
    if re.match(r"\s*\[\s*[\[{]", text):
        raise DataError(f"{path}: expected a table, found a JSON list; write one object per line (JSON lines).")
    if suffix in (*LINES, ".json"):
        return Table(_json_lines(path, text), notes=notes, guessed=found.guessed)
    separator = delimited.separator(text)
    if separator != "," and suffix == ".csv":
        notes += (f"{path.name} is separated by {separator!r}.",)
    cells, errors = delimited.read(path, text, separator)
    return Table(*_once(cells), errors, notes, found.guessed)


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(path)
        read.validate(full=True)  # else a text that is no UTF-8 is found at its first use
        table = read.to_pandas()
        table.columns = list(table.columns)
    except Exception as error:  # pandas trusts what the file says of its index: KeyError, TypeError …
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{path}: expected a Parquet table, found a broken file: {brief(error)[:200]}.") from None
    # pandas stores its index: a named one becomes a column; one left by a shuffle, filter or concat has no meaning.
    named = [name for name in table.index.names if name is not None and name not in table]
    return table.reset_index(named).reset_index(drop=True)


def _once(cells: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The cells with each column's name once, and the names that were doubled."""
    seen: Counter[Any] = Counter()
    names = []
    for name in cells:
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return cells.set_axis(names, axis=1), tuple(str(name) for name, n in seen.items() if n > 1)


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    found = []
    for number, line in enumerate(text.split("\n"), 1):  # `splitlines` splits at characters that JSON's text may hold
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                found_at = f"{path}: expected a JSON object in line {number}, found a mistake"
                raise DataError(f"{found_at}: {_mistake(error)}: {line[:60]!r}.") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}: expected a JSON object in line {number}, found {line[:60]!r}.")
            found.append(row)
    return pd.DataFrame(found).astype(object)


def _mistake(error: Exception) -> str:
    return f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else brief(error)
