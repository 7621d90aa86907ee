"""Warm start: train the champion's network on, for new images and classes, instead of the pretrained one.

The head keeps the weights of the classes that stay. New images are trained on with as many old ones, replayed against
forgetting: Robins 1995, https://doi.org/10.1080/09540099550039318; Chaudhry et al. 2019,
https://arxiv.org/abs/1902.10486.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import changes, datasets, splits, subsets
from tasks.evaluation import gates, model_choice
from tasks.evaluation.statistics import clusters
from tasks.features.batches import subset
from tasks.networks import classifiers, cutting, files, heads
from tasks.records import AuditRef, ImagesRef, ModelRef, Origin, TrainingLog, WarmRef, digest
from tasks.runtime import plugins
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import predict, registered_models, versions
from tasks.settings import FineTune, NetworkTraining, WarmStart
from tasks.training import fine_tuning, fit, saving
from tasks.training.heads import head_fitting

if TYPE_CHECKING:
    import keras

#: Old images that are replayed at least, of all classes and of each.
REPLAYED, OF_EACH = 1000, 25
#: Rows that the head's last layer is fitted on at most.
ROWS = 2048
#: Rungs from which no training goes on.
APART = {
    "knn": "on the unchanged pretrained network, from which the rung head starts too",
    "averaged": "an average of several networks",
}
APART |= dict.fromkeys(("probe", "head"), APART["knn"])


class Unfit(Exception):
    """Training cannot go on from the champion; the text says why."""


@dataclass(frozen=True)
class Start:
    """A champion to go on from: its whole network, with the head of its own classes."""

    version: str
    network: "keras.Model"
    classes: tuple[str, ...]
    #: As in `ModelRef`.
    blocks: tuple[str, ...]

    @property
    def head(self) -> "keras.Model":
        """The champion's head."""
        return self.network.get_layer("head")

    def places(self, classes: tuple[str, ...]) -> list[int]:
        """Of each class its place among the champion's; -1 for a new one."""
        return [self.classes.index(name) if name in self.classes else -1 for name in classes]


@stage(
    version=1,
    reads=lambda images, head, audited, settings: versions.identity(
        settings.model, registered_models.forerunner(settings.model, images.dataset.digest)
    ),
)
def warm_start(images: ImagesRef, head: ModelRef, audited: AuditRef, settings: WarmStart) -> WarmRef:
    """The champion's network, trained on for the data of today; no model where that is not possible, or is worse.

    Worse: on the validation images of the champion's classes, which neither was trained on, it is surely less accurate.
    `head`: the rung of this name, whose head and backbone the champion's have to be like.
    """
    version = registered_models.forerunner(settings.model, images.dataset.digest)
    address = digest("warm", images, head, audited, settings, version)
    try:
        fresh = _fresh(images, settings, version)
        start = _champion(images, head, settings, version)
        found = _trained(images, audited, start, fresh, settings, address)
    except Unfit as why:
        found = WarmRef(address, version, f"There is no warm start: {why}")
    tracking.log_tag("headstart.warm_start", found.reason)
    return found


def _fresh(images: ImagesRef, settings: WarmStart, version: str) -> np.ndarray:
    """Which training images, of those of the data set, the champion has not seen with their label of today: bool[n]."""
    if not version:
        raise Unfit("no champion was made from other data")
    tags = versions.version_of(settings.model, version).tags
    called = f"the champion, version {version},"
    if reason := APART.get(tags.get("headstart.rung", "")):
        raise Unfit(f"{called} is {reason}")
    earlier, seen = versions.data_of(settings.model, version), versions.seen_by(settings.model, version)
    if earlier is None or "group" not in earlier or seen is None or versions.REFIT not in tags:
        raise Unfit(f"{called} is of an older release, which does not say what it was trained on")
    if settings.refit or tags[versions.REFIT] == "true":
        raise Unfit("with ladder.refit the champion is trained on validation images, which then tell nothing about it")
    rows = datasets.rows(images.dataset)
    if leaks := splits.leaks(rows, earlier, seen):
        raise Unfit(f"{called} was trained or steered on {leaks} of today's validation and test images")
    changed = changes.between(earlier, rows)
    training = rows["split"] == "train"
    fresh = training & rows["key"].isin({*changed.new, *changed.relabelled})
    if not fresh.any():
        raise Unfit("no training image is new")
    if fresh.equals(training):
        raise Unfit(f"none of the training images of {called.removesuffix(',')} is left to replay")
    return fresh.to_numpy()


