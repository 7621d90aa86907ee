"""Fine-tune: from the trained head, train the backbone's last blocks too, or all of them.

Linear probing, then fine-tuning: Kumar et al. 2022, https://arxiv.org/abs/2202.10054.
"""

import time
from functools import partial

from tasks import tracking
from tasks.home import home
from tasks.records import ImagesRef, ModelRef, digest
from tasks.reports import figures
from tasks.settings import Extract, FineTune, Images, Loss, Tuning
from tasks.stage import stage
from tasks.training import find, fit, networks, precision, rates, strategy, thaw, upper


@stage(version=4)
def fine_tune(
    images: ImagesRef,
    head: ModelRef,
    settings: Tuning,
    loss: Loss,
    extract: Extract,
    augment: Images,
    seed: int,
    again: ModelRef | None = None,
) -> ModelRef:
    """The network as fine-tuned, with the weights of the epoch that served the validation images best.

    `again`: a rung that is trained for as many epochs once more, with the validation images among the others.
    """
    started = time.perf_counter()
    fit.seed_everything(seed)
    with strategy.scope(settings.strategy):
        network = networks.load(home() / head.path)
        part = upper.of(network, head.blocks, settings, images, extract, augment, seed, refit=again is not None)
    if part.engine:
        tracking.log_tag("headstart.engine", part.engine)
    frozen = thaw.frozen_variables(network)
    before = thaw.fingerprint(frozen)
    with precision.mixed(part.model, settings.precision):
        rate = _rate(part, settings, loss, seed)
        shares = rates.layer_wise(network, head.blocks, settings.layer_decay)
        plan = fit.plan(settings, rate, loss, seed, shares)
        if again:
            history = fit.fit(part.model, part.train, None, plan, only=again.epochs)
        else:
            history = fit.fit(part.model, part.train, part.validation, plan)
    thaw.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)
    logits = fit.predict(part.model, part.validation)
    address = digest("fine_tune", head, settings, loss, augment, seed, again)
    path, predictions = networks.keep(address, network, logits)
    return ModelRef(
        path=path,
        digest=address,
        rung="blocks" if isinstance(settings, FineTune) else "whole",
        validation=fit.scores(logits, part.validation.labels),
        predictions=predictions,
        seconds=round(time.perf_counter() - started, 3),
        tables=head.tables + part.tables,
        blocks=head.blocks,
        epochs=history.best,
        frozen_variables=len(frozen),
        trained_variables=len(part.model.trainable_variables),
    )


def _rate(part: upper.Upper, settings: Tuning, loss: Loss, seed: int) -> float:
    """The step size of the settings; one that is to be found is, and the curve is logged."""
    if settings.learning_rate != "find":
        return settings.learning_rate
    found = find.rate(part.model, part.train, fit.plan(settings, find.LOWEST, loss, seed))
    tracking.log_drawn("learning_rate.png", partial(figures.learning_rate, found.rates, found.losses, found.rate))
    return found.rate
