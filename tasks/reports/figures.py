"""Figures as PNG files: confusion matrix, reliability curve, gallery of the worst mistakes, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics import ece

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tasks.records import Level, SliceScore

GALLERY = 16
LABEL_LENGTH = 24


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...], to: Path) -> None:
    """Counts of int[n] labels against int[n] predictions; shares of each row's label as colour."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(3.5 + 0.45 * len(classes), 16)
    figure = blank(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    names = [_short(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="predicted", ylabel="label", title="Confusion matrix, test images")
    figure.savefig(to)


def reliability(labels: np.ndarray, probabilities: np.ndarray, to: Path) -> None:
    """Accuracy over confidence in 15 bins, with the number of rows in each."""
    counts, confidence, accuracy = ece.bins(labels, probabilities)
    filled = counts > 0
    figure = blank(5, 5)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    upper.plot(confidence[filled], accuracy[filled], marker="o", label="this model")
    upper.set(ylabel="accuracy", ylim=(0, 1), title="Reliability, test images")
    upper.legend(loc="upper left")
    lower.bar((np.arange(ece.BINS) + 0.5) / ece.BINS, counts, width=0.9 / ece.BINS, color="steelblue")
    lower.set(xlabel="confidence", ylabel="images", xlim=(0, 1))
    figure.savefig(to)


def learning_rate(rates: Sequence[float], losses: Sequence[float], taken: float, to: Path) -> None:
    """The smoothed loss of a trial run over its growing learning rate, and the learning rate that was taken."""
    figure = blank(6, 4)
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(taken, color="grey", linestyle="--", label=f"taken: {taken:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed", title="Search for a learning rate")
    axes.legend()
    figure.savefig(to)


def learning_curves(levels: Sequence[Level], to: Path) -> None:
    """Accuracy with its 95 % band, and seconds of training, over the number of training images, a line a method."""
    figure = blank(10, 4.5)
    accuracy, seconds = figure.subplots(1, 2)
    for method in dict.fromkeys(level.method for level in levels):
        own = sorted((level for level in levels if level.method == method), key=lambda level: level.images)
        images, name = [level.images for level in own], f"{method}, {own[0].side} pixels"
        (line,) = accuracy.plot(images, [level.accuracy for level in own], marker="o", label=name)
        low, high = [level.low for level in own], [level.high for level in own]
        accuracy.fill_between(images, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        seconds.plot(images, [level.seconds for level in own], marker="o", color=line.get_color(), label=name)
    accuracy.set(xscale="log", xlabel="training images", ylabel="accuracy, validation images", title="Learning curves")
    seconds.set(xscale="log", yscale="log", xlabel="training images", ylabel="seconds", title="Training")
    accuracy.legend(loc="lower right")
    figure.savefig(to)


def costs(rungs: Sequence[tuple[str, float, float, bool]], to: Path) -> None:
    """The share of right answers of each rung over its milliseconds a photo: (rung, accuracy, milliseconds, chosen)."""
    figure = blank(6, 4)
    axes = figure.subplots()
    for name, accuracy, milliseconds, chosen in rungs:
        axes.scatter(milliseconds, accuracy, color="tab:green" if chosen else "tab:blue", zorder=2)
        label = f"{name} (chosen)" if chosen else name
        axes.annotate(label, (milliseconds, accuracy), xytext=(6, 4), textcoords="offset points")
    axes.margins(0.25)
    axes.set(xlabel="milliseconds a photo", ylabel="accuracy", title="What each rung costs and gives")
    figure.savefig(to)


def losses(rungs: Mapping[str, tuple[Sequence[float], Sequence[float]]], to: Path) -> None:
    """The losses of each epoch, of training and of validation images, a picture for each rung."""
    figure = blank(4.5 * len(rungs), 3.5)
    (row,) = figure.subplots(1, len(rungs), squeeze=False)
    for axes, (name, (loss, validation)) in zip(row, rungs.items(), strict=True):
        axes.plot(range(1, len(loss) + 1), loss, marker=".", label="training")
        if validation:
            axes.plot(range(1, len(validation) + 1), validation, marker=".", label="validation")
            best = int(np.argmin(validation))
            axes.axvline(best + 1, color="grey", linestyle="--", label="kept")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="epoch", ylabel="loss", title=name)
        axes.legend()
    figure.savefig(to)


def slices(scores: Sequence[SliceScore], to: Path) -> None:
    """The gap of each slice from the other test images, with its interval, the worst on top."""
    figure = blank(7, 1.2 + 0.35 * len(scores))
    axes = figure.subplots()
    for place, score in enumerate(reversed(scores)):
        colour = "tab:red" if score.flagged else "tab:blue"
        axes.plot(score.interval, (place, place), color=colour)
        axes.plot(score.gap, place, marker="o", color=colour)
    names = [_short(f"{score.column}: {score.value}") for score in reversed(scores)]
    axes.set_yticks(range(len(scores)), names)
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.axvline(0, color="grey", linestyle="--")
    axes.set(xlabel=f"gap in {scores[0].metric.replace('_', ' ')}", title="Slices beside the other test images")
    figure.savefig(to)


def gallery(pixels: np.ndarray, captions: list[str], title: str, to: Path) -> None:
    """A grid of uint8[n, h, w, 3] with captions, four in a row; the title says if there are none."""
    columns = min(len(pixels), 4) or 1
    rows = -(-len(pixels) // columns) or 1
    height = 2.6 * pixels.shape[1] / pixels.shape[2] if len(pixels) else 2.6
    figure = blank(2.6 * columns, (height + 0.3) * rows + 0.5)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for place in axes:
        place.axis("off")
    for place, image, caption in zip(axes, pixels, captions, strict=False):
        place.imshow(image)
        place.set_title(caption, fontsize=8)
    figure.suptitle(title if len(pixels) else f"{title}: none")
    figure.savefig(to)


def caption(label: str, predicted: str, probability: float) -> str:
    """The caption of a picture in the gallery."""
    return f"{_short(label)}\npredicted {_short(predicted)}, {probability:.0%}"


def blank(width: float, height: float) -> Figure:
    """An empty figure, inches; to be saved as PNG."""
    # No pyplot: it keeps global state and asks for a display.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # What a file matplotlibrc of the working folder has set.
    matplotlib.rcdefaults()
    figure = Figure((width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _short(name: str) -> str:
    # $ would start a formula.
    name = name.replace("$", r"\$")
    return name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…"


def history(losses: Sequence[float], pruned: Sequence[bool], to: Path) -> None:
    """Each trial's loss, and the lowest so far of those that were not ended early."""
    values, early = np.array(losses, float), np.array(pruned, bool)
    numbers = np.arange(1, len(values) + 1)
    figure = blank(6, 4)
    axes = figure.subplots()
    axes.scatter(numbers[~early], values[~early], label="trial")
    axes.scatter(numbers[early], values[early], marker="x", color="grey", label="ended early")
    axes.plot(numbers, np.minimum.accumulate(np.where(early, np.inf, values)), label="lowest so far")
    # A trial that diverged would hide the others.
    axes.set(xlabel="trial", ylabel="validation loss", yscale="log", title="Search for a head")
    axes.legend()
    figure.savefig(to)


def importances(shares: Mapping[str, float], to: Path) -> None:
    """Share of the loss' variance that each setting explains, the largest on top."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = blank(6, 1.2 + 0.4 * len(names))
    axes = figure.subplots()
    axes.barh(names, [shares[name] for name in names], color="steelblue")
    axes.set(xlabel="share of the variance", xlim=(0, 1), title="Importance of the settings")
    figure.savefig(to)
