"""Which slice of each column an image is in."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from tasks.records.data import PREFIX
from tasks.runtime.errors import UsageError
from tasks.settings import Slices

#: A column with more values than this identifies single images, not groups of images.
MOST = 20
MISSING = "(none)"
DERIVED: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "brightness": lambda rows: rows["brightness"],
    "size": lambda rows: rows["width"] * rows["height"],  # pixels
    "sharpness": lambda rows: rows["sharpness"],
}


def values(rows: pd.DataFrame, settings: Slices) -> pd.DataFrame:
    """Each row's value in the columns to slice by, as text: source columns under their prefixed names, then derived.

    `rows`: the whole data set. Quartiles are those of its training rows. Raises `UsageError` if a column in the
    settings is missing, or has many values that are not numbers.
    """
    train = (rows["split"] == "train").to_numpy()
    texts = {name: _text(rows[name]) for name in rows if name.startswith(PREFIX)}
    few = [name for name, text in texts.items() if text.nunique() <= MOST]
    chosen = [_named(name, texts) for name in settings.columns] or [n for n in few if not _measured(rows[n])]
    own = {n: texts[n] if n in few else _quartiles(_numbers(n, rows[n]), train) for n in chosen}
    derived = {name: _quartiles(DERIVED[name](rows), train) for name in settings.derived}
    return pd.DataFrame(own | derived, index=rows.index)


def _text(column: pd.Series) -> pd.Series:
    # Integers with missing values are stored as floats.
    whole = column.astype("Int64") if pd.api.types.is_float_dtype(column) and not _measured(column) else column
    return whole.map(str, na_action="ignore").astype(object).where(column.notna(), MISSING)


def _measured(column: pd.Series) -> bool:
    """Whether it contains fractions: then it is a measurement, not a group of images."""
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 != 0).any())


def _named(name: str, texts: dict[str, pd.Series]) -> str:
    if f"{PREFIX}{name}" not in texts:
        known = ", ".join(text.removeprefix(PREFIX) for text in texts) or "none"
        raise UsageError(f"slices.columns: expected columns of the source, which has {known}; found {name!r}.")
    return f"{PREFIX}{name}"


def _numbers(name: str, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    if not numbers.notna().equals(column.notna()):
        raise UsageError(
            f"slices.columns: expected numbers or at most {MOST} values in a column, found "
            f"{column.nunique()} texts in {name.removeprefix(PREFIX)!r}. Leave it out, or group its values."
        )
    return numbers


def _quartiles(numbers: pd.Series, train: np.ndarray) -> pd.Series:
    """The quartile of the training rows that each number is in, named by its bounds; fewer if many are equal."""
    known = numbers[train].dropna()
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.array([])
    shown = [f"{edge:,.0f}" if abs(edge) >= 1000 else f"{edge:.4g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    names = [f"below {shown[0]}", *between, f"{shown[-1]} and above"] if shown else [MISSING]
    places = np.searchsorted(edges, numbers, side="right")
    return pd.Series(np.array(names, object)[places], numbers.index).where(numbers.notna(), MISSING)
