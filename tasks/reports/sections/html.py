"""Tables of a page: HTML that scrolls if it is wider than the screen."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def table(columns: Mapping[str, bool], rows: Iterable[Sequence[str]]) -> str:
    """HTML of a table: `columns` by their headings, True for numbers; cells are HTML already."""
    classes = [' class="n"' if numeric else "" for numeric in columns.values()]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(columns, classes, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, classes, strict=True))}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def of_rows(rows: list[dict[str, Any]]) -> str:
    """A table of rows with the same keys, which are its headings; everything is escaped, nothing set as a number."""
    columns = {column.replace("_", " "): False for column in rows[0]}
    return table(columns, ([escape(str(value)) for value in row.values()] for row in rows))
