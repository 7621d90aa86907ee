"""Adapt: a point of a learning curve of the pretrained network, its head or its last blocks trained on some images."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import subsets
from tasks.features.batches import repeated, subset, train_and_validation
from tasks.networks import backbones, classifiers, pooling
from tasks.records import FeaturesRef, ImagesRef, PointRef, digest
from tasks.runtime import plugins
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.settings import Backbone, Extract, FineTune, Head, Images, Loss
from tasks.training import fine_tuning, fit, from_scratch, saving

if TYPE_CHECKING:
    import keras


@stage(version=1)
def adapt(
    images: ImagesRef,
    features: FeaturesRef,
    backbone: Backbone,
    head: Head,
    tuning: FineTune | None,
    loss: Loss,
    extract: Extract,
    augment: Images,
    part: subsets.Part,
    seed: int,
) -> PointRef:
    """A head fitted on a part of the frozen features and stopped early; then with `tuning` the last blocks too."""
    fit.seed_everything(seed)
    table = Table(features.table, features.shape, features.dtype)
    every, validation = train_and_validation(images, augment.views, table)
    count = images.dataset.counts["train"]
    chosen = subsets.rows(every.labels[:: len(every.labels) // count], part, seed)
    model = plugins.entry("heads", head.kind)(features.shape, len(images.dataset.classes), **head.options)
    train = repeated(subset(every, chosen, count).in_memory(), from_scratch.EPOCH)
    started = time.perf_counter()
    history = fit.fit(model, train, validation.in_memory(), fit.plan(head, head.learning_rate, loss, seed))
    seconds = time.perf_counter() - started
    if tuning:
        tuned, history, more = _tuned(images, backbone, model, tuning, loss, extract, augment, chosen, seed)
        model, validation, seconds = tuned.model, tuned.validation, seconds + more
    address = digest("adapt", images, features, backbone, head, tuning, loss, augment.views, part, seed)
    method = "fine_tuned" if tuning else "frozen"
    return saving.point(address, method, len(chosen), images.size, seed, model, validation, history, seconds)


def _tuned(
    images: ImagesRef,
    backbone: Backbone,
    head: "keras.Model",
    settings: FineTune,
    loss: Loss,
    extract: Extract,
    augment: Images,
    chosen: np.ndarray,
    seed: int,
) -> tuple[fine_tuning.Upper, fit.History, float]:
    """The last blocks after the head, as the ladder trains them, on the chosen images; and what training took."""
    built = backbones.load(backbone, images.size)
    network = classifiers.classifier(pooling.pooled(built, backbone.pooling), head)
    part = fine_tuning.of(network, built.blocks, settings, images, extract, augment, seed)
    train = repeated(subset(part.train, chosen, images.dataset.counts["train"]), from_scratch.EPOCH)
    part = replace(part, train=train)
    started = time.perf_counter()
    trained = fine_tuning.train(part, network, built.blocks, settings, loss, seed)
    return part, trained.history, time.perf_counter() - started
