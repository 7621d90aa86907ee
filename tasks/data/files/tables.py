"""Tables that name photos: CSV in any usual encoding and with any usual separator, JSON lines, Parquet."""

import csv
import io
import json
import warnings
from pathlib import Path

import pandas as pd

from tasks.runtime.errors import DataError

#: Suffixes of files that are tables.
PARQUET, LINES, TEXT = (".parquet", ".pq"), (".jsonl", ".ndjson"), (".csv", ".tsv", ".tab", ".txt")
SUFFIXES = (*PARQUET, *LINES, *TEXT)
#: Names of Hugging Face's table beside a folder of photos.
METADATA = tuple(f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))
MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: Tried where a table without a mark is not UTF-8; the first is what most programs on Windows write.
OTHERS = ["cp1252", "utf_16_le", "utf_16_be", "cp1250", "cp1251", "cp1253", "shift_jis", "euc_kr", "gb18030", "big5"]
SEPARATORS = ",;\t|"
#: Bytes and lines that decide about encoding and separator.
SAMPLE, LINES_SEEN = 2**20, 50


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table, cells of text files as text and blank ones as None, and notes on what was assumed to read it.

    Raises `DataError` for a file that is empty, broken, or no table.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET:
            return _parquet(path), []
        text, notes = _text(path)
        if suffix in LINES:
            return _json_lines(path, text), notes
        return _separated(path, text, notes), notes
    except OSError as error:
        raise DataError(f"{path}: expected a table, but it cannot be read: {error.strerror or error}.") from None


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: expected a Parquet table, found a broken file: {str(error)[:200]}.") from None
    # pandas stores its index: a named one becomes a column; one left by a shuffle, filter or concat has no meaning.
    named = [name for name in table.index.names if name is not None and name not in table]
    return table.reset_index(named).reset_index(drop=True)


def _text(path: Path) -> tuple[str, list[str]]:
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path}: expected a table, found an empty file.")
    mark = next((mark for mark in MARKS if data.startswith(mark)), None)
    if mark:
        return _decoded(path, data, MARKS[mark]), []
    try:
        return data.decode(), []
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    found = from_bytes(data[:SAMPLE], cp_isolation=OTHERS).best()
    if found is None:
        raise DataError(f"{path}: expected text, found bytes in no known encoding. Save the table as UTF-8.")
    note = f"{path.name} is not UTF-8: it was read as {found.encoding}. Save it as UTF-8 if labels look wrong."
    return _decoded(path, data, found.encoding), [note]


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in {encoding}, found other bytes at {error.start}.") from None


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}: expected a JSON object in line {number}, found a mistake: {error}.") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}: expected a JSON object in line {number}, found {line[:60]}.")
            found.append(row)
    return pd.DataFrame(found).astype(object)


def _separated(path: Path, text: str, notes: list[str]) -> pd.DataFrame:
    lines = text.splitlines()
    separator = _separator(lines[:LINES_SEEN])
    if separator != "," and path.suffix.lower() == ".csv":
        notes.append(f"{path.name} is separated by {separator!r}.")
    spaced = f"{separator} " in lines[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with more cells than the header
            # As text: a label 007 or 1.0 must stay as it is written.
            table = pd.read_csv(
                io.StringIO(text),
                dtype=str,
                sep=separator,
                keep_default_na=False,
                na_values=[""],
                skipinitialspace=spaced,
                index_col=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"{path}: expected a table with one header line: {str(error).strip()}.") from None
    return table.rename(columns=lambda name: str(name).strip())


def _separator(lines: list[str]) -> str:
    """The separator that gives the header the most cells, and as many to the lines below it."""

    def fit(separator: str) -> tuple[bool, int]:
        cells = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        even = sum(n == cells[0] for n in cells) >= 0.9 * len(cells) if cells else False
        return even and cells[0] > 1, cells[0] if cells else 0

    return max(SEPARATORS, key=fit)
