"""A search for features: how large the photos, which networks, what is pooled of them, and which views.

Each trial changes one thing of the best so far, and is judged on a sample of the training images by the head that will
be fitted on all of them: logistic regression, in cross-validation. Features of each network are computed once, so that
poolings and joined networks cost a fit each. What is dearer must gain more than its standard error, and fit the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.data import datasets
from tasks.evaluation.statistics import bootstrap, cross_validation
from tasks.features import extraction
from tasks.networks import backbones, heads
from tasks.networks.heads import logistic
from tasks.networks.pooling import texture
from tasks.records import DatasetRef, Gain, ImagesRef, Trial
from tasks.runtime.errors import HeadstartError
from tasks.settings import Backbone, Candidate, Extraction, FeatureSearch

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 4
#: Principal axes that trials are fitted on.
AXES = 256
#: Sides to try, pixels: each has about twice the pixels of the one before.
SIZES = (64, 112, 160, 224, 320, 448)
#: The first side to try is twice the photos' own, between these.
FIRST = (112, 256)
#: A side this close to the photos' own gives way to it.
CLOSE = 0.2
#: Photos of which half are longer than wide by this factor, or the reverse, are not square.
OBLONG = 1.1
#: A view of held-out photos may raise their log loss by this share; by surely more, it shows other things.
HARMLESS = 0.1
#: What a network takes before its first photo, seconds, until it is measured.
START = 8.0
#: The filters' share of an eye's time.
FILTERS = 0.5
#: Standard errors that the gain of a dearer trial must exceed.
SURE = 1.0


def own_side(rows: pd.DataFrame) -> int:
    """The median of the photos' shorter sides, pixels, of rows with `width` and `height`."""
    return int(np.median(np.minimum(rows["width"], rows["height"])))


def oblong(rows: pd.DataFrame) -> bool:
    """Whether half of the photos are clearly longer than wide, or wider than long."""
    longer = np.maximum(rows["width"], rows["height"]) / np.minimum(rows["width"], rows["height"])
    return float(np.median(longer)) > OBLONG


def sides(own: int, most: int) -> tuple[int, ...]:
    """Sides to try, from small to large, up to `most`: the photos' own is one of them if it is in that range."""
    own -= own % 16
    found = {side for side in SIZES if side <= most}
    if SIZES[0] <= own <= most:
        found = {side for side in found if abs(side - own) > CLOSE * own} | {own}
    return tuple(sorted(found))


def first_side(own: int, grid: tuple[int, ...]) -> int:
    """The side to begin with."""
    wanted = own if FIRST[0] <= own <= FIRST[1] else min(max(2 * own, FIRST[0]), 224)
    return min(grid, key=lambda side: abs(np.log(side / wanted)))


def by_rules(dataset: DatasetRef, settings: FeatureSearch) -> dict[str, dict[str, Any]]:
    """The settings, by table, where there is no time to try any."""
    rows = datasets.rows(dataset, "train")
    own = own_side(rows)
    images = {
        "size": first_side(own, sides(own, settings.size)),
        "fit": "squash" if oblong(rows) else settings.images.fit,
        "views": ("identity",),
    }
    return {"images": {name: value for name, value in images.items() if name in settings.open}}


@dataclass(frozen=True)
class Eye:
    """A network that looks at photos of one size, squared in one way."""

    network: Candidate
    images: ImagesRef
    frozen: extraction.Frozen
    #: Photos per second, of the network with its pooling.
    speed: float

    @property
    def name(self) -> str:
        """For people."""
        return f"{backbones.label(self.network)}, {self.images.size} pixels"


@dataclass(frozen=True)
class Best:
    """The best so far, and its log loss and whether it is right, of each image of the sample."""

    #: The first has the largest photos.
    eyes: tuple[Eye, ...]
    texture: bool
    views: tuple[str, ...]
    losses: np.ndarray
    right: np.ndarray

    @property
    def slowness(self) -> float:
        """Seconds a photo."""
        unused = FILTERS if _textured(self.eyes[0]) and not self.texture else 0.0
        return sum(1 / eye.speed for eye in self.eyes) - unused / self.eyes[0].speed


