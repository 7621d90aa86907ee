"""Cells with separators between them: CSV and its like."""

import csv
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from tasks.runtime.errors import DataError, few

SEPARATORS = ",;\t|"
#: Lines that decide about the separator.
LINES_SEEN = 50
#: A last row of our own: it comes out as it is unless a quote before it was left open.
END = "."
#: A row and the number of its first line.
Row = tuple[int, list[str]]


def separator(text: str) -> str:
    """The separator that gives the header the most cells, and as many to the lines below it."""
    lines = list(islice(io.StringIO(text, newline=""), LINES_SEEN))

    def fit(each: str) -> tuple[bool, int, int]:
        try:
            cells = [len(row) for row in csv.reader(lines, delimiter=each) if row]
        except csv.Error:  # a very long cell
            cells = []
        if not cells:
            return False, 0, 0
        even = sum(n == cells[0] for n in cells) >= 0.9 * len(cells)
        return even and cells[0] > 1, cells[0], _usual(cells)

    return max(SEPARATORS, key=fit)


def read(path: Path, text: str, between: str) -> tuple[pd.DataFrame, dict[int, str]]:
    """The cells, and by row why one is set aside: it has more cells than the header. `path` is for messages."""
    spaced = f"{between} " in next(line for line in io.StringIO(text) if line.strip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with more cells than the header
            # As text: a label 007 or 1.0 must stay as it is written.
            cells = pd.read_csv(
                io.StringIO(text),
                dtype=str,
                sep=between,
                keep_default_na=False,
                na_values=[""],
                skipinitialspace=spaced,
                index_col=False,
            )
        _, header = next(_rows(path, text, between, spaced), (1, []))
        # pandas gives a number to a name that is there twice.
        return cells.set_axis(_names(header), axis=1), {}
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError):
        return _by_rows(path, text, between, spaced)


def _by_rows(path: Path, text: str, between: str, spaced: bool) -> tuple[pd.DataFrame, dict[int, str]]:
    """The same, slower, with more patience than pandas, and with words for what is wrong."""
    rows = list(_rows(path, f"{text}\n{END}", between, spaced))
    line, last = rows.pop()
    if last != [END]:
        written = next(islice(io.StringIO(text, newline=None), line - 1, line))
        raise DataError(
            f'{path}: line {line}: expected a second quote ("), found none up to the end of the file: '
            f"{few([written.rstrip()])}. Remove the quote, or write it twice if it belongs to the text."
        )
    if not rows:
        raise DataError(f"{path}: expected a header line, found blank cells only.")
    (first, header), below = rows[0], rows[1:]
    n = len(header)
    errors = {
        place: f"line {line}: expected {n} cells, found {len(row)}"
        for place, (line, row) in enumerate(below)
        if len(row) > n
    }
    if len(errors) > len(below) / 2:
        usual = _usual([len(row) for _, row in below])
        line, names = next((line, row) for line, row in below if len(row) == usual)
        raise DataError(
            f"{path}: line {first}: expected the names of the {usual} columns that most lines have, found "
            f"{few(header)}. If their names are in line {line} ({few(names)}), delete the lines above it; if they are "
            f"in none, write them into line {first}."
        )
    cells = pd.DataFrame([(row + [""] * n)[:n] for _, row in below], columns=_names(header), dtype="str")
    return cells.mask(cells.to_numpy() == ""), errors


def _names(header: list[str]) -> list[str]:
    return [name.strip() or f"Unnamed: {place}" for place, name in enumerate(header)]


def _rows(path: Path, text: str, between: str, spaced: bool) -> Iterator[Row]:
    """The rows that are not blank, without blank cells that some programs write at their ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, skipinitialspace=spaced)
    line, n = 1, 0
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                n = n or len(row)
                while len(row) > n and not row[-1].strip():
                    row.pop()
                yield line, row
            line = reader.line_num + 1
    except csv.Error:
        raise DataError(
            f"{path}: line {line}: expected cells of at most {csv.field_size_limit()} letters, found a longer one. "
            'Perhaps a quote (") is missing, or one is too many.'
        ) from None


def _usual(counts: list[int]) -> int:
    return Counter(counts).most_common(1)[0][0]
