"""A table that names the photos: CSV, JSON lines or Parquet, or a folder with Hugging Face's `metadata.csv`.

Hugging Face's layout: https://huggingface.co/docs/datasets/image_dataset.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.data.files import tables
from tasks.data.sources import NOTES, SPLIT_NAMES
from tasks.records import SPLITS, digest
from tasks.runtime.errors import DataError, UsageError, few
from tasks.runtime.home import home
from tasks.runtime.store import folders, photos, remote

#: Hugging Face's name of the column with the files, taken where the table has no `image`.
FILE_NAME = "file_name"


def rows(
    *,
    path: Path | str,
    image: str = "image",
    label: str | None = "label",
    group: str | None = None,
    split: str | None = None,
    root: Path | str | None = None,
    contents: str | None = None,
    encoding: str | None = None,
) -> pd.DataFrame:
    """One row per line of the table: `image`, `label`, `group` and `split` are names of its columns.

    Paths in the table are relative to `root`, else to the table's folder, and must stay inside it. `contents` names
    a column of a Parquet table that holds the images themselves, or Hugging Face's {bytes, path}. `encoding` is
    Python's name of a text table's encoding, for one that is not UTF-8 and that is guessed wrongly.

    The table may be behind an address, and the root too. Only below a root that is an address may the table name
    photos by addresses.
    """
    named_by, addressed = remote.place(path, "source.options.path"), bool(remote.scheme(str(root or path)))
    base = remote.place(root, "source.options.root") if root else None
    if isinstance(named_by, str):
        base = base or (named_by.rpartition("/")[0] if _is_table(named_by) else named_by)
        path = _copied(named_by)
    else:
        path = _table(named_by)
    base = base or path.parent
    table = tables.read(path, encoding)
    cells = table.cells
    if image == "image" and image not in cells and FILE_NAME in cells:
        image = FILE_NAME
    named = {"contents" if contents else "image": contents or image, "label": label, "group": group, "split": split}
    _check(path, table, named)
    out = _written(path, cells, contents) if contents else _files(cells[image], base, addressed)
    for name in ("label", "group", "split"):
        column = named[name]
        out[name] = None if column is None else cells[column].astype(object).map(_text)
    several = cells[label].astype(object).map(_several).dropna().to_dict() if label else {}
    _set_aside(out, several, ["label"])
    _set_aside(out, table.errors, ["label", "group", "split"])  # cells behind one too many are in wrong columns
    given = out["split"].dropna()
    out["split"] = out["split"].map(lambda name: SPLIT_NAMES.get(str(name).strip().casefold()), na_action="ignore")
    unknown = sorted(set(given[out["split"].loc[given.index].isna()]))
    if unknown:
        raise DataError(f"{path}: expected {', '.join(SPLITS)} in the column {split!r}, found {few(unknown)}.")
    extra = [column for column in cells if column not in named.values() and column not in out]
    found = pd.concat([out, cells[extra].apply(_plain)], axis=1)
    blank = [f"The column {group!r} of {path.name} is blank: no images are kept together."] if group else []
    found.attrs[NOTES] = [*table.notes, *(blank if out["group"].isna().all() else [])]
    return found


def _check(path: Path, table: tables.Table, named: dict[str, str | None]) -> None:
    """Raise `UsageError` if a named column is not there, or there twice."""
    used = {option: column for option, column in named.items() if column is not None}
    absent = {option: column for option, column in used.items() if column not in table.cells}
    if absent:
        alike = [
            f'source.options.{option} = "{other}"'
            for option, column in absent.items()
            for other in table.cells
            if str(other).casefold() == column.casefold()
        ]
        hint = f"Did you mean {', '.join(alike)}?" if alike else "A recipe names other columns in source.options."
        raise UsageError(f"{path}: expected the columns {few(absent.values())}, found {few(table.cells)}. {hint}")
    if doubled := [column for column in used.values() if column in table.doubled]:
        raise UsageError(
            f"{path}: expected one column for each name, found several with the name {few(doubled)}. Rename or remove "
            "the others."
        )


def _table(path: Path) -> Path:
    """The table's file; in a folder it is Hugging Face's."""
    path = path.absolute()
    if path.is_dir():
        path = next((path / name for name in tables.METADATA if (path / name).is_file()), path)
    if not path.is_file():
        raise DataError(
            f"source.options.path: expected a CSV, JSON lines or Parquet table, or a folder with "
            f"{tables.METADATA[0]}, found neither at {path}."
        )
    return path


def _is_table(address: str) -> bool:
    return address.lower().endswith(tables.SUFFIXES)


def _copied(address: str) -> Path:
    """A copy of a table behind an address, made when the table has changed; in a folder it is Hugging Face's."""
    files = [address] if _is_table(address) else [f"{address}/{name}" for name in tables.METADATA]
    found = next(((file, stat) for file in files if (stat := remote.stat(file)) != remote.ABSENT), None)
    if found is None:
        raise DataError(f"source.options.path: expected a table at {' or '.join(files)}, found none there.")
    name, content = Path(found[0]).name, digest("table", *found)
    place = f"store/sources/{content}/{name}"
    if folders.missing([place]):
        try:
            data, _ = remote.read(found[0], photos.MAX_BYTES)
        except OSError as error:
            raise DataError(f"{found[0]}: expected a table, but {error.strerror}.") from None
        with folders.folder("sources", content) as (working, _):
            (working / name).write_bytes(data or b"")
    return home() / place


