"""What a section of a report is made of. Texts are plain: the templates escape them, and set `these words` as code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Strong(str):
    """A cell of a table that stands out."""


class Long(str):
    """A cell of a table with words that are broken anywhere, such as digests."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind = "heading"


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: tuple[str, ...]
    kind = "items"


@dataclass(frozen=True)
class Picture:
    """A PNG file, and what it shows."""

    what: str
    file: Path
    kind = "picture"


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as there are columns: these by their headings, True for numbers."""

    columns: Mapping[str, bool]
    rows: tuple[tuple[str, ...], ...]
    kind = "table"


Block = Text | Heading | Items | Picture | Table


def table(columns: Mapping[str, bool], rows: Iterable[Sequence[str]]) -> Table:
    """A table of any rows."""
    return Table(columns, tuple(tuple(row) for row in rows))


def of_rows(rows: list[dict[str, Any]]) -> Table:
    """A table of rows with the same keys, which are its headings; nothing is set as a number."""
    columns = {column.replace("_", " "): False for column in rows[0]}
    return table(columns, ([str(value) for value in row.values()] for row in rows))
