"""The page's tables of scores: of the whole test set, of each class, and of the rungs of the ladder."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import pandas as pd

from tasks.evaluation import model_choice
from tasks.records import ClassScore, LadderRef, Report
from tasks.reports.blocks import Block, Text, table

RUNGS = {
    "knn": "Nearest neighbours on the frozen network",
    "probe": "A linear head on the frozen network",
    "head": "The recipe's head on the frozen network",
    "warm": "The champion, trained on for new images and classes",
    "blocks": "The network with its last blocks fine-tuned",
    "whole": "The network fine-tuned as a whole",
    "interpolated": "Weights between the frozen and the fine-tuned network",
    "souped": "Mean of the weights of several fine-tunings",
    "distilled": "One network that learned the answers of the average",
    "averaged": "Answers of the best of these, averaged",
}

CHEAPEST = (
    "the cheapest one that no other is certainly better than: the interval of its difference from the best of the "
    "others, which counts all of them, reaches 0 or below"
)

MEANING = {
    "accuracy": "share of images classified correctly",
    "balanced_accuracy": "mean recall of the classes",
    "macro_f1": "precision and recall together, mean over the classes",
    "roc_auc": "how well the probabilities order the images; 0.5 is chance",
    "log_loss": "mean -log(probability of the label), nats; lower is better",
    "ece": "gap between confidence and accuracy, without what chance adds; lower is better",
}


def metrics(found: Report, images: int) -> list[Block]:
    """Each metric of so many test images with its interval and what it says; where they are alike, with both intervals.

    If each image stands alone there is one interval.
    """
    each = [found.by_images, found.intervals] if found.by_images else [found.intervals]
    rows = [
        (name, f"{value:.4f}", *(ends(one[name]) for one in each), MEANING.get(name, ""))
        for name, value in found.metrics.items()
    ]
    columns = [f"95 % interval{end}" for end in ([", by images", ", by groups"] if found.by_images else [""])]
    said = [Text(independent(found.independent, images))] if found.by_images else []
    return [*said, table({"metric": False, "value": True} | dict.fromkeys(columns, True) | {"meaning": False}, rows)]


def independent(units: int | None, images: int) -> str:
    """How many of the images are independent, and which interval to believe."""
    return (
        f"{units} of the {images} test images are independent: images of one group of the source, and near-duplicates, "
        "count once. Believe the intervals by groups; those by images, which take each image for independent, show "
        "what this changes."
    )


def ends(interval: tuple[float, float], form: str = ".4f") -> str:
    """An interval in words; a metric of one's own has none for a single image or group."""
    if not all(map(isfinite, interval)):
        return "cannot be told"
    return f"{interval[0]:{form}} to {interval[1]:{form}}"


def classes(scores: Sequence[ClassScore]) -> list[Block]:
    """Precision, recall and F1 of each class."""
    rows = [
        (
            score.name,
            str(score.images),
            f"{score.recall:.4f}",
            f"{score.interval[0]:.4f} to {score.interval[1]:.4f}",
            f"{score.precision:.4f}",
            f"{score.f1:.4f}",
        )
        for score in scores
    ]
    numbers = dict.fromkeys(("images", "recall", "95 % interval", "precision", "F1"), True)
    said = (
        "Recall: the share of a class that is recognised. Precision: the share of the images predicted as the class "
        "that belong to it."
    )
    return [Text(said), table({"class": False} | numbers, rows)]


