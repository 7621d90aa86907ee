"""What a home holds that can be computed again, or is left over."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.runtime.home import home
from tasks.runtime.store import commits, folders
from tasks.runtime.store.checksums import BESIDE
from tasks.runtime.store.commits import DAMAGED, SUFFIX, Broken

#: Tables that can be computed again, by the beginning of their names.
FACTS = "facts-"
DERIVED = ("images-", "features-", "activations-", "answers-", FACTS)
#: Kinds of items.
TABLES, FLAT, FOLDERS, ENGINES, EPOCHS = "tables", "flat arrays", "stage folders", "engines", "checkpoints"
RESULTS, LOGS, WORKING, ASIDE = "results of stages", "logs", "left over by ended processes", "set aside as damaged"
KINDS = (TABLES, FLAT, FOLDERS, ENGINES, EPOCHS, RESULTS, LOGS, WORKING, ASIDE)
#: Folders of the store that hold no folders of stages.
OTHER = ("mapped", "engines", "epochs", "photos", "checksums")


@dataclass(frozen=True)
class Item:
    """Something to keep or drop as a whole; `used` in seconds since 1970, `name` relative to the home or of a table."""

    kind: str
    name: str
    bytes: int
    used: float

    def drop(self) -> None:
        """Delete it."""
        if "/" not in self.name:
            commits.drop(self.name)
        elif self.kind == FOLDERS:
            folders.drop(self.name)
        elif (path := home() / self.name).is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}{BESIDE}").unlink(missing_ok=True)


def tables() -> list[dict[str, Any]]:
    """Every table that can be computed again: name, rows, bytes stored, the largest first.

    One that an older release has written has its whole folder as its name; none is read any more.
    """
    found = [
        {"table": item.name, "rows": _rows(item.name), "bytes": item.bytes} for item in _tables() if item.kind == TABLES
    ]
    return sorted(found, key=lambda table: -int(table["bytes"]))


def _tables() -> Iterator[Item]:
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(commits.location())
    for folder in system.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        name = folder.base_name
        if name.startswith(DERIVED) and name.endswith((".lance", DAMAGED)):
            files = system.get_file_info(fs.FileSelector(folder.path, allow_not_found=True, recursive=True))
            size = sum(file.size for file in files if file.is_file)
            # On an object store: when rows were last added.
            newest = max((file.mtime.timestamp() for file in files if file.mtime), default=0.0)
            used = newest if commits.local() is None else Path(folder.path).stat().st_mtime
            yield Item(ASIDE if name.endswith(DAMAGED) else TABLES, name.removesuffix(SUFFIX), size, used)


def items() -> Iterator[Item]:
    """Everything of all kinds."""
    yield from _tables()
    store = home() / "store"
    places = {
        FLAT: store.glob("mapped/*.npy"),
        FOLDERS: (path for path in store.glob("*/*") if path.is_dir() and _of_stages(path)),
        ENGINES: store.glob("engines/*"),
        EPOCHS: store.glob("epochs/*"),
        RESULTS: (path for path in _results().glob("*") if path.suffix != BESIDE),
        LOGS: home().glob("logs/*"),
        WORKING: [*store.glob("*/.[0-9a-f]*"), *store.glob("photos/*/.*"), *home().glob("weights/.*.part")],
        ASIDE: [*store.glob(f"*/*{DAMAGED}*"), *_results().glob(f"*{DAMAGED}")],
    }
    for kind, paths in places.items():
        for path in paths:
            whole = not path.name.startswith(".") and DAMAGED not in path.name
            if kind in (WORKING, ASIDE) or whole:
                yield _item(kind, path)


def _of_stages(path: Path) -> bool:
    return path.parent.name not in OTHER and path.parent.suffix not in (".lance", DAMAGED)


def _results() -> Path:
    """Where Prefect keeps results, if that is in the home folder; else others may keep theirs there."""
    own = home() / "prefect" / "results"
    return own if Path(os.environ.get("PREFECT_LOCAL_STORAGE_PATH") or own) == own else home() / "none"


def _item(kind: str, path: Path) -> Item:
    try:
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
        used = path.stat().st_mtime
    except FileNotFoundError:  # gone in the meantime
        size, used = 0, 0.0
    return Item(kind, str(path.relative_to(home())), size, used)


def _rows(name: str) -> int:
    try:
        dataset = commits.opened(commits.uri(name))
        # A folder without a version: a writer is making a table, or died while it made or dropped one.
        return dataset.count_rows() if dataset is not None else 0
    except Broken:
        return 0
