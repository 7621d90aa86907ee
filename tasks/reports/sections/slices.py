"""The page's section on slices: the model's scores on each, and whether fine-tuning made the gaps smaller."""

from collections.abc import Sequence

from tasks.records import SliceScore
from tasks.reports.blocks import Block, Heading, Strong, Text, table

METRICS = {"accuracy": "accuracy", "log_loss": "log loss", "balanced_accuracy": "balanced accuracy", "macro_f1": "F1"}


def section(scores: Sequence[SliceScore], rung: str, probe: str) -> list[Block]:
    """Two tables: gaps of the shipped rung, the worst slice first, and beside them those of the frozen probe."""
    if not scores:
        return [Text("No column splits the test images into parts of `slices.min_images` images or more.")]
    return [*_gaps(scores), Heading("What fine-tuning did to the gaps"), *_changes(scores, rung, probe)]


def _gaps(scores: Sequence[SliceScore]) -> list[Block]:
    rows = [
        [
            score.column,
            score.value,
            str(score.images),
            *(f"{score.metrics[name]:.4f}" if name in score.metrics else "" for name in METRICS),
            f"{score.gap:+.4f}",
            _interval(score.interval),
            Strong(score.verdict) if score.flagged else score.verdict,
        ]
        for score in scores
    ]
    metric, flagged = METRICS[scores[0].metric], sum(score.flagged for score in scores)
    said = (
        f"The worst first. The gap is the {metric} of the slice minus that of all other test images; the 95 % "
        f"intervals hold for all slices together. Flagged, as the interval does not include 0: {flagged} of "
        f"{len(scores)}. Balanced accuracy and F1 (macro) are given for slices with every class."
    )
    return [Text(said), table(_columns(["images", *METRICS.values(), f"gap in {metric}", "interval"], "flag"), rows)]


def _changes(scores: Sequence[SliceScore], rung: str, probe: str) -> list[Block]:
    if rung == probe:
        return [Text(f"The shipped rung is the {probe} on the frozen network itself: there is nothing to compare.")]
    rows = [
        [
            score.column,
            score.value,
            f"{score.probe_gap:+.4f}",
            f"{score.gap:+.4f}",
            _interval(score.change_interval),
            score.change if score.change == "no sure change" else Strong(score.change),
        ]
        for score in scores
    ]
    said = (
        f"The same gaps of the rung {probe} on the frozen network and of the shipped rung {rung}, "
        f"compared image by image; the interval of the change holds for all slices together. Reduced: the gap is "
        "significantly smaller."
    )
    return [Text(said), table(_columns([f"gap, {probe}", f"gap, {rung}", "change"], "verdict"), rows)]


def _columns(numbers: list[str], last: str) -> dict[str, bool]:
    return {"column": False, "value": False} | dict.fromkeys(numbers, True) | {last: False}


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"
