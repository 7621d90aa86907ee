"""A stage's notes for MLflow, held back until its result is stored.

A stage that took hours is not computed again because the MLflow server was down: unsent notes are kept in
`HEADSTART_HOME/unsent` under the stage's digest, and the next run that takes the result from the cache sends them.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.runtime import locks
from tasks.runtime.errors import DependencyError
from tasks.runtime.home import home
from tasks.runtime.store import checksums

#: Files beside the drawn ones: the notes, and the checksums of all.
NOTES, SUMS = "notes.json", "checksums.json"


@dataclass
class Notes:
    """Tags, series and folders of files by name; `drawn` holds files that are nowhere else.

    Of a note that is made twice only the later one counts: a stage that Prefect retries makes all notes again.
    """

    drawn: Path
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)
    #: Milliseconds since 1970 of the values of a series, if they are known.
    times: dict[str, list[int]] = field(default_factory=dict)
    folders: dict[str, str | None] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was noted."""
        return not (self.tags or self.series or self.folders or any(self.drawn.iterdir()))

    def save(self, digest: str) -> None:
        """Keep the notes for a later run; if there are none, those that are kept already stay."""
        if self.empty:
            return
        working = _unsent(f".{uuid4().hex}")
        shutil.copytree(self.drawn, working / "drawn")
        parts = {name: getattr(self, name) for name in ("tags", "series", "times", "folders")}
        (working / NOTES).write_text(json.dumps(parts))
        (working / SUMS).write_text(json.dumps(checksums.of_folder(working)))
        with locks.alone(_unsent(".lock"), f"changing {_unsent('')}"):
            shutil.rmtree(_unsent(digest), ignore_errors=True)
            working.rename(_unsent(digest))


def kept(digest: str) -> Notes | None:
    """The notes that an earlier run could not send for the stage with this digest.

    Raises `DependencyError` if they are damaged.
    """
    folder = _unsent(digest)
    if not folder.is_dir():
        return None
    if wrong := _wrong(folder):
        raise DependencyError(
            f"Expected {folder} as an earlier run left it for MLflow, found that {wrong}. Put the folder of a backup "
            "in its place; or delete it, and run the same command with --refresh, which computes it again."
        )
    parts: dict[str, Any] = json.loads((folder / NOTES).read_text())
    return Notes(folder / "drawn", **parts)


def damaged() -> Iterator[tuple[str, str]]:
    """The folders of notes that are damaged, relative to the home, and what is wrong with each."""
    for folder in sorted(_unsent("").glob("[!.]*")):
        if wrong := _wrong(folder):
            yield str(folder.relative_to(home())), wrong


def _wrong(folder: Path) -> str:
    """What is wrong with kept notes, or ""; those of an older release have no checksums."""
    try:
        if (folder / SUMS).exists() and (wrong := checksums.wrong(folder, json.loads((folder / SUMS).read_bytes()))):
            return wrong
        Notes(folder / "drawn", **json.loads((folder / NOTES).read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError):
        return "its notes cannot be read"
    return ""


def drop(digest: str) -> None:
    """Delete the kept notes, which have been sent."""
    shutil.rmtree(_unsent(digest), ignore_errors=True)


def _unsent(name: str) -> Path:
    return home() / "unsent" / name