def confused(predictions: pd.DataFrame) -> str:
    """The most frequent mistakes in words, from rows with `label` and `predicted`."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        return "No test image was taken for another class."
    pairs = wrong.groupby(["label", "predicted"]).size().sort_values(ascending=False, kind="stable")
    of = predictions["label"].value_counts()
    told = [f"{count} of {of[label]} of {label} for {other}" for (label, other), count in pairs.head(3).items()]
    return f"Most often taken for another class: {'; '.join(told)}."


def ladder(found: LadderRef) -> list[Block]:
    """Each rung's score on validation images, which one was chosen, and why."""
    metric = found.metric.replace("_", " ")
    compared = (f"calibrated {metric}", "its interval", "behind the best other by (below 0: ahead)", "between")
    numbers = ("accuracy", "log loss", "images", *compared, "seconds")
    rows = [
        (
            f"{score.rung}{' (chosen)' if score.shipped else ''}",
            RUNGS[score.rung],
            f"{score.accuracy:.4f}",
            f"{score.log_loss:.4f}",
            f"{score.images}",
            f"{score.score:.4f}",
            f"{score.interval[0]:.4f} to {score.interval[1]:.4f}",
            f"{score.gap:+.4f}",
            f"{score.gap_interval[0]:+.4f} to {score.gap_interval[1]:+.4f}",
            f"{score.seconds:.1f}",
        )
        for score in found.scores
    ]
    rule = "the one that the recipe names" if found.named else CHEAPEST
    said = (
        f"Scores on {_counted(found)}. Rungs are compared by {metric} after temperature scaling. The chosen rung is "
        f"{rule}. Certain means a confidence of {found.confidence:.0%} for each end of an interval, as "
        f"`ladder.confidence` asks; such an interval covers {2 * found.confidence - 1:.0%}. The ladder ended because "
        f"{found.reason}."
    )
    return [Text(said), table({"rung": False, "what it is": False} | dict.fromkeys(numbers, True), rows)]


def costs(found: LadderRef) -> list[Block]:
    """Accuracy, milliseconds and megabytes of each rung, and the Pareto front; empty if none was measured."""
    each = measured(found)
    if not len(each):
        return []
    best = model_choice.front(each * [1, -1, -1])
    rows = [
        (
            f"{score.rung}{' (chosen)' if score.shipped else ''}",
            f"{accuracy:.4f}",
            f"{milliseconds:g}",
            f"{megabytes:.1f}",
            "on it" if on_it else "",
        )
        for score, (accuracy, milliseconds, megabytes), on_it in zip(found.scores, each, best, strict=True)
    ]
    numbers = dict.fromkeys(("accuracy", "milliseconds a photo", "megabytes"), True)
    said = (
        f"What each rung costs. Accuracy is read on {_counted(found)}. The time is the shortest that was measured for "
        "one prepared photo on the machine that trained it; rungs whose networks are of one size share it. A rung is "
        "on the Pareto front if no other is as good in all three and better in one."
    )
    return [Text(said), table({"rung": False} | numbers | {"Pareto front": False}, rows)]


def measured(found: LadderRef) -> np.ndarray:
    """Accuracy, milliseconds a photo and megabytes of each rung, float[n, 3]; no rows if one was not measured."""
    costs = [rung.cost for rung in found.rungs if rung.cost]
    if len(costs) < len(found.rungs):
        return np.empty((0, 3))
    # As they are shown: smaller differences of times are noise. Networks of one size take one time, but for an average:
    # of one network's answers for several views it is as large as the network.
    kinds = [(round(cost.megabytes, 1), rung.origin.averages) for cost, rung in zip(costs, found.rungs, strict=True)]
    quickest = {
        kind: min(cost.milliseconds for cost, own in zip(costs, kinds, strict=True) if own == kind) for kind in kinds
    }
    return np.array(
        [
            (round(score.accuracy, 4), float(f"{quickest[kind]:.2g}"), kind[0])
            for score, kind in zip(found.scores, kinds, strict=True)
        ]
    )


def _counted(found: LadderRef) -> str:
    """The images that the rungs were compared on, and how many of them are independent."""
    most, least = (pick(found.scores, key=lambda score: score.images) for pick in (max, min))
    text = f"{least.images} validation images"
    if all(rung.validation.out_of_fold for rung in found.rungs):
        text = f"{least.images} training and validation images, by cross-fitting"
    elif most.images > least.images:
        text += f"; rungs on the frozen network on {most.images} training and validation images, by cross-fitting"
    return text + (f"; they are {most.units} independent groups" if most.units < most.images else "")
