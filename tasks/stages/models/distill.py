"""Distill: one network learns the answers of the average, also for photos without labels."""

import time
from dataclasses import replace
from functools import partial

import pandas as pd

from tasks.networks import files
from tasks.records import FactsRef, ImagesRef, ModelRef, Origin, digest
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import NetworkTraining
from tasks.training import distillation, distribution, fine_tuning, fit, saving


@stage(version=1)
def distill(
    images: ImagesRef,
    head: ModelRef,
    teacher: ModelRef,
    settings: NetworkTraining,
    unlabelled: FactsRef | None,
    again: ModelRef | None = None,
) -> ModelRef:
    """The network of the trained head, fine-tuned towards the teacher's answers.

    `unlabelled`: facts of further photos. `again`: see `fine_tune`.
    """
    started = time.perf_counter()
    how = (settings.tuning, settings.loss, settings.views, settings.seed)
    address = digest("distill", head, teacher, how, unlabelled, again)
    fit.seed_everything(settings.seed)
    further = distillation.unlabelled(images, folders.frame(unlabelled.path)) if unlabelled else None
    photos = replace(fine_tuning.of_splits(images, refit=again is not None), further=further)
    with distribution.scope(settings.tuning.strategy):
        network = files.load(home() / head.path)
        part = fine_tuning.part_above_cut(network, head.blocks, settings, images, photos)
    part = distillation.towards(part, files.load(home() / teacher.path), images, pd.concat([photos.train, further]))
    only = again.training.epochs if again else 0
    trained = fine_tuning.train(part, network, head.blocks, settings, tracking.log_epochs, only, address)
    tracking.log_losses(trained.history)
    network = fine_tuning.merged(network, settings.tuning, partial(files.load, home() / head.path))
    validation = part.validation
    return ModelRef(
        **saving.keep(address, network, lambda: fit.predict(part.model, validation), validation.labels, again),
        digest=address,
        rung="distilled",
        blocks=head.blocks,
        training=saving.log(started, trained.history, trained.frozen, part.model),
        origin=Origin(tables=head.origin.tables + part.tables, unlabelled=0 if further is None else len(further)),
    )