def _champion(images: ImagesRef, head: ModelRef, settings: WarmStart, version: str) -> Start:
    """The champion's network, if it is like that of the recipe. Nothing of it is run unless its seal is whole."""
    network, spec = predict.network(settings.model, version)
    called = f"the champion, version {version},"
    if network is None or not head.path.endswith(".keras"):
        raise Unfit(f"{called} or the recipe's network is a SavedModel, whose layers cannot be trained")
    if any(spec.images[name] != getattr(images, name) for name in ("size", "fit")):
        raise Unfit(f"{called} sees images of {spec.images['size']} pixels made square by {spec.images['fit']}")
    ours, network = files.load(home() / head.path), classifiers.uncalibrated(network)
    below, theirs = (classifiers.below_head(each) for each in (ours, network))
    if cutting.structure(below) != cutting.structure(theirs):
        raise Unfit(f"{called} has another backbone or pooling")
    alike = [cutting.structure(each.get_layer("head"), heads.LOGITS) for each in (ours, network)]
    if alike[0] != alike[1]:
        raise Unfit(f"{called} has another head")
    return Start(version, network, tuple(spec.classes), cutting.same_places(head.blocks, below, theirs))


def _trained(
    images: ImagesRef, audited: AuditRef, start: Start, fresh: np.ndarray, settings: WarmStart, address: str
) -> WarmRef:
    """The champion trained on, or no model if it became worse."""
    started, training, classes = time.perf_counter(), settings.training, images.dataset.classes
    groups = datasets.units(images.dataset, audited, "validation")
    old = datasets.rows(images.dataset, "validation")["label"].isin(start.classes).to_numpy()
    if (independent := clusters.number(groups[old], int(old.sum()))) < gates.LEAST:
        few = f"its classes have {independent} independent validation images"
        raise Unfit(f"{few}, {gates.LEAST} are needed to compare")
    fit.seed_everything(training.seed)
    network = _widened(start, classes, settings)
    part, units = _part(network, start, images, audited, fresh, training)
    champion, before = _fitted_in(network, start, part, units, classes, training)
    logits, epochs, frozen = _shortly(network, start, part, before, training, address)
    models = saving.softmax(logits)[old], champion[old]
    gain, worse = model_choice.on_old_classes(part.validation.labels[old], models, classes, groups[old])
    if worse:
        why = f"There is no warm start: trained on, version {start.version} is surely worse on its own classes: {worse}"
        return WarmRef(address, start.version, why, gain=gain)
    model = ModelRef(
        **saving.keep(address, network, lambda: logits, part.validation.labels, None),
        digest=address,
        rung="warm",
        blocks=start.blocks,
        training=TrainingLog(
            seconds=round(time.perf_counter() - started, 3),
            epochs=epochs,
            frozen_variables=frozen,
            trained_variables=len(part.model.trainable_variables),
        ),
        origin=Origin(tables=part.tables, started_from=start.version),
    )
    said = f"accuracy {gain.value:+.2%} ({gain.low:+.2%} to {gain.high:+.2%})"
    reason = f"Warm start from version {start.version}: {said} on the {old.sum()} validation images of its classes"
    return WarmRef(address, start.version, reason, model, gain)


def _widened(start: Start, classes: tuple[str, ...], settings: WarmStart) -> "keras.Model":
    """The champion's network with a head for these classes; new ones have no weights yet."""
    below, head = classifiers.below_head(start.network), settings.head
    options = plugins.bind("heads", head.kind, head.options, "head.options")
    wide = plugins.entry("heads", head.kind)(below.output_shape[1:], len(classes), **options)
    heads.widen(wide, start.head, start.places(classes))
    return classifiers.classifier(below, wide)


