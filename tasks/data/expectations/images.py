"""The suite for image classification: readable files, known labels, enough images, usual shapes, no leak, balance."""

from typing import TYPE_CHECKING

import pandas as pd

from tasks.data.expectations import Case, Check, fix
from tasks.data.selection import RARE
from tasks.data.sources import normalised
from tasks.records import OLDER, SPLITS

if TYPE_CHECKING:
    from tasks.settings import Validation


#: A share of whole files, such as 49 of 50, may come out a little smaller than it is.
ROUNDING = 1e-9


def suite(case: Case) -> list[Check]:
    """Checks on the files, the classes and the contents."""
    images, validation = case.images, case.validation
    readable = images[images["error"].isna()]
    return [
        _files(images, readable, validation),
        _named(readable),
        _classes(readable, case),
        _contents(readable, validation),
    ]


def _files(images: pd.DataFrame, readable: pd.DataFrame, validation: "Validation") -> Check:
    from great_expectations import expectations as gxe

    sides = readable[["width", "height"]]
    rare = images["error"].str.startswith(RARE).fillna(False).astype(bool)
    table = images.assign(
        aspect=sides.max(axis=1) / sides.min(axis=1),
        error=images["error"].mask(rare, None),
        rare=images["error"].where(rare, None),
    )
    share = validation.max_rejected
    # One file of a small data set is no reason to stop.
    allowed = max(share, 1 / max(len(images), 1)) if share else 0
    expectations = [
        gxe.ExpectColumnValuesToBeNull(
            column="error",
            mostly=max(0, 1 - allowed - ROUNDING),
            description=f"At most {share:.2%} of the files{', or one,' if share else ''} are set aside",
            meta=fix("mend the files, or raise validation.max_rejected; rejected.csv lists them all"),
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="rare",
            mostly=1 - share,
            description=f"At most {share:.2%} of the images are of classes with too few images",
            meta=fix(
                "add images of these classes (three of each, or three groups), leave the classes out of the source, "
                "set split.rare = 'train', or raise validation.max_rejected"
            ),
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="uri", description="Every row names a file"),
        gxe.ExpectColumnValuesToBeInSet(
            column="split",
            value_set=[*SPLITS, OLDER],
            description="Every file is in one of the splits",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="aspect",
            max_value=validation.max_aspect,
            severity="warning",
            description=f"The longer side is at most {validation.max_aspect:g} times the shorter",
            meta=fix("images.fit = 'pad' shows long images whole"),
        ),
    ]
    if validation.classes:
        known = list(validation.classes)
        expectations.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="label",
                value_set=known,
                description=f"Labels are among {', '.join(known)}",
                meta=fix("correct the labels, or add them to validation.classes"),
            )
        )
    return Check("files", table, "uri", expectations)


def _named(readable: pd.DataFrame) -> Check:
    """What holds for the rows that are used alone: one that is set aside may name no file, and have no label."""
    from great_expectations import expectations as gxe

    return Check(
        "rows",
        readable,
        "uri",
        [
            gxe.ExpectColumnValuesToNotBeNull(
                column="label", description="Every file has a label", meta=fix("label or remove these rows")
            ),
            gxe.ExpectColumnValuesToBeUnique(
                column="uri", description="Every file is named once", meta=fix("remove the second row")
            ),
        ],
    )


def _classes(readable: pd.DataFrame, case: Case) -> Check:
    from great_expectations import expectations as gxe

    validation = case.validation
    counts = pd.crosstab(readable["label"], readable["split"])
    counts = counts.reindex(columns=[*SPLITS, *counts.columns.intersection([OLDER])], fill_value=0)
    counts = counts.reindex(sorted(set(validation.classes) | set(counts.index)), fill_value=0)
    total, seen = counts.sum(axis=1), pd.Series([normalised(str(name)) for name in counts.index], dtype=object)
    table = counts.add_suffix("_images").assign(
        balance=total / max(int(total.max()), 1) if len(total) else [],
        alike=seen.groupby(seen).transform("size").to_numpy(),
    )
    # An empty cell is not looked at: these classes are only trained on.
    table.loc[table.index.isin(case.rare), ["validation_images", "test_images"]] = pd.NA
    enough = [
        gxe.ExpectColumnValuesToBeBetween(
            column=f"{split}_images",
            min_value=validation.min_images,
            description=f"Every class has at least {validation.min_images} image(s) in the split {split}",
            meta=fix("add images of these classes, or leave them out (split.rare says what happens to small ones)"),
        )
        for split in SPLITS
    ]
    return Check(
        "classes",
        table.rename_axis("class").reset_index(),
        "class",
        [
            gxe.ExpectTableRowCountToBeBetween(
                min_value=2,
                description="There are at least 2 classes with readable photos",
                meta=fix("a classifier needs two classes with three images each"),
            ),
            *enough,
            gxe.ExpectColumnValuesToBeBetween(
                column="balance",
                min_value=validation.min_balance,
                severity="warning",
                description=f"Every class has at least {validation.min_balance:.0%} of the largest class's images",
                meta=fix("loss.balance helps rare classes"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="alike",
                max_value=1,
                severity="warning",
                description="No two labels look the same",
                meta=fix("labels.normalise = true joins them"),
            ),
        ],
    )


def _contents(readable: pd.DataFrame, validation: "Validation") -> Check:
    """One row for each distinct file content, so that copies are recognised."""
    from great_expectations import expectations as gxe

    table = readable.groupby("key", as_index=False).agg(
        uri=("uri", "first"), copies=("uri", "size"), splits=("split", "nunique")
    )
    return Check(
        "contents",
        table,
        "uri",
        [
            gxe.ExpectColumnValuesToBeBetween(
                column="splits",
                max_value=1,
                severity="critical" if validation.copies == "stop" else "warning",
                description="No photo is in two splits under two names",
                meta=fix("validation.copies = 'drop' uses only the test image"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="copies",
                max_value=1,
                severity="warning",
                description="No photo appears twice",
                meta=fix("copies are used once"),
            ),
        ],
    )
