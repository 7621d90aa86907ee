"""Interpolate: try weights between the frozen network's and the fine-tuned ones, on validation images."""

import time
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.evaluation import calibration, model_choice
from tasks.networks import files, freezing
from tasks.records import AuditRef, ImagesRef, ModelRef, digest
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import NetworkTraining
from tasks.training import fine_tuning, fit, saving
from tasks.training.weights import interpolation as between

if TYPE_CHECKING:
    import keras


@stage(version=6)
def interpolate(
    images: ImagesRef,
    head: ModelRef,
    tuned: ModelRef,
    settings: NetworkTraining,
    audited: AuditRef | None,
    again: ModelRef | None = None,
) -> ModelRef:
    """The best of the networks between the two on validation images, by its log loss after temperature scaling.

    Each share is tried with batch normalisation's old statistics and with ones renewed on training images: if both ends
    were trained with the frozen network's statistics, new ones may be worse. `again`: the rung between the two before
    they were trained again; its share is reused. The answers to each half of the validation images are those of the
    network that is best on the other half, so that having tried several does not make the rung look better.
    """
    started = time.perf_counter()
    frozen, network = (files.load(home() / each.path) for each in (head, tuned))
    photos = fine_tuning.of_splits(images, refit=again is not None)
    part = fine_tuning.part_above_cut(network, head.blocks, settings.merged, images, photos)
    pairs = between.moved(frozen, network)
    same = freezing.others(network, [variable for variable, _, _ in pairs] + freezing.statistics(part.model))
    before = freezing.variables_digest(same)
    trials = [(again.origin.share, again.origin.renewed)] if again else list(product(between.SHARES, (False, True)))
    tried = _tried(network, part, pairs, trials, settings.seed)
    labels = part.validation.labels
    groups = datasets.units(images.dataset, audited, "validation") if audited else None
    each = [saving.softmax(logits) for logits, *_ in tried.values()]
    best, answers = model_choice.variants(labels, each, settings.seed, groups)
    (share, renewed), (_, weights, _) = list(tried.items())[best]
    network.set_weights(weights)
    freezing.check_frozen(before, same)
    for kind, name in ((False, "kept"), (True, "renewed")):
        losses = [found["log_loss"] for (_, own), (*_, found) in tried.items() if own == kind]
        tracking.log_series(f"validation_loss_statistics_{name}", losses)
    address = digest("interpolated", head, tuned, settings.views, settings.seed, audited, again)
    return replace(
        tuned,
        **saving.keep(address, network, lambda: np.log(np.maximum(answers, calibration.FLOOR)), labels, again),
        digest=address,
        rung="interpolated",
        training=replace(tuned.training, seconds=round(time.perf_counter() - started, 3)),
        origin=replace(tuned.origin, share=share, renewed=renewed),
    )


def _tried(
    network: "keras.Model",
    part: fine_tuning.TrainablePart,
    pairs: list[between.Moved],
    trials: list[tuple[float, bool]],
    seed: int,
) -> dict[tuple[float, bool], tuple[np.ndarray, list[np.ndarray], dict[str, float]]]:
    """Logits and scores of the validation images, and all weights, at each share with statistics kept or renewed."""
    start, found = [variable.numpy() for variable in freezing.statistics(part.model)], {}
    for share, renewed in trials:
        between.set_share(pairs, share)
        between.set_statistics(part.model, start)
        if renewed:
            between.renew_statistics(part.model, part.train, seed)
        logits = fit.predict(part.model, part.validation)
        found[share, renewed] = (logits, network.get_weights(), fit.scores(logits, part.validation.labels))
    return found
