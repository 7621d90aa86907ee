"""Train head: new last layers, on the features that the frozen backbone has computed."""

import time

import numpy as np

from tasks.data import datasets
from tasks.features.batches import batches_of
from tasks.networks import backbones, classifiers, freezing, pooling
from tasks.records import AuditRef, FeaturesRef, ImagesRef, ModelRef, Origin, digest
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import HeadTraining
from tasks.training import fit, saving
from tasks.training.heads import head_fitting


@stage(version=9)
def train_head(
    images: ImagesRef,
    features: FeaturesRef,
    settings: HeadTraining,
    again: ModelRef | None = None,
    audited: AuditRef | None = None,
) -> ModelRef:
    """The unchanged backbone, with a head fitted on the training features and stopped early on validation.

    `again`: a rung to train again, for the same number of epochs, on training and validation images. `audited`: says
    which images are alike.
    """
    started = time.perf_counter()
    backbone, views, seed = settings.backbone, settings.views, settings.seed
    address = digest("head", images, features, settings.model_dump(exclude={"rung"}), again, audited)
    built = backbones.load(backbone, images.size)
    fit.seed_everything(seed)
    table = Table(features.table, features.shape, features.dtype)
    splits = ("train", "validation") if again else ("train",)
    train = batches_of(images, splits, views, table)
    validation = batches_of(images, ("validation",), ("identity",), table).in_memory()
    classes = len(images.dataset.classes)
    units = datasets.units(images.dataset, audited, *splits)
    model = head_fitting.built(settings, features.shape, classes, train, units, features.parts)
    network = classifiers.classifier(pooling.pooled(built, backbone.pooling), model)
    frozen = built.model.variables
    before = freezing.variables_digest(frozen)
    only = again.training.epochs if again else 0
    stop = None if again else validation
    history = head_fitting.fitted(model, settings, train, stop, tracking.log_epochs, only, address)
    freezing.check_frozen(before, frozen)
    others = _out_of_fold(images, features, settings, audited) if settings.folds else None
    tracking.log_losses(history)
    return ModelRef(
        **saving.keep(address, network, lambda: fit.predict(model, validation), validation.labels, again, others),
        digest=address,
        rung=settings.rung,
        blocks=built.blocks,
        training=saving.log(started, history, len(frozen), model),
        origin=Origin(tables=(images.table, features.table)),
    )


def _out_of_fold(
    images: ImagesRef, features: FeaturesRef, settings: HeadTraining, audited: AuditRef | None
) -> np.ndarray | None:
    """Probabilities of the training and validation images, float[n, classes], by cross-fitting."""
    both, classes = ("train", "validation"), len(images.dataset.classes)
    table = Table(features.table, features.shape, features.dtype)
    seen = batches_of(images, both, settings.views, table).in_memory()
    plain = batches_of(images, both, ("identity",), table).in_memory()
    units = datasets.units(images.dataset, audited, *both)
    return head_fitting.cross_fitted(settings, classes, seen, plain, units, features.parts)
