"""Which images are used, in which split, and why the others are set aside."""

from typing import NamedTuple

import pandas as pd

from tasks.data import splits
from tasks.settings import Split, Validation

#: Why an image of a class with too few others is set aside.
RARE = "its class has too few images for all splits: "


class Selection(NamedTuple):
    """The facts with `error` and `split` filled in, notes for people, and the classes with too few images.

    `error` says why a row is set aside: it cannot be read, its size is out of bounds, it has several labels or no date,
    or too few others have its class. `rare`: classes that are set aside or only trained on (`split.rare`).
    """

    images: pd.DataFrame
    notes: list[str]
    rare: frozenset[str]


def select(images: pd.DataFrame, split: Split, validation: Validation, before: pd.Series | None = None) -> Selection:
    """Choose the images and their splits. `before`: see `splits.draw`. `UsageError` for a column that is not there."""
    images = images.assign(error=images["error"].astype(object), split=images["split"].astype(object))
    for rejected, reason in (*_sizes(images, validation), _labels(images), *_undated(images, split)):
        _reject(images, rejected, reason)
    notes, rare = _rare(images, split)
    good = images["error"].isna()
    if good.any():
        images.loc[good, "split"] = splits.draw(images[good], split, before)
    images.loc[~good & images["split"].isna(), "split"] = splits.ORDER[0]
    return Selection(images, notes, rare)


def accepted(images: pd.DataFrame) -> pd.DataFrame:
    """The rows of `select` that are used, each image once, by key; of copies the test image before the others."""
    good = images[images["error"].isna()]
    place = good["split"].map(splits.ORDER.index)
    last = place.sort_values(ascending=False, kind="stable").index
    return good.loc[last].drop_duplicates("key").sort_values("key", ignore_index=True)


def _sizes(images: pd.DataFrame, validation: Validation) -> list[tuple[pd.Series, pd.Series]]:
    """Rows whose sides are out of bounds, and the reasons."""
    sides = images[["width", "height"]].astype("Float64")
    size = images["width"].astype("Int64").astype(str) + " x " + images["height"].astype("Int64").astype(str)
    least, most = validation.min_side, validation.max_side
    return [
        (sides.min(axis=1) < least, size + f" pixels: a side below validation.min_side = {least}"),
        (sides.max(axis=1) > most, size + f" pixels: a side above validation.max_side = {most}"),
    ]


def _labels(images: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Rows of an image that has several labels, and the reason."""
    good = images[images["error"].isna()]
    labels = good.groupby("key")["label"].unique()
    several = labels[labels.map(len) > 1].map(lambda found: ", ".join(sorted(map(str, found))))
    reason = images["key"].map(several).map(lambda found: f"the same image has the labels {found}")
    return images["key"].isin(several.index), reason


def _undated(images: pd.DataFrame, split: Split) -> list[tuple[pd.Series, pd.Series]]:
    """Rows without a date to split by, and the reason."""
    if not split.by_time:
        return []
    text = splits.dates(images, split)
    shown = text.map(lambda found: "none" if pd.isna(found) else repr(str(found)))
    reason = (
        f"split.by_time = {split.by_time!r}: expected a date such as 2026-11-28 or 2026-11-28T09:30, found " + shown
    )
    return [(splits.times(text).isna(), reason)]


def _rare(images: pd.DataFrame, split: Split) -> tuple[list[str], frozenset[str]]:
    """Set aside the classes with too few images, unless the recipe says otherwise; returns notes and the classes."""
    good = images[images["error"].isna() & images["label"].notna()]
    few = splits.few(good, split) if len(good) else {}
    if not few or split.rare == "stop":
        return [], frozenset()
    shown = ", ".join(f"{label} ({n})" for label, n in sorted(few.items()))
    if split.rare == "train":
        return [f"Classes with too few images to validate and test, only trained on: {shown}."], frozenset(few)
    rare = images["label"].isin(few) & images["error"].isna()
    _reject(images, rare, RARE + images["label"].astype(str))
    return [f"Classes with too few images for all splits, set aside (split.rare): {shown}."], frozenset(few)


def _reject(images: pd.DataFrame, rejected: pd.Series, reason: pd.Series) -> None:
    rejected = rejected.fillna(False).astype(bool) & images["error"].isna()
    images.loc[rejected, "error"] = reason[rejected]
