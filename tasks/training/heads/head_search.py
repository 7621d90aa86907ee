"""A search for a head on features in memory: Optuna proposes, each trial trains, weak trials are pruned.

Akiba et al. 2019, https://arxiv.org/abs/1907.10902; proposals by tree-structured Parzen estimators, Bergstra et al.
2011, https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.statistics.cross_validation import Fold
from tasks.features.batches import Batches
from tasks.runtime import plugins, progress
from tasks.runtime.errors import DataError
from tasks.runtime.store.commits import DAMAGED
from tasks.settings import Head, Loss
from tasks.training import fit

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

#: Increase it when trials of older code are no longer comparable: they are then ignored.
VERSION = 1
#: What SQLite says of a damaged file.
NO_DATABASE = ("file is not a database", "disk image is malformed")


@dataclass(frozen=True)
class Rows:
    """Features of images in several views, and which images train and validate in each fold."""

    features: np.ndarray  # float32[rows, …]
    #: int[images, views]: the row of each image's view, the original photo first; -1 if there is none.
    places: np.ndarray
    labels: np.ndarray  # int[images]
    folds: tuple[Fold, ...]

    def batches(self, images: np.ndarray, views: tuple[int, ...], part: slice) -> Batches:
        """Rows to train on or to validate on: images int[n], in the views, with a part of the features."""
        rows = self.places[np.ix_(images, np.array(views))].ravel()
        inputs = self.features[rows, ..., part]
        return Batches(lambda positions: inputs[positions], np.repeat(self.labels[images], len(views)))


@dataclass(frozen=True)
class Space:
    """What is tried, and what is fixed."""

    heads: tuple[str, ...]
    #: Where the features of each pooling are.
    poolings: Mapping[str, slice]
    #: Columns of `Rows.places`.
    views: Mapping[str, tuple[int, ...]]
    classes: int
    epochs: int
    #: Its settings that are not searched are the same in every trial.
    head: Head
    loss: Loss
    seed: int


def opened(file: Path, name: str) -> optuna.Study:
    """The study of this name in a SQLite file, with its earlier trials.

    A trial is pruned when its lowest loss is above the median of the others at the same epoch. A damaged file is set
    aside.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return _study(file, name)
    except Exception as error:  # Optuna and SQLAlchemy have several for it
        if not any(text in f"{error} {error.__cause__}" for text in NO_DATABASE):
            raise
    aside = file.with_name(f"{file.name}{DAMAGED}")
    file.replace(aside)
    progress.say(f"{file.name} is damaged. It is set aside as {aside.name}; searches that were under way start again.")
    return _study(file, name)


def _study(file: Path, name: str) -> optuna.Study:
    import optuna

    return optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{file}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Completed and pruned trials, in their order; those of a killed process are neither."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def run(
    study: optuna.Study, rows: Rows, space: Space, trials: int, minutes: float
) -> Iterator[optuna.trial.FrozenTrial]:
    """Add trials until there are `trials`, or until they have taken `minutes` (0: no limit); yields each new one.

    A proposal depends only on the seed and the finished trials: an interrupted search continues as it would have
    without the interruption.
    """
    import optuna

    while len(done := finished(study)) < trials and not 0 < minutes <= seconds(done) / 60:
        seed = np.random.SeedSequence([space.seed, len(done)]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        study.optimize(partial(objective, rows=rows, space=space), n_trials=1)
        yield finished(study)[-1]


def seconds(trials: list[optuna.trial.FrozenTrial]) -> float:
    """Total time of the trials."""
    return sum(trial.duration.total_seconds() for trial in trials if trial.duration)


def proposed(trial: optuna.trial.BaseTrial, space: Space) -> tuple[Head, str, str]:
    """A trial's head with its training, the name of its pooling and that of its views."""
    kind = trial.suggest_categorical("head", space.heads)
    suggest = getattr(plugins.load("heads", kind), "suggest", None)
    own = space.head.options if kind == space.head.kind else {}
    head = {
        "kind": kind,
        "options": own | (suggest(trial) if suggest else {}),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
    }
    return space.head.model_copy(update=head), _one(trial, "pooling", space.poolings), _one(trial, "views", space.views)


def best(study: optuna.Study, space: Space) -> tuple[Head, str, str]:
    """The proposal of the best trial. Raises `DataError` if no trial has a loss."""
    from optuna.trial import FixedTrial

    if not any(trial.state.name == "COMPLETE" for trial in finished(study)):
        raise DataError("tune: expected trials with a finite loss, found none. Check the features for NaN values.")
    return proposed(FixedTrial(study.best_trial.params), space)


def objective(trial: optuna.Trial, rows: Rows, space: Space) -> float:
    """The lowest validation loss of a fit, nats, on average over the folds. Raises Optuna's `TrialPruned`."""
    head, pooling, views = proposed(trial, space)
    options = plugins.bind("heads", head.kind, head.options, "head.options")
    plan = fit.plan(head, head.learning_rate, space.loss, space.seed)
    epochs = min(space.epochs, head.epochs)
    lowest: list[float] = []
    for train, validation in rows.folds:
        fit.seed_everything(space.seed)
        batches = rows.batches(train, space.views[views], space.poolings[pooling])
        others = rows.batches(validation, (0,), space.poolings[pooling])
        model = plugins.entry("heads", head.kind)(others.read(np.arange(1)).shape[1:], space.classes, **options)
        history = fit.fit(model, batches, others, plan, _watched(trial, lowest, epochs), only=epochs)
        lowest.append(min(history.validation_loss))
    return float(np.mean(lowest))


def importances(study: optuna.Study, seed: int) -> dict[str, float]:
    """Share of the loss's variance explained by each setting that all trials have; empty if nothing varies.

    fANOVA: Hutter, Hoos and Leyton-Brown 2014, https://proceedings.mlr.press/v32/hutter14.html.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if len({trial.value for trial in finished(study) if trial.state.name == "COMPLETE"}) < 2:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))


def _one(trial: optuna.trial.BaseTrial, name: str, choices: Mapping[str, object]) -> str:
    """One of the names; a single name is not a parameter of the search."""
    names = tuple(choices)
    return trial.suggest_categorical(name, names) if len(names) > 1 else names[0]


def _watched(trial: optuna.Trial, lowest: list[float], epochs: int) -> Callable[[fit.History], None]:
    """Reports each epoch to the pruner: the mean loss over the folds so far, with the lowest of this fold."""
    import optuna

    def on_epoch(history: fit.History) -> None:
        seen = history.validation_loss
        if not math.isfinite(seen[-1]):
            raise optuna.TrialPruned
        trial.report(float(np.mean([*lowest, min(seen)])), len(lowest) * epochs + history.epochs - 1)
        if trial.should_prune():
            raise optuna.TrialPruned

    return on_epoch
