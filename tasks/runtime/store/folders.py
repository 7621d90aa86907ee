"""Folders and files of derived data in the home folder."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pandas as pd

from tasks.runtime.home import home


@contextmanager
def folder(kind: str, digest: str) -> Iterator[tuple[Path, str]]:
    """A folder to write results into, moved to its place only when the block ends without an error.

    Yields (where to write now, the final path relative to the home folder).
    """
    relative = f"store/{kind}/{digest}"
    final = home() / relative
    final.parent.mkdir(parents=True, exist_ok=True)
    working = final.with_name(f".{uuid4().hex}-{digest}")
    working.mkdir()
    try:
        yield working, relative
        _place(working, final)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _place(working: Path, final: Path) -> None:
    """Move a folder to its place. One that is there is replaced at once, as another run may be reading it."""
    before = working.with_name(f"{working.name}-before")
    with suppress(FileNotFoundError):
        final.rename(before)
    try:
        working.replace(final)
    except OSError:
        if not final.exists():
            raise
        # Another run was faster. Its results are the same, as their digest says.
    shutil.rmtree(before, ignore_errors=True)


def missing(paths: Iterable[str]) -> list[str]:
    """Those of the paths (relative to the home folder) that do not exist."""
    return [path for path in paths if not (home() / path).exists()]


def frame(path: str) -> pd.DataFrame:
    """The Parquet table at a record's path."""
    return pd.read_parquet(home() / path)
