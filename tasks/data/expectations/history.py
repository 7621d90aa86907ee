"""The suite for history: pictures and classes are as in the last accepted data set of the same model; only warnings.

Pictures: the median of each fact of the new images has to be in a range, which the earlier images give and Data Docs
show. It is outside only if both are true:

- Significant: the number of earlier images below the median of n new ones has a beta-binomial distribution if nothing
  has changed, whatever the distribution of the fact is. That holds for few images, too (Fligner and Wolfe 1979,
  Nonparametric prediction intervals for a future sample median, https://doi.org/10.1080/01621459.1979.10482537).
- Large: the median is outside the middle half of the earlier images.

Classes: the share of each class among those that both data sets have. It has changed only if both are true:

- Significant: Fisher's exact test of the two shares. Images that are in both data sets make it more cautious.
- Large: Cohen's h is above 0.2, as between 10 % and 17 % or 50 % and 60 % (Cohen 1988, Statistical Power Analysis for
  the Behavioral Sciences, chapter 6).

With data that has not changed, less than one run in a hundred warns: levels are divided by the number of comparisons.
Images are assumed to be independent; many new images of one scene are easily reported.
"""

from typing import Any

import numpy as np
import pandas as pd

from tasks.data import selection
from tasks.data.expectations import FACTS, Case, Check, fix

#: Probability of a warning about pictures, and of one about classes, if nothing has changed.
LEVEL = 0.005
#: Cohen's h of a change of a share that is large enough to tell.
SMALLEST = 0.2


def suite(case: Case) -> list[Check]:
    """Checks against the earlier data; none if there are none, or if neither images nor labels have changed."""
    if case.before is None or case.before.empty:
        return []
    now, before = selection.accepted(case.images), case.before.drop_duplicates("key")
    checks = [
        _pictures(now[~now["key"].isin(before["key"])], _measured(before, now)),
        _classes(now["label"], before["label"]),
    ]
    return [check for check in checks if check.expectations]


def expected(before: np.ndarray, new: int, level: float) -> tuple[float, float] | None:
    """The range of the median of `new` images, from a fact of the earlier ones, float[n].

    `level`: probability that the median of images of the same kind is outside. None: too few images to give bounds.
    """
    from scipy.stats import betabinom

    half = (new + 1) / 2
    rank = min(int(betabinom.ppf(level / 2, len(before), half, half)), (len(before) + 3) // 4)
    if rank < 1:
        return None
    ordered = np.sort(before)
    return float(ordered[rank - 1]), float(ordered[-rank])


def _measured(before: pd.DataFrame, now: pd.DataFrame) -> dict[str, np.ndarray]:
    """Each fact of the earlier images, float[n], as measured today where an image is still there, else as kept."""
    kept, today = (rows.set_index("key").reindex(columns=list(FACTS)).astype(float) for rows in (before, now))
    facts = today.reindex(kept.index).combine_first(kept)
    return {fact: values for fact in FACTS if len(values := facts[fact].dropna().to_numpy())}


def _pictures(new: pd.DataFrame, known: dict[str, np.ndarray]) -> Check:
    """One row for each new image. `known`: facts of the earlier ones."""
    return Check(
        "new_images",
        new,
        "uri",
        [_median(fact, known[fact], len(new), bounds) for fact, bounds in _bounds(known, len(new)).items()],
    )


def _bounds(known: dict[str, np.ndarray], new: int) -> dict[str, tuple[float, float]]:
    """The expected range of each fact's median; a fact without one is left out."""
    if not new:
        return {}
    found = {fact: expected(values, new, LEVEL / len(known)) for fact, values in known.items()}
    return {fact: bounds for fact, bounds in found.items() if bounds}


def _median(fact: str, before: np.ndarray, new: int, bounds: tuple[float, float]) -> Any:
    from great_expectations import expectations as gxe

    low, high = bounds
    return gxe.ExpectColumnMedianToBeBetween(
        column=fact,
        min_value=low,
        max_value=high,
        severity="warning",
        description=f"The new images are as before in {fact} ({FACTS[fact]}): their median, of {new:,}, is expected "
        f"from {low:.4g} to {high:.4g}, that of {len(before):,} earlier images is {np.median(before):.4g}",
        meta=fix("look at the new photos: another camera, light or preparation?"),
    )


def _classes(now: pd.Series, before: pd.Series) -> Check:
    """One row for each class of either data set, the largest change first."""
    from great_expectations import expectations as gxe

    counts = pd.DataFrame({"images": now.value_counts(), "before": before.value_counts()}).fillna(0).astype(int)
    both = counts[(counts["images"] > 0) & (counts["before"] > 0)]
    shares = both / both.sum()
    change = _changes(both, shares).reindex(counts.index, fill_value=0.0)
    found = [_found(label, counts.loc[label], shares) for label in counts.index]
    table = counts.assign(change=change.round(2), found=found).rename_axis("class").reset_index()
    return Check(
        "class_shares",
        table.sort_values("change", ascending=False, kind="stable", ignore_index=True),
        "found",
        [
            gxe.ExpectColumnValuesToBeBetween(
                column="change",
                max_value=SMALLEST,
                severity="warning",
                description="The share of each class is as before, among the classes of both",
                meta=fix(
                    "if this is not how often the classes occur where the model is used, add images of the others"
                ),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="before",
                min_value=1,
                severity="warning",
                description="Every class had images before",
                meta=fix("look for a misspelt label; a model that is trained now knows the new class"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="images",
                min_value=1,
                severity="warning",
                description="Every earlier class still has images",
                meta=fix(
                    "look for missing files or a changed label; a model that is trained now does not know the class"
                ),
            ),
        ],
    )


def _found(label: str, images: pd.Series, shares: pd.DataFrame) -> str:
    """What messages say of a class, before the value that is not as expected."""
    if label in shares.index:
        return f"{label}: {shares['before'][label]:.1%} before, {shares['images'][label]:.1%} now, h"
    return (
        f"{label}: {images['before']:,} before, now"
        if images["before"]
        else f"{label}: {images['images']:,} now, before"
    )


def _changes(counts: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Cohen's h of each class, 0 where the change is not significant: float by class."""
    from scipy.stats import fisher_exact

    h = (2 * np.arcsin(np.sqrt(shares["images"])) - 2 * np.arcsin(np.sqrt(shares["before"]))).abs()
    for label in h.index[h > SMALLEST]:
        ours = counts.loc[label]
        if fisher_exact([ours, counts.sum() - ours]).pvalue * len(counts) > LEVEL:
            h[label] = 0.0
    return h
