"""Fit pretrained: a point of a learning curve of the pretrained network, trained on a part of the images."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets, subsets
from tasks.features.batches import repeated, subset, train_and_validation
from tasks.networks import backbones, classifiers, pooling
from tasks.records import FeaturesRef, ImagesRef, PointRef, digest
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.settings import Backbone, HeadTraining, NetworkTraining
from tasks.training import fine_tuning, fit, from_scratch, saving
from tasks.training.heads import head_fitting

if TYPE_CHECKING:
    import keras


@stage(version=2)
def fit_pretrained(
    images: ImagesRef,
    features: FeaturesRef,
    settings: HeadTraining,
    tuning: NetworkTraining | None,
    part: subsets.Part,
) -> PointRef:
    """Fit a head on a part of the frozen features, with early stopping; with `tuning`, then the last blocks too."""
    seed = settings.seed
    fit.seed_everything(seed)
    table = Table(features.table, features.shape, features.dtype)
    every, validation = train_and_validation(images, settings.views, table)
    count = images.dataset.counts["train"]
    chosen = subsets.rows(every.labels[:: len(every.labels) // count], part, seed)
    train = subset(every, chosen, count).in_memory()
    units = datasets.units(images.dataset, None, "train")[chosen]
    started = time.perf_counter()
    model = head_fitting.built(settings, features.shape, len(images.dataset.classes), train, units, features.parts)
    history = head_fitting.fitted(model, settings, repeated(train, from_scratch.EPOCH), validation.in_memory())
    seconds = time.perf_counter() - started
    if tuning:
        tuned, history, more = _tuned(images, settings.backbone, model, tuning, chosen)
        model, validation, seconds = tuned.model, tuned.validation, seconds + more
    address = digest("fit pretrained", images, features, settings, tuning, part)
    found = saving.scored(address, model, validation)
    return PointRef(
        digest=address,
        method="fine_tuned" if tuning else "frozen",
        images=len(chosen),
        side=images.size,
        seed=seed,
        validation=found.scores,
        predictions=found.predictions,
        seconds=round(seconds, 3),
        epochs=history.best,
    )


def _tuned(
    images: ImagesRef, backbone: Backbone, head: "keras.Model", settings: NetworkTraining, chosen: np.ndarray
) -> tuple[fine_tuning.TrainablePart, fit.History, float]:
    """Train the last blocks after the head, as the ladder does, on the chosen images; also returns the seconds."""
    built = backbones.load(backbone, images.size)
    network = classifiers.classifier(pooling.pooled(built, backbone.pooling), head)
    part = fine_tuning.part_above_cut(network, built.blocks, settings, images)
    train = repeated(subset(part.train, chosen, images.dataset.counts["train"]), from_scratch.EPOCH)
    part = replace(part, train=train)
    started = time.perf_counter()
    trained = fine_tuning.train(part, network, built.blocks, settings)
    return part, trained.history, time.perf_counter() - started
