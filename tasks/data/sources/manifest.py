"""A CSV or Parquet table that names the photos."""

from pathlib import Path

import pandas as pd

from tasks.records import SPLITS
from tasks.runtime.errors import DataError, UsageError


def rows(
    *,
    path: Path,
    image: str = "image",
    label: str | None = "label",
    group: str | None = None,
    split: str | None = None,
    root: Path | None = None,
) -> pd.DataFrame:
    """One row per line of the table: `image`, `label`, `group` and `split` are names of its columns.

    Paths in the table are relative to `root`, else to the table's folder, and must stay inside it.
    """
    if not path.is_file():
        raise DataError(f"source.options.path: expected a CSV or Parquet table, found no file at {path}.")
    table = _read(path)
    named = {"uri": image, "label": label, "group": group, "split": split}
    absent = [column for column in named.values() if column is not None and column not in table]
    if absent:
        raise UsageError(
            f"{path}: expected the columns {absent}, found {list(table.columns)}. Name them in source.options."
        )
    base = (root or path.parent).absolute()
    files = [base / str(name) for name in table[image]]
    out = pd.DataFrame({"uri": [str(f) for f in files]})
    for name in ("label", "group", "split"):
        column = named[name]
        out[name] = None if column is None else table[column].map(_text)
    unknown = sorted(set(out["split"].dropna()) - set(SPLITS))
    if unknown:
        raise DataError(f"{path}: expected {', '.join(SPLITS)} in the column {split!r}, found {', '.join(unknown)}.")
    real = base.resolve()
    out["error"] = [None if f.resolve().is_relative_to(real) else "outside the manifest's root" for f in files]
    extra = [column for column in table if column not in named.values() and column not in out]
    return pd.concat([out, table[extra]], axis=1)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() in (".parquet", ".pq"):
        table = pd.read_parquet(path)
        # pandas stores its index: a named one becomes a column; one left by a shuffle, filter or concat has no meaning.
        named = [name for name in table.index.names if name is not None and name not in table]
        return table.reset_index(named).reset_index(drop=True)
    # As text: a label 007 or 1.0 must stay as it is written.
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])


def _text(value: object) -> str | None:
    return None if pd.isna(value) else str(value)
