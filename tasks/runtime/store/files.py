"""Files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A file to write, next to other writers; it takes the place of `file` when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    working = file.with_name(f".{uuid4().hex}")
    try:
        yield working
        working.replace(file)
    finally:
        working.unlink(missing_ok=True)
