"""Photos without labels: every file in a folder and its sub-folders; for `headstart score`."""

from pathlib import Path

import pandas as pd

from tasks.runtime.errors import DataError


def rows(*, path: Path) -> pd.DataFrame:
    """One row per file, hidden files excluded; no labels."""
    root = path.expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"source.options.path: expected a folder of photos, found no folder at {path} ({root}).")
    real = root.resolve()
    files = sorted(f for f in root.rglob("*") if not f.is_dir() and not _hidden(f.relative_to(root)))
    if not files:
        raise DataError(f"source.options.path: expected photos, found none in {root}.")
    outside = "a link to a file outside the source"
    errors = [None if f.resolve().is_relative_to(real) else outside for f in files]
    empty = [None] * len(files)
    return pd.DataFrame({"uri": map(str, files), "label": empty, "group": empty, "split": empty, "error": errors})


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
