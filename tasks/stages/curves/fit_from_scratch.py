"""Fit from scratch: a point of a learning curve without transfer, trained from random weights on some images."""

import time

from tasks.data import subsets
from tasks.features.batches import jittered, repeated, subset, train_and_validation
from tasks.records import ImagesRef, PointRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import ScratchTraining
from tasks.training import fit, from_scratch, saving


@stage(version=1)
def fit_from_scratch(images: ImagesRef, settings: ScratchTraining, part: subsets.Part) -> PointRef:
    """Train a whole network on pixels, with a random view of each image each time; score the best epoch's weights.

    Without a backbone it is a small CNN.
    """
    fit.seed_everything(settings.seed)
    model = from_scratch.network(settings.backbone, images.size, len(images.dataset.classes))
    every, validation = train_and_validation(images, ("identity",))
    chosen = subsets.rows(every.labels, part, settings.seed)
    train = subset(jittered(every, settings.views, 0.0, settings.seed), chosen, len(every.labels))
    started = time.perf_counter()
    plan = from_scratch.plan(settings.epochs, settings.loss, settings.seed)
    history = fit.fit(
        model, repeated(train, from_scratch.EPOCH), validation.in_memory(), plan, on_epoch=tracking.log_epochs
    )
    tracking.log_losses(history)
    seconds = time.perf_counter() - started
    address = digest("fit from scratch", images, settings, part)
    found = saving.scored(address, model, validation)
    return PointRef(
        digest=address,
        method="scratch" if settings.backbone else "small_cnn",
        images=len(chosen),
        side=images.size,
        seed=settings.seed,
        validation=found.scores,
        predictions=found.predictions,
        seconds=round(seconds, 3),
        epochs=history.best,
    )
