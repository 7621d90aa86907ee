"""The suite for image classification: readable files, known labels, enough images, sane sizes, no leak, balance."""

from typing import TYPE_CHECKING

import pandas as pd

from tasks.data.expectations import Check
from tasks.records import SPLITS

if TYPE_CHECKING:
    from tasks.settings import Validation


def suite(images: pd.DataFrame, validation: "Validation") -> list[Check]:
    """Checks on facts: one row per image with uri, label, group, split, key, width, height, error."""
    readable = images[images["error"].isna()]
    return [_files(images, readable, validation), _classes(readable, validation), _contents(readable)]


def _files(images: pd.DataFrame, readable: pd.DataFrame, validation: "Validation") -> Check:
    from great_expectations import expectations as gxe

    sides = readable[["width", "height"]]
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    table = images.assign(shorter_side=shorter, longer_side=longer, aspect=longer / shorter)
    expectations = [
        gxe.ExpectColumnValuesToBeNull(
            column="error",
            mostly=1 - validation.max_rejected,
            description=f"At most {validation.max_rejected:.2%} of the files cannot be read",
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="label", description="Every file has a label"),
        gxe.ExpectColumnValuesToNotBeNull(column="uri", description="Every row names a file"),
        gxe.ExpectColumnValuesToBeUnique(column="uri", description="Every file is named once"),
        gxe.ExpectColumnValuesToBeInSet(
            column="split", value_set=list(SPLITS), description="Every file is in train, validation or test"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="shorter_side",
            min_value=validation.min_side,
            description=f"Width and height are at least {validation.min_side} pixels",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="longer_side",
            max_value=validation.max_side,
            description=f"Width and height are at most {validation.max_side} pixels",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="aspect",
            max_value=validation.max_aspect,
            severity="warning",
            description=f"The longer side is at most {validation.max_aspect:g} times the shorter",
        ),
    ]
    if validation.classes:
        known = list(validation.classes)
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="label", value_set=known, description=f"Labels are among {', '.join(known)}"
            )
        )
    return Check("files", table, "uri", expectations)


def _classes(readable: pd.DataFrame, validation: "Validation") -> Check:
    from great_expectations import expectations as gxe

    counts = pd.crosstab(readable["label"], readable["split"]).reindex(columns=list(SPLITS), fill_value=0)
    counts = counts.reindex(sorted(set(validation.classes) | set(counts.index)), fill_value=0)
    total = counts.sum(axis=1)
    table = counts.add_suffix("_images").assign(balance=total / max(int(total.max()), 1) if len(total) else [])
    enough = [
        gxe.ExpectColumnValuesToBeBetween(
            column=f"{split}_images",
            min_value=validation.min_images,
            description=f"Every class has at least {validation.min_images} image(s) in the split {split}",
        )
        for split in SPLITS
    ]
    return Check(
        "classes",
        table.rename_axis("class").reset_index(),
        "class",
        [
            gxe.ExpectTableRowCountToBeBetween(
                min_value=2, description="There are at least 2 classes with readable photos"
            ),
            *enough,
            gxe.ExpectColumnValuesToBeBetween(
                column="balance",
                min_value=validation.min_balance,
                severity="warning",
                description=f"Every class has at least {validation.min_balance:.0%} of the largest class's images",
            ),
        ],
    )


def _contents(readable: pd.DataFrame) -> Check:
    """One row for each distinct file content, so that copies are recognised."""
    from great_expectations import expectations as gxe

    table = readable.groupby("key", as_index=False).agg(
        uri=("uri", "first"), copies=("uri", "size"), splits=("split", "nunique"), labels=("label", "nunique")
    )
    return Check(
        "contents",
        table,
        "uri",
        [
            gxe.ExpectColumnValuesToBeBetween(
                column="splits", max_value=1, description="No photo is in two splits under two names"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="labels", max_value=1, description="No photo has two labels under two names"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="copies", max_value=1, severity="warning", description="No photo appears twice"
            ),
        ],
    )
