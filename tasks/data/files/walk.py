"""The files below a folder."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath

from tasks.runtime.store import remote

#: Files behind a link to a folder outside the source that are named one by one.
NAMED = 1000
#: What systems leave beside photos: Windows, macOS' archives, Synology. In lower case.
LITTER = {
    *("thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *(".ds_store", "__macosx", "@eadir"),
}


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over: it is hidden, or the litter of a system."""
    return name.startswith(".") or name.lower() in LITTER


def folders(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, sorted."""
    with os.scandir(folder) as found:  # knows what is a folder without asking for each of a million photos
        return sorted(Path(f.path) for f in found if not hidden(f.name) and _is_folder(f))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def loose(folder: Path) -> list[Path]:
    """The files right in a folder that are not hidden, sorted."""
    return sorted(f for f in folder.iterdir() if not hidden(f.name) and not f.is_dir())


def files(folder: Path, root: Path) -> Iterator[tuple[str, str | None]]:
    """The paths of the files below a folder that are not hidden, and why one is set aside.

    Links are followed inside `root`, to each folder once. What is behind other links is set aside.
    """
    for file, error in _below(folder, root.resolve(), set()):
        # Python keeps bytes that are not UTF-8 as lone surrogates, which no table can hold.
        shown = os.fsencode(file).decode(errors="replace")
        yield shown, error if shown == str(file) else "a file name that is not UTF-8: rename the file"


def _below(folder: Path, root: Path, seen: set[Path]) -> Iterator[tuple[Path, str | None]]:
    real = folder.resolve()
    if not real.is_relative_to(root):
        outside = (f for f in folder.rglob("*") if not f.is_dir() and not _hidden(f.relative_to(folder)))
        yield from ((file, f"behind a link to {real}, outside the source") for file in sorted(islice(outside, NAMED)))
        return
    if real in seen:
        return
    seen.add(real)
    inside = [f for f in sorted(folder.iterdir()) if not hidden(f.name)]
    for file in inside:
        if not file.is_dir():
            # `Path.resolve` raises for a link in a circle.
            error = None if Path(os.path.realpath(file)).is_relative_to(root) else "a link to a file outside the source"
            yield file, error
    # A folder itself before links to it.
    for below in sorted((f for f in inside if f.is_dir()), key=lambda f: f.is_symlink()):
        yield from _below(below, root, seen)


def below(address: str) -> dict[str, tuple[int, int]]:
    """(size, stamp) of each file below an address, by its own; not of hidden ones, nor of markers of folders."""
    every = {file: (size, stamp) for file, size, stamp in remote.listed(address)}
    parents = {str(parent) for file in every for parent in PurePosixPath(file.split("://", 1)[1]).parents}
    root = len(address) + 1
    return {
        file: stat
        for file, stat in sorted(every.items())
        if not _hidden(PurePosixPath(file[root:])) and file.split("://", 1)[1] not in parents and file != address
    }


def _hidden(path: PurePath) -> bool:
    return any(map(hidden, path.parts))
