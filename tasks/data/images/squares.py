"""The tables of prepared squares, which ingest and preprocess fill and later stages read."""

from tasks.records import digest
from tasks.runtime.store.tables import Table

#: Raise it when the pixels from `decode.py` change.
DECODER = 3


def name(size: int, fit: str) -> str:
    """Name of the table of squares of one size and fit."""
    return "images-" + digest("prepared", DECODER, size, fit)


def table(size: int, fit: str) -> Table:
    """Squares by the key of the photo: uint8[size, size, 3]."""
    return Table(name(size, fit), (size, size, 3), "uint8")
