"""When something in the store was last used, and which runs are going on now.

The time of change of a table's or folder's own folder is that of its last use.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tasks.runtime import processes
from tasks.runtime.home import home

#: Days after which a run on another machine, which cannot be asked, counts as over.
DAYS = 7


def touch(path: Path | str) -> None:
    """Say that a file or folder is used now; nothing for an address or where there is none."""
    with suppress(OSError):
        os.utime(path)


@contextmanager
def running() -> Iterator[None]:
    """Inside, nothing is dropped that was used since the beginning."""
    mark = _folder() / uuid4().hex
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(processes.own())
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def since() -> float:
    """When the first of the runs began that are still going on, seconds since 1970; now if there is none."""
    now = time.time()
    begun = [now]
    for mark in _folder().glob("*"):
        with suppress(OSError):
            at = mark.stat().st_mtime
            if processes.gone(mark.read_text()) or now - at > DAYS * 86400:
                mark.unlink()
            else:
                begun.append(at)
    return min(begun)


def _folder() -> Path:
    return home() / "running"
