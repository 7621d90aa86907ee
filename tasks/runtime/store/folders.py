"""Folders and files of derived data in the home folder.

The checksums of a folder's files lie beside the folders, as some of them are handed on whole. They are compared when a
process first uses a folder. One that an older release has written gets them then.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pandas as pd

from tasks.runtime import locks, progress
from tasks.runtime.home import home
from tasks.runtime.store import checksums, uses
from tasks.runtime.store.commits import DAMAGED
from tasks.runtime.store.writing import replacing

#: Folders of photos that a source has unpacked: many files, of which the stages that read them notice what is missing.
PHOTOS = "sources"
#: Folders that this process has found sound, and the sum of the times at which their files were changed.
_sound: set[tuple[str, int]] = set()


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
        found = checksums.of_folder(working)
        with _locked(final):
            if _place(working, final):
                _note(final, found)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _place(working: Path, final: Path) -> bool:
    """Move a folder to its place. One that is there is replaced at once, as another run may be reading it."""
    before = working.with_name(f"{working.name}-before")
    placed = True
    with suppress(FileNotFoundError):
        final.rename(before)
    try:
        working.replace(final)
    except OSError:
        if not final.exists():
            raise
        # Another run was faster. Its results are the same, as their digest says.
        placed = False
    shutil.rmtree(before, ignore_errors=True)
    return placed


def missing(paths: Iterable[str]) -> list[str]:
    """Those of the paths (relative to the home folder) that do not exist, or whose folder is damaged.

    A damaged folder is set aside first.
    """
    listed = list(paths)
    for top in dict.fromkeys(map(_top, listed)):
        if top and (wrong := damage(top, again=False)):
            set_aside(top, wrong)
        elif top:
            uses.touch(home() / top)
    return [path for path in listed if not (home() / path).exists()]


def damage(path: str, again: bool = True) -> str:
    """What is wrong with a folder of the store, `store/KIND/DIGEST`; "" if it is sound or not there.

    Not `again`: look only at one that this process has not found sound, and not at photos.
    """
    found = home() / path
    if not found.is_dir():
        return ""
    if not again and found.parent.name == PHOTOS:
        return ""
    mark = (str(found), sum(file.stat().st_mtime_ns for file in found.rglob("*")))
    if not again and mark in _sound:
        return ""
    with _locked(found):
        try:
            wrong = checksums.wrong(found, json.loads(_notes(found).read_bytes()))
        except FileNotFoundError:  # of an older release
            _note(found, checksums.of_folder(found))
            wrong = ""
        except (ValueError, TypeError, AttributeError):
            wrong = "the list of its checksums cannot be read"
    if not wrong:
        _sound.add(mark)
    return wrong


def set_aside(path: str, why: str) -> None:
    """Rename a damaged folder, so that it is made again; an earlier damaged one is replaced."""
    found = home() / path
    aside = found.with_name(f"{found.name}{DAMAGED}")
    with _locked(found):
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # another run was faster
            found.rename(aside)
        _notes(found).unlink(missing_ok=True)
    progress.say(f"The folder {path} is damaged: {why}. It is set aside as {aside.name}, and computed again.")


def drop(path: str) -> None:
    """Delete a folder of the store; it is computed again when it is needed."""
    found = home() / path
    with _locked(found):
        shutil.rmtree(found, ignore_errors=True)
        _notes(found).unlink(missing_ok=True)


def frame(path: str) -> pd.DataFrame:
    """The Parquet table at a record's path."""
    return pd.read_parquet(home() / path)


def _top(path: str) -> str:
    """The folder of the store that a path is in; "" for another path."""
    parts = Path(path).parts
    return "/".join(parts[:3]) if len(parts) >= 3 and parts[0] == "store" else ""


def _notes(found: Path) -> Path:
    return home() / "store" / "checksums" / found.parent.name / f"{found.name}.json"


def _note(found: Path, files: dict[str, list[int]]) -> None:
    with replacing(_notes(found)) as working:
        working.write_text(json.dumps(files))


def _locked(found: Path) -> AbstractContextManager[None]:
    """One process at a time: a folder and the list of its checksums change together."""
    return locks.alone(home() / "store" / "checksums" / found.parent.name / ".lock", f"changing {found.parent}")
