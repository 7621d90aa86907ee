"""A search for features: how large the photos, which networks, what is pooled of them, and which views.

Each trial changes one thing of the best so far, and is judged on a sample of the training images by the head that will
be fitted on all of them: logistic regression, in cross-validation. Features of each network are computed once, so that
poolings and joined networks cost a fit each. Features are joined rather than swapped: the head finds out which tell
something, and a few hundred photos do not. Views are a trial of their own; all others see the photos unchanged, since
views would take as many times as long. Nothing is taken whose features of all images would not fit the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tasks.data import datasets
from tasks.evaluation.statistics import bootstrap, cross_validation
from tasks.features import extraction, sides, views
from tasks.networks import backbones, engines, heads
from tasks.networks.heads import logistic
from tasks.networks.pooling import texture
from tasks.records import DatasetRef, ImagesRef, Trial
from tasks.runtime.errors import HeadstartError, brief
from tasks.settings import Candidate, Extraction, FeatureSearch, Pooling

FOLDS = 4
#: Principal axes that trials are fitted on.
AXES = 256
#: What a network takes before its first photo, seconds, until it is measured.
START = 8.0
#: The filters' share of an eye's time.
FILTERS = 0.5
#: Standard errors that a gain must exceed, where it takes the place of something, or makes every photo dearer.
#: Views must only not be surely worse: they help a head on all photos more than one on a sample, and fine-tuning most.
SURE = {"size": 1.0, "network": 1.0, "pooling": 0.5, "beside": 0.5, "views": -2.0}
#: Share by which a log loss must fall for one more of the same kind to be tried.
MUCH = 0.05
#: Share by which it must fall for what at least doubles a photo's time; for less, in proportion. Fewer epochs then fit.
PRICE = 0.03
#: How often fine-tuning sees larger photos at least, in any view: on ELPV 6 times were too few, on shapes 16 enough.
PASSES = 12
#: Nats that nobody would notice; less is no gain.
NOTICED = 0.001
#: Photos that a network's speed is measured on.
PROBE = 32


@dataclass(frozen=True)
class Eye:
    """A network that looks at photos of one size, squared in one way."""

    network: Candidate
    images: ImagesRef
    frozen: extraction.Frozen
    #: Photos per second, of the network with its pooling.
    speed: float
    #: Seconds until it had seen the sample.
    took: float

    @property
    def name(self) -> str:
        """For people."""
        return _name(self.network, self.images.size)


@dataclass(frozen=True)
class Best:
    """The best so far, and its log loss of each image of the sample, fitted on unchanged photos."""

    #: The first has the largest photos.
    eyes: tuple[Eye, ...]
    texture: bool
    views: tuple[str, ...]
    losses: np.ndarray

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
        every = every.assign(unit=datasets.units(dataset, None, "train"))
        self.rows = datasets.stratified_by_unit(every, settings.sample, FOLDS, settings.seed)
        self.units, self.labels = self.rows["unit"].to_numpy(), datasets.labels(self.rows, dataset.classes)
        several = len(np.unique(self.labels)) > 1
        self.folds = cross_validation.folds(self.labels, self.units, FOLDS, settings.seed) if several else ()
        #: Views that all features are counted in until others are chosen.
        self.given = ("identity",) if "views" in settings.open else settings.images.views
        self.own, self.oblong = sides.of_photos(every), sides.oblong(every)
        self.grid = sides.grid(self.own, settings.size) if "size" in settings.open else (settings.images.size,)
        self.trials: list[Trial] = []
        self.best: Best | None = None
        self.began = time.perf_counter()
        self.start = START

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.settings.seconds - (time.perf_counter() - self.began)

    def run(self) -> str:
        """Every trial that fits the time, the most promising first; returns why there are no more."""
        if len(self.folds) < 2:
            return f"fewer than two classes have {FOLDS} training images to judge by"
        over = False
        for step in (self._first, self._fits, self._views, self._smaller, self._further):
            # What does not fit any more is listed; something quicker may fit.
            for out_of_time in step():
                over = over or out_of_time
        if self.left < 0:
            return f"its {self.settings.seconds:.0f} seconds were over"
        if over:
            return f"no other trial would have fitted into its {self.settings.seconds:.0f} seconds"
        if late := [trial for trial in self.trials if trial.late]:
            return f"what was left would take too long ({late[-1].name}: {late[-1].reason})"
        return "nothing else was left to try"

    def _first(self) -> Iterator[bool]:
        """The recipe's network at the first side that fits the time, then with the filters."""
        fit, size = self.settings.images.fit, sides.first(self.own, self.grid)
        eye, over = self._eye(self.settings.backbone, size, fit)
        yield over
        if eye and (smaller := self._small_enough(eye)):
            seconds = self._all(1 / eye.speed, len(self.given))
            reason = f"the features of all images would take {seconds:.0f} seconds"
            self.trials.append(Trial(eye.name, "size", seconds=eye.took, reason=reason, late=True))
            eye, over = self._eye(self.settings.backbone, smaller, fit)
            yield over
        if eye:
            known = "pooling" not in self.settings.open
            yield self._judge("size", eye.name, (eye,), known, eye.took)
            if _textured(eye) and not known:
                yield self._judge("pooling", "filters on the photo itself", (eye,), True)

    def _small_enough(self, eye: Eye) -> int:
        """The largest side at which the features of all images fit the time; 0 if the eye's own does."""
        own, most, views = eye.images.size, self.settings.features, len(self.given)
        if self._all(1 / eye.speed, views) <= most:
            return 0
        fitting = [side for side in self.grid if side < own and self._all((side / own) ** 2 / eye.speed, views) <= most]
        return max(fitting, default=self.grid[0] if self.grid[0] < own else 0)

    def _fits(self) -> Iterator[bool]:
        """Other ways to make photos square, if they are not."""
        if not self.best or not self.oblong or "fit" not in self.settings.open:
            return
        first = self.best.eyes[0]
        for fit in self.settings.fits:
            if fit != first.images.fit:
                eye, over = self._eye(first.network, first.images.size, fit)
                yield over
                if eye:
                    yield self._judge("fit", fit, (eye,), self.best.texture, eye.took)

    def _smaller(self) -> Iterator[bool]:
        """The same network on ever smaller photos beside, as long as that lowers the log loss much."""
        if not self.best or not {"size", "beside"} & set(self.settings.open):
            return
        size = sides.smaller(self.best.eyes[0].images.size)
        while size:
            before = self.best.losses.mean()
            yield self._beside(self.best.eyes[0].network, size)
            much = self.best.losses.mean() < (1 - MUCH) * before
            size = sides.smaller(size) if much else 0

    def _further(self) -> Iterator[bool]:
        """Other networks, then larger photos, beside; as many as the effort allows."""
        if not self.best:
            return
        first, left = self.best.eyes[0], set(self.settings.open)
        name = backbones.label(first.network)
        others = [each for each in reversed(self.settings.networks) if backbones.label(each) != name]
        found: list[tuple[Candidate, int]]
        found = [(each, each.size or first.images.size) for each in others if {"network", "beside"} & left]
        if {"size", "beside"} & left:
            found += [(first.network, side) for side in self.grid if side >= first.images.size * sides.APART][:1]
        for network, size in found:
            if len(self.best.eyes) > self.settings.joined:
                return
            passes = self.settings.passes(self.dataset.counts["train"], size)
            if size <= first.images.size or not 0 < passes < PASSES:
                yield self._beside(network, size)
                continue
            reason = f"fine-tuning would see each photo only {passes:.0f} times, and {PASSES} are needed"
            self.trials.append(Trial(_name(network, size), "size", reason=reason, late=True))

    def _beside(self, network: Candidate, size: int) -> bool:
        """A network joined with the best, or else in its place; True if the time is over."""
        best = self.best
        assert best
        eye, over = self._eye(network, size, best.eyes[0].images.fit)
        if not eye:
            return over
        if "beside" in self.settings.open:
            eyes = tuple(sorted((*best.eyes, eye), key=lambda each: -each.images.size))
            joined = f"joined with {eye.name}"
            over = self._judge("beside", joined, eyes, best.texture, eye.took)
            if self.best is best and best.texture and "pooling" in self.settings.open and not over:
                over = self._judge("beside", f"{joined}, without filters", eyes, False)
        swapped = "size" if network is best.eyes[0].network else "network"
        if self.best is best and swapped in self.settings.open and len(best.eyes) == 1 and not over:
            over = self._judge(swapped, eye.name, (eye,), best.texture)
        return over

    def _views(self) -> Iterator[bool]:
        """Views that show the same things: all of them, if training on them helps."""
        best = self.best
        if not best or "views" not in self.settings.open:
            return
        plain, parts = self._features(best.eyes, best.texture)

        @cache
        def changed() -> Callable[[np.ndarray], tuple[float, bool]]:
            return views.rise(self._examples(plain, parts), self.folds, len(self.dataset.classes))

        kept: list[tuple[str, np.ndarray]] = []
        for view in self.settings.views:
            name, reason, late = view.replace("_", " "), "", True
            if self.left < len(self.rows) * best.slowness:
                reason = "no time was left"
            elif self._all(best.slowness, 2 + len(kept)) > self.settings.features:
                reason = "the features of all images would not fit the time"
            else:
                for eye in best.eyes:
                    eye.frozen.fill(eye.images, {"train": (view,)}, view, self.rows)
                seen = self._features(best.eyes, best.texture, view)[0]
                change, told = changed()(seen)
                if told:
                    late, reason = False, f"held-out photos seen so are misread: their log loss rises by {change:.3f}"
                else:
                    kept.append((view, seen))
            if reason:
                self.trials.append(Trial(name, "views", reason=reason, late=late))
        if kept:
            other = replace(best, views=("identity", *(view for view, _ in kept)))
            features = np.stack([plain, *(seen for _, seen in kept)], axis=1)
            self._compare("views", " and ".join(view.replace("_", " ") for view, _ in kept), other, features, parts)
        yield self.left < 0

    def _eye(self, network: Candidate, size: int, fit: str) -> tuple[Eye | None, bool]:
        """A network that has seen the sample; None if it cannot, and whether the time is over."""
        name, first = _name(network, size), self.best.eyes[0] if self.best else None
        # Time grows with the number of pixels.
        slowness = (size / first.images.size) ** 2 / first.speed if first else 0.0
        reason = ""
        views = len(self.best.views) if self.best else 1
        over = self.left < self.start + len(self.rows) * slowness
        if over:
            reason = "no time was left"
        elif slowness and self._all(slowness, views) > self.settings.features:
            reason = f"the features of all images would take {self._all(slowness, views):.0f} seconds"
        late = bool(reason)
        try:
            eye = None if reason else self._seen(network, size, fit)
        except (HeadstartError, ValueError) as error:  # Keras raises the latter for a side that a network does not take
            eye, reason = None, brief(error)
        if eye is None:
            self.trials.append(Trial(name, "network", reason=reason, late=late))
            return None, over
        if first:  # the first one also waits for libraries
            self.start = max(eye.took - len(self.rows) / eye.speed, 1.0)
        return eye, False

    @property
    def _pooling(self) -> Pooling:
        """What is stored of each network: the bank of filters too, until it has been seen to tell nothing."""
        if "pooling" not in self.settings.open:
            return self.settings.backbone.pooling
        return "texture" if not self.best or self.best.texture else "pyramid"

    def _seen(self, network: Candidate, size: int, fit: str) -> Eye:
        began = time.perf_counter()
        images = datasets.images_of(self.dataset, self.settings.images.model_copy(update={"size": size, "fit": fit}))
        if images.kept:
            datasets.prepare(images, self.rows)
        how, backend = self.settings.extract, self.settings.backend
        frozen = extraction.start(images, Extraction.plain(network, self._pooling, how, backend))
        frozen.fill(images, {"train": ("identity",)}, backbones.label(network), self.rows)
        pixels = next(datasets.pixels(images, self.rows, PROBE))
        speed = engines.speed(frozen.engine, pixels)
        return Eye(network, images, frozen, speed, time.perf_counter() - began)

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
            skipped = 0 if textured and not found else first  # of one eye they are enough
            found.append(values[:, sum(widths[:skipped]) :])
            parts += widths[skipped:]
        return np.concatenate(found, axis=1), tuple(parts)

    def _judge(self, what: str, name: str, eyes: tuple[Eye, ...], textured: bool, took: float = 0.0) -> bool:
        """Compare what these eyes see with the best so far; True if the time is over."""
        views = self.best.views if self.best else self.given
        features, parts = self._features(eyes, textured)
        self._compare(what, name, Best(eyes, textured, views, np.empty(0)), features[:, None], parts, took)
        return self.left < 0

    def _compare(
        self, what: str, name: str, other: Best, features: np.ndarray, parts: tuple[int, ...], took: float = 0.0
    ) -> None:
        """`features`: float32[n, views, d] of the sample. The other becomes the best if it gains, and fits the time."""
        began = time.perf_counter() - took
        losses, right = self._held_out(features, parts)
        best, other = self.best, replace(other, losses=losses)
        gain = bootstrap.gain(best.losses, losses, self.settings.seed, self.units) if best else None
        needed = self._needed(what, other, gain.error) if gain else None
        taken, reason = gain is None or needed is None or gain.value > needed, ""
        cost = self._all(other.slowness, len(other.views))
        if taken and best and cost > self.settings.features:
            taken, reason = False, f"the features of all images would take {cost:.0f} seconds"
        if taken:
            self.best = replace(other, losses=best.losses) if best and what == "views" else other
        found = (float(losses.mean()), float(right.mean()), gain, taken)
        seconds = round(time.perf_counter() - began, 3)
        speed = round(1 / other.slowness, 1)
        self.trials.append(Trial(name, what, *found, speed, seconds, reason, bool(reason), needed))

    def _needed(self, what: str, other: Best, error: float) -> float:
        """The gain in log loss that the other must exceed; `error`: the standard error of its gain."""
        assert self.best
        sure = SURE.get(what, 0.0) * error
        if what in ("fit", "views"):  # as quick, but for the noise of a clock; and views are weighed by themselves
            return sure
        dearer = min(max(other.slowness / self.best.slowness - 1, 0.0), 1.0)
        return max(sure, PRICE * dearer * float(self.best.losses.mean()), NOTICED)

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

    def _all(self, slowness: float, views: int = 1) -> float:
        """Seconds for the features of all images, and of this number of views of those to train on."""
        counts = self.dataset.counts
        return slowness * (sum(counts.values()) + (views - 1) * counts["train"])

    @property
    def features_seconds(self) -> float:
        """What the features of all images will probably take."""
        return self._all(self.best.slowness, len(self.best.views)) if self.best else 0.0

    def chosen(self) -> dict[str, dict[str, Any]]:
        """The settings of the best, by table, as in a recipe; only those that it may choose."""
        if not self.best:
            return {}
        first, *others = self.best.eyes
        images = {"size": first.images.size, "fit": first.images.fit, "views": self.best.views}
        pooling = "texture" if self.best.texture else "pyramid"
        network = first.network.network
        beside = tuple(eye.network.network | {"size": _side(eye, first)} for eye in others)
        backbone = {"pooling": pooling, "beside": beside, **({} if "network" not in self.settings.open else network)}
        there = {"size", "fit", "views", "pooling", "beside"} & set(self.settings.open)
        return {
            "images": {name: value for name, value in images.items() if name in there},
            "backbone": {name: value for name, value in backbone.items() if name in there or name in network},
        }


def _name(network: Candidate, size: int) -> str:
    return f"{backbones.label(network)}, {size} pixels"


def _side(eye: Eye, first: Eye) -> int:
    """A further network's own side; 0 if it is that of the photos."""
    return 0 if eye.images.size == first.images.size else eye.images.size


def _textured(eye: Eye) -> bool:
    parts = eye.frozen.parts
    return parts[: len(texture.PARTS)] == texture.PARTS
