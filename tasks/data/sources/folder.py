"""A folder with one sub-folder per class, or `train/ validation/ test/` with the classes below.

The second is the layout of TFDS' ImageFolder (https://www.tensorflow.org/datasets/api_docs/python/tfds/folder_dataset).
"""

from pathlib import Path

import pandas as pd

from tasks.data.files.walk import below, files, folders
from tasks.data.sources import NOTES, SPLIT_NAMES, STATED, STATS
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.store import remote


def rows(*, path: Path | str) -> pd.DataFrame:
    """One row per file, hidden ones excluded; the label is the name of the sub-folder.

    Links are followed inside the folder. Loose files and empty folders are named in `attrs`.
    """
    root = remote.place(path, "source.options.path")
    if isinstance(root, str):
        return _behind(root)
    if not root.is_dir():
        raise DataError(f"source.options.path: expected a folder of photos, found no folder at {path} ({root}).")
    parents = _parents(root)
    found: list[tuple[str, str, None, str | None, str | None]] = []
    notes = [note for parent in dict.fromkeys([root, *parents]) for note in _loose(parent)]
    for parent, split in parents.items():
        for folder in folders(parent):
            inside = list(files(folder, root))
            found += [(file, folder.name, None, split, error) for file, error in inside]
            if not inside:
                notes.append(f"The folder {folder} has no files: there is no class {folder.name!r}.")
    if not found:
        raise DataError(f"source.options.path: expected one sub-folder of photos for each class, found none in {root}.")
    table = pd.DataFrame(found, columns=["uri", "label", "group", "split", "error"])
    table.attrs[NOTES] = notes
    return table


def _parents(root: Path) -> dict[Path, str | None]:
    """The folders that hold the classes, with their split; None if it has to be drawn.

    The folders of the splits may be one level deeper, in the only folder that there is, as in many archives.
    """
    inside = folders(root)
    for top in (root, *(inside if len(inside) == 1 else [])):
        if found := _splits([folder.name for folder in folders(top)], str(top)):
            return {top / name: split for name, split in found.items()}
    return {root: None}


def _splits(names: list[str], top: str) -> dict[str, str]:
    """Folders of splits, with their split; none if the folders are those of classes. Raises `DataError` for a mix."""
    known = {name: SPLIT_NAMES.get(name.casefold()) for name in names}
    splits = {name: split for name, split in known.items() if split}
    others = [name for name in known if name not in splits]
    if "train" not in splits.values() or (others and len(splits) == 1):
        return {}
    if others:
        raise DataError(
            f"source.options.path: expected classes or splits in {top}, found both: {', '.join(others)} beside "
            f"{', '.join(splits)}. Move the former away."
        )
    return splits


def _behind(root: str) -> pd.DataFrame:
    """The rows of a folder behind an address, which is listed once."""
    if remote.scheme(root) not in remote.LISTED:
        raise UsageError(
            f"source.options.path: expected a folder that can be listed ({' or '.join(remote.LISTED)}), found {root}. "
            "Name the photos of a web server in a table: kind = 'manifest'."
        )
    stats = below(root)
    parts = {file: file[len(root) + 1 :].split("/") for file in stats}
    tops = [part[0] for part in parts.values() if len(part) > 1]
    prefix: list[str] = []
    splits = _splits(sorted(set(tops)), root)
    if not splits and len(set(tops)) == 1:
        inner = sorted({part[1] for part in parts.values() if len(part) > 2})
        splits = _splits(inner, f"{root}/{tops[0]}")
        prefix = [tops[0]] if splits else []
    depth = len(prefix) + bool(splits)
    used = {
        file: part
        for file, part in parts.items()
        if len(part) > depth + 1 and (not splits or part[depth - 1] in splits)
    }
    if not used:
        raise DataError(f"source.options.path: expected one sub-folder of photos for each class, found none in {root}.")
    loose = [file for file in parts if file not in used]
    table = pd.DataFrame([stats[file] for file in used], columns=list(STATS)).assign(
        uri=list(used),
        label=[part[depth] for part in used.values()],
        group=None,
        split=[splits[part[depth - 1]] if splits else None for part in used.values()],
    )
    table.attrs[STATED] = True
    table.attrs[NOTES] = (
        [f"{len(loose)} loose files in {root}, such as {loose[0]}, are in no class: they are not used."]
        if loose
        else []
    )
    return table


def _loose(folder: Path) -> list[str]:
    found = sorted(f.name for f in folder.iterdir() if not f.is_dir() and not f.name.startswith("."))
    if not found:
        return []
    return [f"{len(found)} loose files in {folder}, such as {found[0]}, are in no class: they are not used."]
