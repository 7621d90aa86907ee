"""CRC-32 of rows and of files: each flipped byte shows, and reading 2 GB costs about a second.

They find damage, not forgery; who can write into a home is trusted. Digests that keep a version safe are SHA-256
(`tasks/serving/golden.py`).
"""

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Column of a table with the checksum of each row.
COLUMN = "checksum"
#: End of the name of the file beside a kept result that holds the result's checksum.
BESIDE = ".crc32"
CHUNK = 1 << 20


def of_rows(keys: Iterable[str], values: np.ndarray) -> np.ndarray:
    """A checksum of each row's key and value, uint32[n]; `values` is [n, …]."""
    if not len(values):
        return np.empty(0, np.uint32)
    rows = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    return np.fromiter(
        (zlib.crc32(row.data, zlib.crc32(key.encode())) for key, row in zip(keys, rows, strict=True)), np.uint32
    )


def of_cells(rows: pa.Table) -> np.ndarray:
    """A checksum of each row's plain cells, uint32[n]: of their texts, which are the same for each batch of rows."""
    texts = [column.cast(pa.string()) for column in rows.columns]
    joined = pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="\x00")
    return np.fromiter((zlib.crc32(text.encode()) for text in joined.to_pylist()), np.uint32)


def of_file(file: Path, start: int = 0) -> int:
    """The checksum of a file's bytes from `start` on."""
    found = 0
    with file.open("rb") as opened:
        opened.seek(start)
        while chunk := opened.read(CHUNK):
            found = zlib.crc32(chunk, found)
    return found


def of_folder(folder: Path, names: Iterable[str] = ()) -> dict[str, list[int]]:
    """Size and checksum of each file in a folder, or of those alone that are named, by its name there."""
    files = [folder / name for name in names] or sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): [file.stat().st_size, of_file(file)] for file in files}


def wrong(folder: Path, expected: Mapping[str, list[int]]) -> str:
    """What is wrong with the first file that is not as `of_folder` found it; "" if all are as they were."""
    for name, (size, checksum) in expected.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is gone"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, not {size}"
        if of_file(file) != checksum:
            return f"{name} has other bytes than were written"
    return ""


def of_text(text: str) -> int:
    """The checksum of a text."""
    return zlib.crc32(text.encode())
