"""Train head: new last layers, on the features that the frozen backbone has computed."""

import time
from typing import TYPE_CHECKING

from tasks.features.batches import Batches, batches_of
from tasks.networks import backbones, classifiers, freezing, pooling
from tasks.records import FeaturesRef, ImagesRef, ModelRef, Origin, TrainingLog, digest
from tasks.runtime import plugins
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Head, HeadTraining
from tasks.training import fit, saving

if TYPE_CHECKING:
    import keras


@stage(version=6)
def train_head(
    images: ImagesRef, features: FeaturesRef, settings: HeadTraining, again: ModelRef | None = None
) -> ModelRef:
    """The unchanged backbone, with a head fitted on the training features and stopped early on validation.

    `again`: a rung to train again, for the same number of epochs, on training and validation images.
    """
    started = time.perf_counter()
    backbone, head, loss = settings.backbone, settings.head, settings.loss
    views, seed = settings.views, settings.seed
    address = digest("head", images, features, backbone, head, loss, views, seed, again)
    built = backbones.load(backbone, images.size)
    fit.seed_everything(seed)
    table = Table(features.table, features.shape, features.dtype)
    splits = ("train", "validation") if again else ("train",)
    train = batches_of(images, splits, views, table).in_memory()
    validation = batches_of(images, ("validation",), ("identity",), table).in_memory()
    model = _head(head, features.shape, len(images.dataset.classes), train)
    network = classifiers.classifier(pooling.pooled(built, backbone.pooling), model)
    frozen = built.model.variables
    before = freezing.variables_digest(frozen)
    history = fit.History()
    if model.trainable:
        plan, only = fit.plan(head, head.learning_rate, loss, seed), again.training.epochs if again else 0
        history = fit.fit(model, train, None if again else validation, plan, only=only, address=address)
    freezing.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)
    return ModelRef(
        **saving.keep(address, network, lambda: fit.predict(model, validation), validation.labels, again),
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


def _head(settings: Head, shape: tuple[int, ...], classes: int, train: Batches) -> "keras.Model":
    """The head to train, or one that was fitted at once on the training features."""
    options = plugins.bind("heads", settings.kind, settings.options, "head.options")
    module = plugins.load("heads", settings.kind)
    if hasattr(module, "learn"):
        return module.learn(train.everything(), train.labels, classes, **options)
    return module.build(shape, classes, **options)
