"""Texts from outside (labels, names of files, messages of servers), harmless where they are shown.

In HTML the templates escape them, in JSON `json.dumps`; the rest is here.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Control characters but tab and newline, marks that turn the direction of writing, and halves of characters.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: What Markdown may take for more than text; an underscore inside a word is none.
MARKS = re.compile(r"[&<>|`*\[\]\\~]|(?<![^\W_])_|_(?![^\W_])")
#: How a cell begins that a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
FORMULA = re.compile("[=+@\t\r\n\uff1d\uff0b\uff20\uff0d-]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def printable(text: str) -> str:
    """A text for a terminal: what would move the cursor, change colours or turn the line round is shown as `\\x1b`."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def line(text: str) -> str:
    """As `printable`, on one line."""
    return printable(re.sub(r"\s+", " ", text))


def markdown(text: str) -> str:
    """A text inside a line or a cell of Markdown: no link, no HTML, no code, no other cell."""
    return MARKS.sub(lambda found: f"&#{ord(found[0])};", line(text))


def cell(value: Any) -> Any:
    """A cell of a CSV file that a person opens: text that would be a formula gets a `'` before it, numbers stay."""
    formula = isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def write_csv(table: "pd.DataFrame", to: Path) -> None:
    """Write a table for a person, who may open it in a spreadsheet, as CSV of RFC 4180."""
    # With these ends of lines a cell that holds either character is quoted, and thus starts no line of its own.
    table.map(cell).rename(columns=cell).to_csv(to, index=False, lineterminator="\r\n", errors="backslashreplace")
