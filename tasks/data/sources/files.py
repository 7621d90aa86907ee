"""Photos without labels: one, or every file in a folder and its sub-folders; for `headstart score`."""

from pathlib import Path

import pandas as pd

from tasks.data.files import walk
from tasks.runtime.errors import DataError


def rows(*, path: Path) -> pd.DataFrame:
    """One row per file, hidden files excluded; no labels."""
    root = path.expanduser().absolute()
    if not root.exists():
        raise DataError(f"source.options.path: expected a photo or a folder of photos, found none at {path} ({root}).")
    found = sorted(walk.files(root, root)) if root.is_dir() else [(str(root), None)]
    if not found:
        raise DataError(f"source.options.path: expected photos, found none in {root}.")
    empty = [None] * len(found)
    table = {"uri": [file for file, _ in found], "label": empty, "group": empty, "split": empty}
    return pd.DataFrame(table | {"error": [error for _, error in found]})
