"""A folder with one sub-folder per class, or `train/ validation/ test/` with the classes below.

The second is the layout of TFDS' ImageFolder (https://www.tensorflow.org/datasets/api_docs/python/tfds/folder_dataset).
"""

from pathlib import Path

import pandas as pd

from tasks.runtime.errors import DataError

SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def rows(*, path: Path) -> pd.DataFrame:
    """One row per file, hidden files excluded; the label is the name of the sub-folder."""
    root = path.expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"source.options.path: expected a folder of photos, found no folder at {path} ({root}).")
    folders = _visible(root)
    split_layout = (
        bool(folders) and {f.name for f in folders} <= set(SPLIT_NAMES) and "train" in {f.name for f in folders}
    )
    found = []
    for folder in folders:
        if split_layout:
            for label in _visible(folder):
                found += _files(root, label, label.name, SPLIT_NAMES[folder.name])
        else:
            found += _files(root, folder, folder.name, None)
    if not found:
        raise DataError(f"source.options.path: expected one sub-folder of photos for each class, found none in {root}.")
    return pd.DataFrame(found, columns=["uri", "label", "group", "split", "error"])


def _visible(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _files(
    root: Path, folder: Path, label: str, split: str | None
) -> list[tuple[str, str, None, str | None, str | None]]:
    real = root.resolve()
    files = sorted(f for f in folder.rglob("*") if not f.is_dir() and not f.name.startswith("."))
    return [
        (
            str(f),
            label,
            None,
            split,
            None if f.resolve().is_relative_to(real) else "a link to a file outside the source",
        )
        for f in files
    ]