class Search:
    """The trials on one data set, and the best so far."""

    def __init__(self, dataset: DatasetRef, settings: FeatureSearch) -> None:
        every = datasets.rows(dataset, "train")
        self.dataset, self.settings = dataset, settings
        self.rows = datasets.stratified(every, settings.sample)
        place = {key: at for at, key in enumerate(every["key"])}
        self.units = datasets.units(dataset, None, "train")[[place[key] for key in self.rows["key"]]]
        self.labels = datasets.labels(self.rows, dataset.classes)
        self.folds = cross_validation.folds(self.labels, self.units, FOLDS, settings.seed)
        self.own = own_side(every)
        self.oblong = oblong(every)
        self.grid = sides(self.own, settings.size) if "size" in settings.open else (settings.images.size,)
        self.trials: list[Trial] = []
        self.eyes: list[Eye] = []
        self.best: Best | None = None
        self.began = time.perf_counter()
        self.start = START

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.settings.seconds - (time.perf_counter() - self.began)

    def run(self) -> str:
        """Every trial, the most promising first; returns why there are no more."""
        if len(self.folds) < 2:
            return "a class has too few images in the sample to judge by"
        for step in (self._sizes, self._networks, self._fits, self._joined, self._views):
            for out_of_time in step():
                if out_of_time:
                    return f"{self.settings.seconds:.0f} seconds were over"
        return "nothing else was left to try"

    def _sizes(self) -> Iterator[bool]:
        """Up from the first side as long as it helps, else down."""
        backbone, fit = self.settings.backbone, self.settings.images.fit
        first = first_side(self.own, self.grid)
        yield self._look("size", backbone, first, fit)
        for step in (1, -1):
            at, moved = self.grid.index(first) + step, False
            while 0 <= at < len(self.grid):
                before = self.best
                yield self._look("size", backbone, self.grid[at], fit)
                if self.best is before:
                    break
                at, moved = at + step, True
            if moved:
                break

    def _networks(self) -> Iterator[bool]:
        """Each other network at the best side."""
        if self.best and "network" in self.settings.open:
            size = self.best.eyes[0].images.size
            for network in self.settings.networks:
                if backbones.label(network) != backbones.label(self.settings.backbone):
                    yield self._look("network", network, size, self.best.eyes[0].images.fit)

    def _fits(self) -> Iterator[bool]:
        """Other ways to make photos square, if they are not."""
        if self.best and self.oblong and "fit" in self.settings.open:
            eye = self.best.eyes[0]
            for fit in self.settings.fits:
                if fit != eye.images.fit:
                    yield self._look("fit", eye.network, eye.images.size, fit)

    def _joined(self) -> Iterator[bool]:
        """The features of what was tried, joined with those of the best."""
        if "beside" not in self.settings.open:
            return
        for _ in range(self.settings.joined):
            before = self.best
            for eye in list(self.eyes):
                if before and eye not in before.eyes and eye.images.fit == before.eyes[0].images.fit:
                    eyes = tuple(sorted((*before.eyes, eye), key=lambda each: -each.images.size))
                    yield self._judge("beside", f"joined with {eye.name}", eyes, before.texture)
            if self.best is before:
                break

    def _views(self) -> Iterator[bool]:
        """Views that show the same things: all of them, if training on them helps."""
        best = self.best
        if not best or "views" not in self.settings.open:
            return
        plain, parts = self._features(best.eyes, best.texture)
        kept = []
        for view in self.settings.views:
            needed = self.start + len(self.rows) * best.slowness
            if self.left < needed:
                yield True
            for eye in best.eyes:
                eye.frozen.fill(eye.images, {"train": (view,)}, view, self.rows)
            seen = self._features(best.eyes, best.texture, view)[0]
            change, told = self._shows_others(plain, seen, parts)
            if told:
                reason = f"photos seen so are answered otherwise: their log loss rises by {change:.3f}"
                self.trials.append(Trial(_words(view), "views", reason=reason))
            else:
                kept.append((view, seen))
        if kept:
            other = replace(best, views=("identity", *(view for view, _ in kept)))
            features = np.stack([plain, *(seen for _, seen in kept)], axis=1)
            self._compare("views", " and ".join(_words(view) for view, _ in kept), other, features, parts)
        yield False

    def _shows_others(self, plain: np.ndarray, seen: np.ndarray, parts: tuple[int, ...]) -> tuple[float, bool]:
        """How much the log loss of held-out photos rises in a view, and whether surely by more than is harmless."""
        examples = self._examples(plain, parts)
        classes = len(self.dataset.classes)
        scale, basis = logistic.prepared(examples, classes, AXES)
        values, others = logistic.coordinates(examples, scale, basis), scale(seen) @ basis
        targets = examples.targets(classes)
        strength, logs = logistic.held_out(values, targets, examples, self.folds)
        there = np.full_like(logs, np.nan)
        for train, judged in self.folds:
            weights, biases = logistic.fitted(values[train], targets[train], examples.weights[train], strength)
            there[judged] = logistic.said(others[judged], weights, biases)
        at = np.arange(len(self.labels))
        rise = logs[at, self.labels] - there[at, self.labels]
        low = bootstrap.student(rise, bootstrap.CONFIDENCE, self.units)[0]
        return float(rise.mean()), low > HARMLESS * float(-logs[at, self.labels].mean())

    def _look(self, what: str, network: Candidate, size: int, fit: str) -> bool:
        """Try a network on photos of one size; True if the time is over."""
        name = f"{backbones.label(network)}, {size} pixels" + (f", {fit}" if what == "fit" else "")
        own = self.best.eyes[0] if self.best else None
        # Time grows with the number of pixels.
        slowness = (size / own.images.size) ** 2 / own.speed if own else 0.0
        if self.left < self.start + len(self.rows) * slowness:
            self.trials.append(Trial(name, what, reason="no time was left"))
            return True
        if slowness and self._too_dear(slowness):
            self.trials.append(
                Trial(name, what, reason=f"the features of all images would take {self._all(slowness):.0f} seconds")
            )
            return False
        began = time.perf_counter()
        try:
            eye = self._eye(network, size, fit)
        except HeadstartError as error:
            self.trials.append(Trial(name, what, reason=str(error)))
            return False
        if self.eyes:  # the first one also waits for libraries
            self.start = max(time.perf_counter() - began - len(self.rows) / eye.speed, 1.0)
        self.eyes.append(eye)
        known = self.best.texture if self.best else "pooling" not in self.settings.open
        over = self._judge(what, name, (eye,), known, began)
        if _textured(eye) and not known and not over:
            over = self._judge("pooling", "with filters on the photo itself", (eye,), True)
        return over

    @property
    def _pooling(self) -> str:
        """What is stored of each network: the bank of filters too, until it has been seen to tell nothing."""
        if "pooling" not in self.settings.open:
            return self.settings.backbone.pooling
        return "texture" if not self.best or self.best.texture else "pyramid"

    def _eye(self, network: Candidate, size: int, fit: str) -> Eye:
        images = datasets.images_of(self.dataset, self.settings.images.model_copy(update={"size": size, "fit": fit}))
        if images.kept:
            datasets.prepare(images, self.rows)
        backbone = Backbone(**network.model_dump(include=set(Candidate.model_fields)), pooling=self._pooling)
        settings = Extraction(
            backbone=backbone,
            extract=self.settings.extract,
            views=("identity",),
            backend=self.settings.backend,
            refit=False,
        )
        frozen = extraction.start(images, settings)
        frozen.fill(images, {"train": ("identity",)}, backbones.label(network), self.rows)
        pixels = next(datasets.pixels(images, self.rows, 32))
        list(frozen.engine.run([pixels]))
        began = time.perf_counter()
        list(frozen.engine.run([pixels]))
        return Eye(network, images, frozen, len(pixels) / (time.perf_counter() - began))

    def _features(
        self, eyes: tuple[Eye, ...], textured: bool, view: str = "identity"
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        """Features of the sample, float32[n, d], and their parts; the filters' first, only those of the first eye."""
        found: list[np.ndarray] = []
        parts: list[int] = []
        for eye in eyes:
            values = extraction.tables.vectors(eye.frozen.table, self.rows, view)
            widths = eye.frozen.parts or (values.shape[1],)
            first = len(texture.PARTS) if _textured(eye) else 0
            skipped = 0 if textured and not found else first
            found.append(values[:, sum(widths[:skipped]) :])
            parts += widths[skipped:]
        return np.concatenate(found, axis=1), tuple(parts)

    def _judge(self, what: str, name: str, eyes: tuple[Eye, ...], textured: bool, began: float = 0.0) -> bool:
        """Compare what these eyes see with the best so far; True if the time is over."""
        began = began or time.perf_counter()
        views = self.best.views if self.best else ("identity",)
        features, parts = self._features(eyes, textured and _textured(eyes[0]))
        empty = np.empty(0)
        self._compare(what, name, Best(eyes, textured, views, empty, empty), features[:, None], parts, began)
        return self.left < 0

    def _compare(
        self, what: str, name: str, other: Best, features: np.ndarray, parts: tuple[int, ...], began: float = 0.0
    ) -> None:
        """`features`: float32[n, views, d] of the sample. The other becomes the best if it gains, and fits the time."""
        began = began or time.perf_counter()
        losses, right = self._held_out(features, parts)
        best, other = self.best, replace(other, losses=losses, right=right)
        gain = bootstrap.gain(best.losses, losses, self.settings.seed, self.units) if best else None
        cost = other.slowness * len(other.views)
        dearer = best is not None and cost > best.slowness * len(best.views)
        taken = gain is None or gain.value > (SURE * _error(gain) if dearer else 0.0)
        reason = ""
        if taken and dearer and self._too_dear(cost):
            taken, reason = False, f"the features of all images would take {self._all(cost):.0f} seconds"
        if taken:
            self.best = other
        speed = round(1 / other.slowness, 1)
        seconds = round(time.perf_counter() - began, 3)
        self.trials.append(
            Trial(name, what, float(losses.mean()), float(right.mean()), gain, taken, speed, seconds, reason)
        )

    def _held_out(self, features: np.ndarray, parts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Log loss and whether it is right, float64[n], of each image while it is held out with all its views."""
        views, classes = features.shape[1], len(self.dataset.classes)
        examples = self._examples(features.reshape(-1, features.shape[-1]), parts, views)
        scale, basis = logistic.prepared(examples, classes, AXES)
        values = logistic.coordinates(examples, scale, basis)
        # All views are trained on, the photos as they are judged.
        folds = tuple(
            ((train[:, None] * views + np.arange(views)).ravel(), judged * views) for train, judged in self.folds
        )
        logs = logistic.held_out(values, examples.targets(classes), examples, folds)[1][::views]
        return -logs[np.arange(len(logs)), self.labels], (logs.argmax(axis=1) == self.labels) * 1.0

    def _examples(self, features: np.ndarray, parts: tuple[int, ...], views: int = 1) -> heads.Examples:
        labels, units = np.repeat(self.labels, views), np.repeat(self.units, views)
        return heads.Examples(lambda rows: features[rows], labels, units, parts)

    def _all(self, slowness: float) -> float:
        """Seconds for the features of all images."""
        return slowness * sum(self.dataset.counts.values())

    def _too_dear(self, slowness: float) -> bool:
        return self._all(slowness) > self.settings.features

    def chosen(self) -> dict[str, dict[str, Any]]:
        """The settings of the best, by table, as in a recipe; only those that it may choose."""
        if not self.best:
            return {}
        first, *others = self.best.eyes
        images = {"size": first.images.size, "fit": first.images.fit, "views": self.best.views}
        pooling = "texture" if self.best.texture else "pyramid"
        network = first.network.model_dump(include=set(Candidate.model_fields))
        beside = tuple(
            eye.network.model_dump(include=set(Candidate.model_fields)) | {"size": _side(eye, first)} for eye in others
        )
        backbone = {"pooling": pooling, "beside": beside, **({} if "network" not in self.settings.open else network)}
        there = {"size", "fit", "views", "pooling", "beside"} & set(self.settings.open)
        return {
            "images": {name: value for name, value in images.items() if name in there},
            "backbone": {name: value for name, value in backbone.items() if name in there or name in network},
        }


def _side(eye: Eye, first: Eye) -> int:
    """A further network's own side; 0 if it is that of the photos."""
    return 0 if eye.images.size == first.images.size else eye.images.size


def _textured(eye: Eye) -> bool:
    parts = eye.frozen.parts
    return parts[: len(texture.PARTS)] == texture.PARTS


def _error(gain: Gain) -> float:
    """The standard error of a gain, by its 95 % interval."""
    return (gain.high - gain.low) / (2 * 1.96)


def _words(view: str) -> str:
    return view.replace("_", " ")
