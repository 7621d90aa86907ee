"""Which images are used, in which split, and why the others are set aside."""

import pandas as pd

from tasks.data import splits
from tasks.settings import Split, Validation


def select(
    images: pd.DataFrame, split: Split, validation: Validation, before: pd.Series | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The facts with `error` and `split` filled in, and notes on what was done.

    `error` says why a row is set aside: it cannot be read, its size is out of bounds, or it has several labels, or too
    few others have its class. `before`: see `splits.draw`.
    """
    images = images.assign(error=images["error"].astype(object), split=images["split"].astype(object))
    for rejected, reason in (*_sizes(images, validation), _labels(images)):
        _reject(images, rejected, reason)
    notes = _rare(images, split)
    good = images["error"].isna()
    if good.any():
        images.loc[good, "split"] = splits.draw(images[good], split, before)
    images.loc[~good & images["split"].isna(), "split"] = splits.ORDER[0]
    return images, notes


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


def _rare(images: pd.DataFrame, split: Split) -> list[str]:
    """Set aside the classes with too few images, unless the recipe says otherwise; returns notes."""
    good = images[images["error"].isna() & images["label"].notna()]
    few = splits.few(good, split) if len(good) else {}
    if not few or split.rare == "stop":
        return []
    shown = ", ".join(f"{label} ({n})" for label, n in sorted(few.items()))
    if split.rare == "train":
        return [f"Classes with too few images to validate and test, only trained on: {shown}."]
    rare = images["label"].isin(few) & images["error"].isna()
    _reject(images, rare, "its class has too few images for all splits: " + images["label"].astype(str))
    return [f"Classes with too few images for all splits, set aside (split.rare): {shown}."]


def _reject(images: pd.DataFrame, rejected: pd.Series, reason: pd.Series) -> None:
    rejected = rejected.fillna(False).astype(bool) & images["error"].isna()
    images.loc[rejected, "error"] = reason[rejected]
