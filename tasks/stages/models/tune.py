"""Tune: a search for the head's settings, on stored features, judged on validation images only."""

from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets, splits
from tasks.evaluation.statistics import cross_validation
from tasks.features.tables import row_key
from tasks.networks import backbones
from tasks.networks.pooling import part
from tasks.records import FeaturesRef, ImagesRef, TunedRef, digest
from tasks.reports import figures
from tasks.runtime import databases, progress
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import HeadSearch, Tune
from tasks.training.heads import head_search

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


@stage(version=2)
def tune(images: ImagesRef, features: FeaturesRef, settings: HeadSearch) -> TunedRef:
    """The best head of a search, with its pooling and views; trials of an earlier search count.

    `features`: of the settings' backbone, whose pooling contains all poolings to try.
    """
    search, seed = settings.tune, settings.seed
    names = tuple(dict.fromkeys(("identity", *settings.views)))
    rows = _rows(images, features, names, search, seed)
    space = _space(images, settings, names)
    tried = search.model_dump(exclude={"enabled", "trials", "minutes"})
    parts = (images, features, tried, settings.head, settings.loss, settings.views, seed)
    name = f"head-{digest(head_search.VERSION, *parts)}"
    with databases.opening(databases.OPTUNA):
        study = head_search.opened(databases.OPTUNA.file, name)
    _run(study, rows, space, search)
    best, pooling, views = head_search.best(study, space)
    _draw(study, seed)
    every = head_search.finished(study)
    return TunedRef(
        digest=digest("tuned", name, best, pooling, views, len(every)),
        study=name,
        head=best.model_dump(),
        pooling=pooling,
        views=tuple(names[at] for at in space.views[views]),
        validation_loss=study.best_value,
        trials=len(every),
        pruned=sum(trial.state.name == "PRUNED" for trial in every),
        folds=len(rows.folds),
        seconds=round(head_search.seconds(every), 3),
    )


def _rows(
    images: ImagesRef, features: FeaturesRef, names: tuple[str, ...], settings: Tune, seed: int
) -> head_search.Rows:
    """Training and validation images; without folds, the latter only in the identity view."""
    every = datasets.rows(images.dataset)
    rows = every[every["split"].isin(splits.STEERED)].reset_index(drop=True)
    labels = datasets.labels(rows, images.dataset.classes)
    turns = settings.turns(images.dataset.counts)
    needed = np.ones((len(rows), len(names)), bool)
    if not turns:
        needed[rows["split"] == "validation", 1:] = False
    places = np.where(needed, np.cumsum(needed).reshape(needed.shape) - 1, -1)
    keys = [row_key(rows["key"][image], names[view]) for image, view in np.argwhere(needed)]
    values = Table(features.table, features.shape, features.dtype).read(keys).astype(np.float32)
    return head_search.Rows(values, places, labels, cross_validation.split(rows, labels, turns, seed))


def _space(images: ImagesRef, settings: HeadSearch, names: tuple[str, ...]) -> head_search.Space:
    search, backbone = settings.tune, settings.backbone
    poolings: dict[str, slice] = {backbone.pooling: slice(None)}
    if len(search.poolings) > 1:
        channels = backbones.load(backbone, images.size).model.output.shape[-1]
        poolings = {name: part(name, channels) for name in search.poolings}
    views = {"all": tuple(names.index(view) for view in settings.views)}
    if search.views and settings.views != ("identity",):
        views["identity"] = (0,)
    head, classes = settings.head.model_copy(update={"batch_size": search.batch_size}), len(images.dataset.classes)
    return head_search.Space(search.heads, poolings, views, classes, search.epochs, head, settings.loss, settings.seed)


def _run(study: "Study", rows: head_search.Rows, space: head_search.Space, settings: Tune) -> None:
    """Run all trials and log each, including those from before an interruption, as a run in MLflow."""
    before = head_search.finished(study)
    for trial in before:
        _log(trial)
    new = head_search.run(study, rows, space, settings.trials, settings.minutes)
    for trial in progress.track(new, settings.trials - len(before), "tune"):
        _log(trial)


def _log(trial: "FrozenTrial") -> None:
    began, ended = trial.datetime_start, trial.datetime_complete
    assert began and ended
    tracking.log_trial(
        f"trial {trial.number}",
        {"headstart.trial": trial.state.name.lower(), "headstart.stage": "trial"},
        trial.params,
        {"validation_loss": trial.value} if trial.value is not None else {},
        {"validation_loss_so_far": trial.intermediate_values},
        (int(began.timestamp() * 1000), int(ended.timestamp() * 1000)),
    )


def _draw(study: "Study", seed: int) -> None:
    shown = [trial for trial in head_search.finished(study) if trial.value is not None]
    early = [trial.state.name == "PRUNED" for trial in shown]
    losses = [trial.value or 0.0 for trial in shown]
    tracking.log_drawn("history.png", lambda to: figures.history(losses, early, to))
    if shares := head_search.importances(study, seed):
        tracking.log_drawn("importances.png", lambda to: figures.importances(shares, to))
