"""Train head: new last layers, on the features that the frozen backbone has computed."""

import time
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.features.batches import Batches, batches_of, subset
from tasks.networks import backbones, classifiers, freezing, pooling
from tasks.records import AuditRef, FeaturesRef, ImagesRef, ModelRef, Origin, TrainingLog, digest
from tasks.runtime import plugins
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Head, HeadTraining
from tasks.training import cross_fitting, fit, saving

if TYPE_CHECKING:
    import keras


@stage(version=7)
def train_head(
    images: ImagesRef,
    features: FeaturesRef,
    settings: HeadTraining,
    again: ModelRef | None = None,
    audited: AuditRef | None = None,
) -> ModelRef:
    """The unchanged backbone, with a head fitted on the training features and stopped early on validation.

    `again`: a rung to train again, for the same number of epochs, on training and validation images. `audited`: says
    which images are alike, for the settings' folds of cross-fitting; both or none.
    """
    started = time.perf_counter()
    backbone, views, seed = settings.backbone, settings.views, settings.seed
    address = digest("head", images, features, settings.model_dump(exclude={"rung"}), again, audited)
    built = backbones.load(backbone, images.size)
    fit.seed_everything(seed)
    table = Table(features.table, features.shape, features.dtype)
    splits = ("train", "validation") if again else ("train",)
    train = batches_of(images, splits, views, table).in_memory()
    validation = batches_of(images, ("validation",), ("identity",), table).in_memory()
    classes = len(images.dataset.classes)
    model = _head(settings.head, features.shape, classes, train)
    network = classifiers.classifier(pooling.pooled(built, backbone.pooling), model)
    frozen = built.model.variables
    before = freezing.variables_digest(frozen)
    only = again.training.epochs if again else 0
    history = _fit(model, settings, train, None if again else validation, only, address)
    freezing.check_frozen(before, frozen)
    others = _out_of_fold(images, table, settings, audited) if audited and settings.folds else None
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)
    return ModelRef(
        **saving.keep(address, network, lambda: fit.predict(model, validation), validation.labels, again, others),
        digest=address,
        rung=settings.rung,
        blocks=built.blocks,
        training=TrainingLog(
            seconds=round(time.perf_counter() - started, 3),
            epochs=history.best,
            frozen_variables=len(frozen),
            trained_variables=len(model.trainable_variables),
        ),
        origin=Origin(tables=(images.table, features.table)),
    )


def _fit(
    model: "keras.Model",
    settings: HeadTraining,
    train: Batches,
    validation: Batches | None,
    only: int = 0,
    address: str = "",
) -> fit.History:
    """Train a head in place, if it is one that is trained."""
    if not model.trainable:
        return fit.History()
    plan = fit.plan(settings.head, settings.head.learning_rate, settings.loss, settings.seed)
    return fit.fit(model, train, validation, plan, only=only, address=address)


def _out_of_fold(images: ImagesRef, table: Table, settings: HeadTraining, audited: AuditRef) -> np.ndarray | None:
    """Probabilities of the training and validation images, float[n, classes], by cross-fitting."""
    both, classes = ("train", "validation"), len(images.dataset.classes)
    seen = batches_of(images, both, settings.views, table).in_memory()
    plain = batches_of(images, both, ("identity",), table).in_memory()
    count = len(plain.labels)

    def answers(rest: np.ndarray, stopping: np.ndarray, judged: np.ndarray) -> np.ndarray:
        fit.seed_everything(settings.seed)
        train = subset(seen, rest, count)
        model = _head(settings.head, table.shape, classes, train)
        _fit(model, settings, train, subset(plain, stopping, count))
        return saving.softmax(fit.predict(model, subset(plain, judged, count)))

    groups = datasets.units(images.dataset, audited, *both)
    return cross_fitting.out_of_fold(plain.labels, groups, settings.folds, settings.seed, answers)


def _head(settings: Head, shape: tuple[int, ...], classes: int, train: Batches) -> "keras.Model":
    """The head to train, or one that was fitted at once on the training features."""
    options = plugins.bind("heads", settings.kind, settings.options, "head.options")
    module = plugins.load("heads", settings.kind)
    if hasattr(module, "learn"):
        return module.learn(train.everything(), train.labels, classes, **options)
    return module.build(shape, classes, **options)
