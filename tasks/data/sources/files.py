"""Photos without labels: one, or every file in a folder and its sub-folders; for `headstart score`."""

from pathlib import Path

import pandas as pd

from tasks.data.files import walk
from tasks.data.sources import STATED, STATS
from tasks.runtime.errors import DataError
from tasks.runtime.store import remote


def rows(*, path: Path | str) -> pd.DataFrame:
    """One row per file, hidden files excluded; no labels."""
    root = remote.place(path, "source.options.path")
    if isinstance(root, str):
        return _behind(root)
    if not root.exists():
        raise DataError(f"source.options.path: expected a photo or a folder of photos, found none at {path} ({root}).")
    found = sorted(walk.files(root, root)) if root.is_dir() else [(str(root), None)]
    if not found:
        raise DataError(f"source.options.path: expected photos, found none in {root}.")
    empty = [None] * len(found)
    table = {"uri": [file for file, _ in found], "label": empty, "group": empty, "split": empty}
    return pd.DataFrame(table | {"error": [error for _, error in found]})


def _behind(address: str) -> pd.DataFrame:
    """The photos below an address, or the one that it names."""
    found = walk.below(address) if remote.scheme(address) in remote.LISTED else {}
    if not found and (stat := remote.stat(address)) != remote.ABSENT:
        found = {address: stat}
    if not found:
        raise DataError(
            f"source.options.path: expected a photo, or photos below an address of {' or '.join(remote.LISTED)}, found "
            f"none at {address}. A web server cannot be listed: name its photos in a table, as a manifest."
        )
    table = pd.DataFrame(found.values(), columns=list(STATS)).assign(
        uri=list(found), label=None, group=None, split=None
    )
    table.attrs[STATED] = True
    return table
