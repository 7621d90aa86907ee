"""Fine-tune: from the trained head, train the backbone's last blocks too, or all of them.

Linear probing, then fine-tuning: Kumar et al. 2022, https://arxiv.org/abs/2202.10054.
"""

import time
from functools import partial

from tasks.networks import files
from tasks.records import ImagesRef, ModelRef, Origin, digest
from tasks.reports import figures
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import NetworkTraining
from tasks.training import distribution, fine_tuning, fit, saving


@stage(version=7)
def fine_tune(images: ImagesRef, head: ModelRef, settings: NetworkTraining, again: ModelRef | None = None) -> ModelRef:
    """The fine-tuned network, with the weights of the best epoch on the validation images.

    `again`: a rung to train again, for the same number of epochs, on training and validation images.
    """
    started = time.perf_counter()
    address = digest("fine_tune", head, settings.tuning, settings.loss, settings.views, settings.seed, again)
    fit.seed_everything(settings.seed)
    photos = fine_tuning.of_splits(images, refit=again is not None)
    with distribution.scope(settings.tuning.strategy):
        network = files.load(home() / head.path)
        part = fine_tuning.part_above_cut(network, head.blocks, settings, images, photos)
    if part.engine:
        tracking.log_tag("headstart.engine", part.engine)
    only = again.training.epochs if again else 0
    trained = fine_tuning.train(part, network, head.blocks, settings, tracking.log_epochs, only, address)
    tracking.log_losses(trained.history)
    if found := trained.found:
        tracking.log_drawn("learning_rate.png", partial(figures.learning_rate, found.rates, found.losses, found.rate))
    network = fine_tuning.merged(network, settings.tuning, partial(files.load, home() / head.path))
    validation = part.validation
    return ModelRef(
        **saving.keep(address, network, lambda: fit.predict(part.model, validation), validation.labels, again),
        digest=address,
        rung=settings.rung,
        blocks=head.blocks,
        training=saving.log(started, trained.history, trained.frozen, part.model),
        origin=Origin(tables=head.origin.tables + part.tables),
    )
