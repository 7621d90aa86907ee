"""Slices of the test images, and the slices on which a model is worse than on the rest.

A slice is one value of a column: a column of the source, or the quartiles of brightness, size and sharpness. Bias of a
network shows as a gap between a slice and the rest. The comparison with the gap of a linear head on the frozen network
shows whether fine-tuning reduced it.
"""

import numpy as np
import pandas as pd

from tasks.evaluation.slices import columns
from tasks.evaluation.statistics import simultaneous
from tasks.records import SliceScore, data
from tasks.runtime import plugins
from tasks.settings import Slices

#: The column that says which images have a near-copy among those that training saw.
COPIES = "near-copies"
#: Defined on any rows; the others need every class among the labels.
ALWAYS, WHERE_ALL_OCCUR = ("accuracy", "log_loss"), ("balanced_accuracy", "macro_f1")


def check(rows: pd.DataFrame, settings: Slices) -> None:
    """Raise `UsageError` when the rows of a data set cannot be sliced as the settings say; before training starts."""
    columns.values(rows, settings)


def test_values(rows: pd.DataFrame, settings: Slices) -> pd.DataFrame:
    """The test rows' value in each column to slice by, as text, in their order among all rows of a data set."""
    return columns.values(rows, settings)[rows["split"] == "test"]


def with_copies(parts: pd.DataFrame, unseen: np.ndarray) -> pd.DataFrame:
    """The test rows' values, with one more column if training may have seen what some of them show.

    `unseen`: bool[n], which of them have no near-copy among the training and validation images.
    """
    if unseen.all():
        return parts
    return parts.assign(**{COPIES: np.where(unseen, "in no other split", "in another split")})


def masks(parts: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which rows, bool[n], are in each slice, by its name; `parts` from `test_values`."""
    return {f"{column.removeprefix(data.PREFIX)} {value}": mask for (column, value), mask in _slices(parts).items()}


def judge(
    parts: pd.DataFrame,
    labels: np.ndarray,
    models: tuple[np.ndarray, np.ndarray],
    settings: Slices,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[SliceScore, ...]:
    """Every slice that has enough images inside and outside; the worst slice first.

    `parts`: n rows of text, from `test_values`; `labels`: int[n]; `models`: predictions of the shipped model and of the
    probe, float[n, classes] each; `groups` as in `statistics.clusters`. A gap may come from a different mix of classes;
    balanced accuracy and macro F1 are free of that.
    """
    names, masks = _enough(parts, settings.min_images)
    if not names:
        return ()
    shipped, probe = models
    after, before = (simultaneous.values(settings.metric, labels, found) for found in (shipped, probe))
    gap, low, high = simultaneous.intervals(after, masks, seed, groups)
    _, change_low, change_high = simultaneous.intervals(after - before, masks, seed, groups)
    _, sum_low, sum_high = simultaneous.intervals(after + before, masks, seed, groups)
    probe_gap = simultaneous.differences(before, masks)
    worse = simultaneous.WORSE[settings.metric]
    scores = [
        SliceScore(
            column=column.removeprefix(data.PREFIX),
            value=value,
            images=int(masks[:, at].sum()),
            metrics=_metrics(labels[masks[:, at]], shipped[masks[:, at]]),
            metric=settings.metric,
            gap=float(gap[at]),
            interval=(float(low[at]), float(high[at])),
            verdict=_verdict(worse * low[at], worse * high[at]),
            probe_gap=float(probe_gap[at]),
            change_interval=(float(change_low[at]), float(change_high[at])),
            change=_change((change_low[at], change_high[at]), (sum_low[at], sum_high[at])),
        )
        for at, (column, value) in enumerate(names)
    ]
    return tuple(sorted(scores, key=lambda score: -worse * score.gap))


def table(scores: tuple[SliceScore, ...]) -> pd.DataFrame:
    """A row per slice, with the ends of the intervals in separate columns."""
    return pd.DataFrame(
        {"column": score.column, "value": score.value, "images": score.images}
        | score.metrics
        | {"gap_in": score.metric, "gap": score.gap, "gap_low": score.interval[0], "gap_high": score.interval[1]}
        | {"verdict": score.verdict, "probe_gap": score.probe_gap, "change": score.change}
        | {"change_low": score.change_interval[0], "change_high": score.change_interval[1]}
        for score in scores
    )


def _enough(parts: pd.DataFrame, least: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    """(column, value) of the slices to judge, and which rows are in them: bool[n, slices]."""
    found = _slices(parts)
    judged = {name: mask for name, mask in found.items() if min(mask.sum(), (~mask).sum()) >= least}
    return list(judged), np.stack(list(judged.values()), axis=1) if judged else np.empty((len(parts), 0), bool)


def _slices(parts: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    return {
        (column, value): (parts[column] == value).to_numpy(bool)
        for column in parts
        for value in sorted(parts[column].unique())
    }


def _metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    every = len(np.unique(labels)) == probabilities.shape[1]
    names = ALWAYS + WHERE_ALL_OCCUR if every else ALWAYS
    return {name: float(plugins.entry("metrics", name)(labels, probabilities)) for name in names}


def _verdict(low: float, high: float) -> str:
    """From the two ends of the interval of how much worse the slice is, in any order."""
    return "worse" if min(low, high) > 0 else "better" if max(low, high) < 0 else "no sure gap"


def _change(difference: tuple[float, float], total: tuple[float, float]) -> str:
    """From the intervals of the two gaps' difference and sum: the gap is nearer to 0 if these have other signs."""
    signs = [1 if low > 0 else -1 if high < 0 else 0 for low, high in (difference, total)]
    return {1: "grown", -1: "reduced"}.get(signs[0] * signs[1], "no sure change")