def _part(
    network: "keras.Model",
    start: Start,
    images: ImagesRef,
    audited: AuditRef,
    fresh: np.ndarray,
    training: NetworkTraining,
) -> tuple[fine_tuning.TrainablePart, np.ndarray]:
    """The part to train, with the fresh images and replayed ones to train on, and each image's unit, int[n].

    A replayed image weighs as much as all of its class that it stands for.
    """
    rows = datasets.rows(images.dataset)
    labels = datasets.labels(rows, images.dataset.classes)
    old = np.flatnonzero((rows["split"] == "train").to_numpy() & ~fresh)
    again = old[subsets.replayed(labels[old], max(int(fresh.sum()), REPLAYED), OF_EACH, training.seed)]
    stands = np.bincount(labels[old]) / np.maximum(np.bincount(labels[again]), 1)
    weights = np.ones(len(rows))
    weights[again] = stands[labels[again]]
    chosen = np.sort(np.concatenate([np.flatnonzero(fresh), again]))
    photos = replace(fine_tuning.of_splits(images), train=rows.iloc[chosen].reset_index(drop=True))
    part = fine_tuning.part_above_cut(network, start.blocks, training, images, photos)
    each = np.repeat(weights[chosen] / weights[chosen].mean(), len(training.views))
    return replace(part, train=replace(part.train, weights=each)), datasets.units(images.dataset, audited)[chosen]


def _fitted_in(
    network: "keras.Model",
    start: Start,
    part: fine_tuning.TrainablePart,
    units: np.ndarray,
    classes: tuple[str, ...],
    training: NetworkTraining,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the head's last layer; returns what champion and network say of the validation images, before training.

    The champion's probabilities, float[n, classes], 0 for a class that it does not know; the network's logits.
    """
    import keras

    assert isinstance(training.tuning, FineTune)
    _, top = cutting.cut(network, cutting.boundary(start.blocks, training.tuning.blocks), features=True)
    features, head = keras.Model(top.input, top.output[1]), network.get_layer("head")
    places = np.array(start.places(classes))
    seen = fit.predict(features, part.validation)
    champion = np.where(places < 0, 0, saving.softmax(start.head.predict(seen, verbose=0))[:, places])
    some = subsets.at_most(part.train.labels[:: len(training.views)], ROWS // len(training.views), training.seed)
    rows = subset(part.train, some, len(units))
    found = fit.predict(features, rows)
    logits = head.get_layer(heads.LOGITS)
    given = rows.weights if training.loss.balance == "none" else None
    wide = head_fitting.Widened(
        keras.Model(head.input, logits.input).predict(found, verbose=0),
        head.predict(found, verbose=0),
        rows.labels,
        fit.balanced(rows.labels)[rows.labels] if given is None else given,
        np.repeat(units[some], len(training.views)),
    )
    if logits.use_bias:
        pairs = zip(logits.get_weights(), wide.correction(), strict=True)
        logits.set_weights([value + more for value, more in pairs])
    elif (places < 0).any():
        (directions,) = logits.get_weights()
        directions[:, places < 0] = wide.directions(places < 0)
        logits.set_weights([directions])
    return champion, head.predict(seen, verbose=0)


def _shortly(
    network: "keras.Model",
    start: Start,
    part: fine_tuning.TrainablePart,
    before: np.ndarray,
    training: NetworkTraining,
    address: str,
) -> tuple[np.ndarray, int, int]:
    """Train, unless that makes the validation loss higher than that of the logits before.

    Returns validation logits, epochs, and the number of frozen variables.
    """
    labels = part.validation.labels
    weights = part.model.get_weights()
    trained = fine_tuning.train(part, network, start.blocks, training, tracking.log_epochs, address=address)
    after = fit.predict(part.model, part.validation)
    losses = [fit.scores(logits, labels)["log_loss"] for logits in (before, after)]
    tracking.log_series("validation_loss_before", losses[:1])
    tracking.log_losses(trained.history)
    if losses[0] <= losses[1]:
        part.model.set_weights(weights)
        return before, 0, trained.frozen
    return after, trained.history.best, trained.frozen
