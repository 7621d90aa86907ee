"""What the store holds."""

from typing import Any

from tasks.runtime.store import commits
from tasks.runtime.store.commits import SUFFIX, Broken

#: Tables that can be computed again, by the beginning of their names.
DERIVED = ("images-", "features-", "activations-", "answers-", "facts-")


def tables() -> list[dict[str, Any]]:
    """Every table that can be computed again: name, rows, bytes stored, the largest first.

    One that an older release has written has its whole folder as its name; none is read any more.
    """
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(commits.location())
    found = []
    for folder in system.get_file_info(fs.FileSelector(root, allow_not_found=True)):
        if folder.base_name.startswith(DERIVED) and folder.base_name.endswith(".lance"):
            files = system.get_file_info(fs.FileSelector(folder.path, allow_not_found=True, recursive=True))
            size = sum(file.size for file in files if file.is_file)
            name = folder.base_name.removesuffix(SUFFIX)
            found.append({"table": name, "rows": _rows(folder.base_name), "bytes": size})
    return sorted(found, key=lambda table: -table["bytes"])


def _rows(folder: str) -> int:
    try:
        dataset = commits.opened(f"{commits.location()}/{folder}")
        # A folder without a version: a writer is making a table, or died while it made or dropped one.
        return dataset.count_rows() if dataset is not None else 0
    except Broken:
        return 0
