"""Files that are there as a whole or not at all, also when the disk is full or the process is killed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A file beside `file` to write, next to other writers; at the end it takes its place and rights.

    It is removed after an error. Links are followed. What is no file, such as `/dev/stdout`, is given as it is.
    """
    file = Path(os.path.realpath(file))
    if file.exists() and not file.is_file():
        yield file
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    working = file.with_name(f".{file.name[:50]}.{uuid4().hex}")
    try:
        yield working
        if file.exists():
            shutil.copymode(file, working)
        working.replace(file)
    finally:
        working.unlink(missing_ok=True)
