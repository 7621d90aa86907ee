"""A stage's notes for MLflow, held back until its result is stored.

A stage that took hours is not computed again because the MLflow server was down: unsent notes are kept in
`HEADSTART_HOME/unsent` under the stage's digest, and the next run that takes the result from the cache sends them.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tasks.runtime.home import home


@dataclass
class Notes:
    """Tags, series and folders of files by name; `drawn` holds files that are nowhere else.

    Of a note that is made twice only the later one counts: a stage that Prefect retries makes all notes again.
    """

    drawn: Path
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)
    folders: dict[str, str | None] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was noted."""
        return not (self.tags or self.series or self.folders or any(self.drawn.iterdir()))

    def save(self, digest: str) -> None:
        """Keep the notes for a later run; if there are none, those that are kept already stay."""
        if self.empty:
            return
        working = _unsent(uuid4().hex)
        shutil.copytree(self.drawn, working / "drawn")
        parts = {"tags": self.tags, "series": self.series, "folders": self.folders}
        (working / "notes.json").write_text(json.dumps(parts))
        shutil.rmtree(_unsent(digest), ignore_errors=True)
        working.rename(_unsent(digest))


def kept(digest: str) -> Notes | None:
    """The notes that an earlier run could not send for the stage with this digest."""
    folder = _unsent(digest)
    if not (folder / "notes.json").is_file():
        return None
    parts: dict[str, Any] = json.loads((folder / "notes.json").read_text())
    return Notes(folder / "drawn", **parts)


def drop(digest: str) -> None:
    """Delete the kept notes, which have been sent."""
    shutil.rmtree(_unsent(digest), ignore_errors=True)


def _unsent(name: str) -> Path:
    return home() / "unsent" / name
