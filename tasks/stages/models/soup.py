"""Soup: the mean of the weights of several trainings, as many of them as help on the validation images."""

import time
from dataclasses import replace
from functools import cache

import numpy as np

from tasks.data import datasets
from tasks.evaluation import calibration, model_choice
from tasks.evaluation.statistics import bootstrap
from tasks.networks import files, freezing
from tasks.records import AuditRef, ImagesRef, ModelRef, digest
from tasks.runtime.home import home
from tasks.services.orchestration.stage import stage
from tasks.settings import NetworkTraining
from tasks.training import fine_tuning, fit, saving
from tasks.training.weights import soups


@stage(version=1)
def soup(
    images: ImagesRef,
    models: tuple[ModelRef, ...],
    settings: NetworkTraining,
    audited: AuditRef | None,
    again: ModelRef | None = None,
) -> ModelRef:
    """The greedy soup of trainings of one rung, by their log loss after temperature scaling.

    Each half of the validation images is answered by the soup that the other half would choose, so that the choice does
    not make the rung look better. `again`: the soup before its members were trained again, whose members are reused.
    """
    started = time.perf_counter()
    network = files.load(home() / models[0].path)
    photos = fine_tuning.of_splits(images, refit=again is not None)
    part = fine_tuning.part_above_cut(network, models[0].blocks, settings.merged, images, photos)
    weights = [network.get_weights(), *(files.load(home() / model.path).get_weights() for model in models[1:])]
    kept = freezing.frozen_variables(network)
    before, labels = freezing.variables_digest(kept), part.validation.labels

    def mixed(members: tuple[int, ...]) -> None:
        network.set_weights(soups.mean([weights[member] for member in members]))

    @cache
    def answers(members: tuple[int, ...]) -> np.ndarray:
        mixed(members)
        return saving.softmax(fit.predict(part.model, part.validation))

    groups = datasets.units(images.dataset, audited, "validation") if audited else None

    def best(rows: np.ndarray) -> tuple[int, ...]:
        """The soup that is chosen by some of the validation images, bool[n]."""

        def loss(members: tuple[int, ...]) -> float:
            own = None if groups is None else groups[rows]
            soft = model_choice.tempered(labels[rows], answers(members)[rows], settings.seed, own)
            return float(bootstrap.losses(labels[rows], soft).mean())

        return soups.greedy(sorted(range(len(models)), key=lambda member: loss((member,))), loss)

    def logits() -> np.ndarray:
        found = model_choice.unflattered(len(labels), lambda rows: answers(best(rows)), settings.seed, groups)
        return np.log(np.maximum(found, calibration.FLOOR))

    said = np.empty(0) if again else logits()
    chosen = again.origin.soup if again else best(np.ones(len(labels), bool))
    mixed(chosen)
    freezing.check_frozen(before, kept)
    address = digest("soup", models, settings, audited, again)
    return replace(
        models[0],
        **saving.keep(address, network, lambda: said, labels, again),
        digest=address,
        rung="souped",
        training=replace(models[0].training, seconds=round(time.perf_counter() - started, 3)),
        origin=replace(models[0].origin, soup=chosen),
    )
