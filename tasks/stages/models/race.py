"""Race: short trainings of a rung with several settings, for the best of them."""

import time

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.evaluation import model_choice
from tasks.evaluation.statistics import bootstrap, cross_validation
from tasks.features.batches import table_batches
from tasks.networks import files
from tasks.records import AuditRef, FeaturesRef, ImagesRef, ModelRef, RaceRef, digest
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import FineTune, HeadTraining, NetworkTraining, Whole
from tasks.training import distribution, fine_tuning, fit, saving
from tasks.training.heads import head_fitting
from tasks.training.trials import racing


@stage(version=2)
def race(
    images: ImagesRef,
    features: FeaturesRef,
    head: ModelRef,
    audited: AuditRef,
    first: HeadTraining,
    settings: NetworkTraining,
) -> RaceRef:
    """What was tried, and what of the settings it changes; validation images are not looked at.

    `first`: how the head was trained. Trials go on from one that has not seen the images that judge them either.
    """
    began, given = time.time(), settings.tuning
    every = datasets.rows(images.dataset, "train")
    units, classes = datasets.units(images.dataset, audited, "train"), images.dataset.classes
    found = _part(datasets.labels(every, classes), units, settings.seed)
    address = digest("race", images, features, head, audited, first, settings)
    if found is None:
        return RaceRef(address, settings.rung, (), {"trials": 0}, 0, 0)
    rest, judged = found
    others = every.iloc[np.sort(rest)].reset_index(drop=True)
    rows = datasets.stratified(others, round(racing.TRAINED * len(every)))
    photos = fine_tuning.Photos(rows, every.iloc[judged].reset_index(drop=True))
    labels = datasets.labels(photos.validation, classes)
    begins = _head(features, first, others, classes, units[np.sort(rest)], head.training.epochs)

    def trained(tuning: FineTune | Whole) -> racing.Answers:
        wanted = settings.model_copy(update={"tuning": racing.brief(tuning)})
        fit.seed_everything(settings.seed)
        with distribution.scope(tuning.strategy):
            network = files.load(home() / head.path)
            network.get_layer("head").set_weights(begins)
            part = fine_tuning.part_above_cut(network, head.blocks, wanted, images, photos)
        started, epochs = time.perf_counter(), wanted.tuning.epochs
        fine_tuning.train(part, network, head.blocks, wanted, only=epochs)
        speed = epochs * len(part.train.labels) / (time.perf_counter() - started)
        answers = saving.softmax(fit.predict(part.model, part.validation))
        soft = model_choice.tempered(labels, answers, settings.seed, units[judged])
        return racing.Answers(bootstrap.losses(labels, soft), bootstrap.correct(labels, soft) * 1.0, speed)

    seconds = 60 * given.minutes * racing.SHARE
    trials, best = racing.race(given, trained, seconds, settings.seed, units[judged])
    tracking.log_trials("race", trials, began)
    before, after = given.model_dump(), best.model_dump()
    chosen = {name: value for name, value in after.items() if value != before[name]} | {"trials": 0}
    return RaceRef(digest(address, chosen), settings.rung, tuple(trials), chosen, len(rows), len(judged))


def _part(labels: np.ndarray, units: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows to train on and rows that judge: of the classes with enough units for it; None if fewer than two have."""
    each = pd.DataFrame({"label": labels, "unit": units}).groupby("label")["unit"].nunique()
    enough = np.flatnonzero(np.isin(labels, each.index[each >= racing.PARTS]))
    if len(np.unique(labels[enough])) < 2:
        return None
    judged = enough[cross_validation.folds(labels[enough], units[enough], racing.PARTS, seed)[0][1]]
    # A group with images of several classes is on one side whole.
    rest = np.flatnonzero(~np.isin(units, units[judged]))
    return rest, judged


def _head(
    features: FeaturesRef,
    settings: HeadTraining,
    rows: pd.DataFrame,
    classes: tuple[str, ...],
    units: np.ndarray,
    epochs: int,
) -> list[np.ndarray]:
    """Weights of a head that was trained on these rows alone, for a number of epochs if it is one that is trained."""
    table = Table(features.table, features.shape, features.dtype)
    train = table_batches(rows, datasets.labels(rows, classes), table, settings.views)
    fit.seed_everything(settings.seed)
    model = head_fitting.built(settings, features.shape, len(classes), train, units, features.parts)
    head_fitting.fitted(model, settings, train, None, only=epochs)
    return model.get_weights()
