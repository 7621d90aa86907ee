"""Commits of Lance tables, with checksums of what each has written.

Lance commits a batch of rows whole or not at all, and lets several processes append at once
(https://lancedb.github.io/lance/format.html), so a killed run leaves every committed row readable. Its files hold no
checksums. A byte that has changed in the rows gives other numbers, which `checksums.of_rows` finds; in the end of a
file, which says where everything else is, it can end the whole process before any error. So this end is looked at
before Lance reads it, unless the table is on an object store, which has checksums of its own.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.runtime import progress
from tasks.runtime.errors import brief
from tasks.runtime.home import home
from tasks.runtime.store import checksums

#: How a table is written, a part of its name: tables of another form are not met. Raise it when the columns change.
FORM = "2"
SUFFIX = f".{FORM}.lance"
#: End of the name of what is set aside.
DAMAGED = ".damaged"
#: Bytes at the end of a data file that are looked at whenever a process opens it first.
END = 64 * 1024
#: What a table's error says where the machine is at fault, not the file.
MACHINE = ("permission denied", "too many open files", "no space left", "cannot allocate", "quota exceeded")
#: Ends that this process has found sound: path, size and time of change.
_sound: set[tuple[str, int, int]] = set()


class Broken(Exception):
    """A table that cannot be read as it was written, and why."""


def location() -> str:
    """Where the tables are: `HEADSTART_STORE`, a folder or the URI of an object store, else in the home folder."""
    place = os.environ.get("HEADSTART_STORE") or str(home() / "store")
    return place.rstrip("/") if "://" in place else str(Path(place).absolute())


def local() -> Path | None:
    """The folder of the tables; None if they are on an object store."""
    return None if "://" in location() else Path(location())


def uri(name: str) -> str:
    """Where the table of this name is; a name may be that of its whole folder in the store."""
    return f"{location()}/{_folder(name)}"


def _folder(name: str) -> str:
    return name if name.endswith((".lance", DAMAGED)) else f"{name}{SUFFIX}"


def opened(where: str, schema: pa.Schema | None = None, to_read: bool = True) -> Any:
    """The table at its newest version, or None if nothing was committed yet. Raises `Broken`.

    Also where it has other columns than `schema`. Not `to_read`: rows will only be added, so that no data file matters.
    """
    import lance

    with reading():
        _check_ends(where, to_read)
        try:
            found = lance.dataset(where)
        except ValueError as error:
            if "not found" in str(error):
                return None
            raise
        if schema and not found.schema.equals(schema):
            raise Broken("it has other columns")
    return found


@contextmanager
def reading() -> Iterator[None]:
    """Inside, an error of Lance is raised as `Broken` if a local file is its cause."""
    try:
        yield
    except BaseException as error:  # a panic of Lance is no Exception
        if local() is not None and _is_damage(error):
            raise Broken(brief(error)) from error
        raise


def append(where: str, rows: pa.Table) -> None:
    """Append rows in one transaction, next to other writers. Raises `Broken` if the table cannot be read."""
    import lance
    from lance.fragment import write_fragments

    dataset = opened(where, rows.schema, to_read=False) or _begun(where, rows.schema)
    fragments = write_fragments(rows, dataset, mode="append")
    # Before the commit: rows that can be seen have checksums.
    _note(where, "data", [file.path for fragment in fragments for file in fragment.files])
    lance.LanceDataset.commit(dataset, lance.LanceOperation.Append(fragments), read_version=dataset.version)
    _note(where, "_versions", _newest(where))


def _begun(where: str, schema: pa.Schema) -> Any:
    """An empty table, made unless another writer is first.

    Lance's own `create` does not guarantee this: of two at the same time, the second overwrites the first's rows. A
    commit without retries does: the first version is written only if there is none.
    """
    import lance

    try:
        lance.LanceDataset.commit(where, lance.LanceOperation.Overwrite(schema, []), max_retries=0)
    except OSError:
        if opened(where, schema, to_read=False) is None:
            raise
    # Opened anew: the commit could be another writer's.
    return opened(where, schema, to_read=False)


def exist(names: Iterable[str]) -> list[bool]:
    """Whether each of the tables is there."""
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(location())
    return [system.get_file_info(f"{root}/{_folder(name)}").type != fs.FileType.NotFound for name in names]


def drop(name: str) -> None:
    """Delete a table, given its name or its folder in the store; its rows are computed again when they are needed."""
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(location())
    folder = _folder(name)
    # The versions first: without them there is no table, even if an interruption leaves other files.
    for part in (f"{root}/{folder}/_versions", f"{root}/{folder}"):
        if system.get_file_info(part).type != fs.FileType.NotFound:
            system.delete_dir(part)
    _drop_flat(folder)


def set_aside(where: str, why: str) -> None:
    """Rename a damaged table, so that its rows are computed again; an earlier damaged one is replaced."""
    from pyarrow import fs

    folder = where.removeprefix(f"{location()}/")
    aside = f"{folder.removesuffix('.lance')}{DAMAGED}"
    drop(aside)
    system, root = fs.FileSystem.from_uri(location())
    if local() is not None:
        with suppress(FileNotFoundError):  # another run was faster
            Path(where).rename(Path(location(), aside))
    else:
        fs.copy_files(f"{root}/{folder}", f"{root}/{aside}", system, system)
        drop(folder)
    _drop_flat(folder)
    progress.say(f"The table {folder} is damaged: {why}. It is set aside as {aside}, and computed again.")


def of_flat(file: str) -> tuple[str, str] | None:
    """Name and version of the table that a flat array is a copy of, given its path; None if it is of an older form."""
    name, *rest = Path(file).name.removesuffix(".npy").rsplit(".", 2)
    return (name, rest[1]) if len(rest) == 2 and rest[0] == FORM else None


def _drop_flat(folder: str) -> None:
    for flat in (home() / "store" / "mapped").glob(f"{folder.removesuffix('.lance')}.*.npy"):
        flat.unlink(missing_ok=True)


def _is_damage(error: BaseException) -> bool:
    if type(error).__name__ == "PanicException":
        return True
    own = isinstance(error, (OSError, ValueError, LookupError, RuntimeError, pa.ArrowException))
    return own and not any(text in str(error).lower() for text in MACHINE)


def _note(where: str, part: str, names: Iterable[str]) -> None:
    """Keep size and checksum of the ends of files of a table, as the name of an empty file."""
    if local() is None:
        return
    notes = Path(where, "_checksums", part)
    notes.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = Path(where, part, name)
        (notes / f"{name}.{file.stat().st_size}.{_end(file)}").touch()


def _newest(where: str) -> list[str]:
    """The file of the newest version: Lance counts down, so that it is the first."""
    names = [file.name for file in Path(where, "_versions").glob("*.manifest")]
    return [min(names, key=lambda name: (len(name), name))] if names else []


def _check_ends(where: str, data: bool) -> None:
    """Raise `Broken` unless the newest version, and the data files if told so, end as they were written."""
    if local() is None:
        return
    for part, only in (("_versions", _newest(where)), *((("data", None),) if data else ())):
        for note in Path(where, "_checksums", part).glob("*"):
            name, size, checksum = note.name.rsplit(".", 2)
            if only is None or name in only:
                _check_end(Path(where, part, name), int(size), checksum)


def _check_end(file: Path, size: int, checksum: str) -> None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        raise Broken(f"{file.name} is gone") from None
    if stat.st_size != size:
        raise Broken(f"{file.name} has {stat.st_size} bytes, not {size}")
    mark = (str(file), size, stat.st_mtime_ns)
    if mark not in _sound:
        if _end(file) != checksum:
            raise Broken(f"{file.name} has other bytes than were written")
        _sound.add(mark)


def _end(file: Path) -> str:
    """Checksum of the end of a data file; of all of another file, which is not large."""
    return f"{checksums.of_file(file, max(0, file.stat().st_size - END) if file.parent.name == 'data' else 0):08x}"