def _files(names: pd.Series, base: Path | str, addressed: bool) -> pd.DataFrame:
    """`uri` of each named file, and `error` where it is not inside the root."""
    given = [None if _blank(name) else name for name in names.map(_scalar)]
    if isinstance(base, str):
        found = [_far(name, base) for name in given]
    else:
        real = base.resolve()
        found = [_file(_path(name) if addressed else name, base, real) for name in given]
    return pd.DataFrame(found, columns=["uri", "error"], dtype=object)


def _far(name: Any, base: str) -> tuple[str, str | None]:
    if name is None or not str(name).strip():
        return base, "no file name"
    if not isinstance(name, str) or not name.isprintable():
        return base, f"expected a file name or an address, found {type(name).__name__} with other content"
    return remote.within(base, name)


def _path(name: Any) -> Any:
    """A `file://` address as its path."""
    is_file = isinstance(name, str) and remote.scheme(name) == "file" and not remote.problem(name)
    return str(remote.local(name)) if is_file else name


def _file(name: Any, base: Path, real: Path) -> tuple[str, str | None]:
    if name is None or not str(name).strip():
        return str(base), "no file name"
    if not isinstance(name, str):
        found = type(name).__name__
        return str(base), f"expected a file name, found {found}; source.options.contents names a column of images"
    if "\0" in name:
        return str(base / name.replace("\0", "?")), "a file name with a zero byte"
    if remote.scheme(name):
        plain = f"an address, not a file inside {base}; source.options.root may name an address"
        return remote.shown(name), remote.problem(name) or plain
    file = base / name
    if not Path(os.path.realpath(file)).is_relative_to(real):
        return str(file), f"outside the table's root {base}"
    # `Path.exists` raises for a name that is too long.
    if "\\" in name and not os.path.exists(file) and os.path.exists(base / name.replace("\\", "/")):  # noqa: PTH110
        return str(file), "a path with backslashes: write it with /"
    return str(file), None


def _written(path: Path, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The images of a column as files of the home folder, written once."""
    stat = path.stat()
    address = digest("inside", str(path), stat.st_size, stat.st_mtime_ns, column)
    place = f"store/sources/{address}"
    if folders.missing([place]):
        with folders.folder("sources", address) as (working, _):
            for number, value in enumerate(table[column]):
                data = value.get("bytes") if isinstance(value, dict) else value
                if isinstance(data, bytes):
                    (working / f"{number:07d}").write_bytes(data)
    files = [home() / place / f"{number:07d}" for number in range(len(table))]
    errors = [None if file.is_file() else f"no image in the column {column!r}" for file in files]
    return pd.DataFrame({"uri": list(map(str, files)), "error": errors}, dtype=object)


def _set_aside(out: pd.DataFrame, errors: dict[int, str], wrong: list[str]) -> None:
    """Write down why rows cannot be used, and empty the columns that are wrong there."""
    rows = list(errors)
    out.loc[rows, "error"] = list(errors.values())
    out.loc[rows, wrong] = None


def _several(value: Any) -> str | None:
    """Why a cell is no label."""
    value = _scalar(value)
    several = isinstance(value, list | tuple | dict | np.ndarray)
    return f"expected one label, found {type(value).__name__} {str(value)[:60]}" if several else None


def _text(value: Any) -> str | None:
    value = _scalar(value)
    return None if _blank(value) else str(value)


def _blank(value: Any) -> bool:
    """Whether a cell holds nothing; lists and arrays hold something."""
    return bool(np.ndim(value) == 0 and pd.isna(value))


def _scalar(value: Any) -> Any:
    """A cell of an array of one element as that element."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _plain(column: pd.Series) -> pd.Series:
    """A further column in a form that any table can hold: objects that are no text become text."""
    if column.dtype != object and not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.astype(object).map(lambda value: None if _blank(value) else str(value))
