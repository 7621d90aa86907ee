"""A folder with one sub-folder per class, or `train/ validation/ test/` with the classes below.

The second is the layout of TFDS' ImageFolder (https://www.tensorflow.org/datasets/api_docs/python/tfds/folder_dataset).
"""

from pathlib import Path

import pandas as pd

from tasks.data.files.walk import files, folders
from tasks.data.sources import NOTES, SPLIT_NAMES
from tasks.runtime.errors import DataError


def rows(*, path: Path) -> pd.DataFrame:
    """One row per file, hidden ones excluded; the label is the name of the sub-folder.

    Links are followed inside the folder. Loose files and empty folders are named in `attrs`.
    """
    root = path.expanduser().absolute()
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
        known = {folder: SPLIT_NAMES.get(folder.name.casefold()) for folder in folders(top)}
        splits = {folder: split for folder, split in known.items() if split}
        others = [folder.name for folder in known if folder not in splits]
        if "train" not in splits.values() or (others and len(splits) == 1):
            continue
        if others:
            raise DataError(
                f"source.options.path: expected classes or splits in {top}, found both: {', '.join(others)} beside "
                f"{', '.join(folder.name for folder in splits)}. Move the former away."
            )
        return dict(splits)
    return {root: None}


def _loose(folder: Path) -> list[str]:
    found = sorted(f.name for f in folder.iterdir() if not f.is_dir() and not f.name.startswith("."))
    if not found:
        return []
    return [f"{len(found)} loose files in {folder}, such as {found[0]}, are in no class: they are not used."]
