"""The search for a head: what it finds, what it remembers, what it ends early, and where it is seen."""

import itertools
import time

import helpers
import numpy as np
import optuna
import pandas as pd
import pytest

from flows.parts.head_search import with_head
from flows.train import train
from tasks import settings
from tasks.evaluation.statistics import cross_validation
from tasks.networks.cutting import Backbone
from tasks.networks.pooling import part, pooled
from tasks.runtime import plugins
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.training.heads import head_search

HEAD = settings.Head(epochs=12, batch_size=32)


def _rows():
    """Four clouds, those on a diagonal of one class, in the first four features; noise in the others."""
    random = np.random.default_rng(0)
    corners = random.integers(0, 2, (240, 2))
    signal = np.repeat(corners * 2.0 - 1, 2, axis=1) + random.normal(0, 0.3, (240, 4))
    features = np.concatenate([signal, random.normal(size=(240, 4))], axis=1).astype("float32")
    labels = corners[:, 0] ^ corners[:, 1]
    fold = (np.arange(160), np.arange(160, 240))
    return head_search.Rows(features, np.arange(240)[:, None], labels, (fold,))


def _space(**others):
    values = {
        "heads": ("linear", "mlp"),
        "poolings": {"avg": slice(0, 4), "noise": slice(4, 8)},
        "views": {"all": (0,)},
        "classes": 2,
        "epochs": 12,
        "head": HEAD,
        "loss": settings.Loss(),
        "seed": 0,
    }
    return head_search.Space(**(values | others))


def _cheap(monkeypatch, seconds=0.0):
    """Trials that fit nothing: the nearer to a learning rate of 0.01, the better."""

    def objective(trial, rows, space):
        time.sleep(seconds)
        head, _, _ = head_search.proposed(trial, space)
        return abs(np.log10(head.learning_rate) + 2)

    monkeypatch.setattr(head_search, "objective", objective)


def test_the_better_head_and_pooling_are_found(tmp_path):
    study = head_search.opened(tmp_path / "tune.db", "clouds")
    found = list(head_search.run(study, _rows(), _space(), 14, 0))
    assert len(found) == 14
    head, pooling, views = head_search.best(study, _space())
    assert (head.kind, pooling, views) == ("mlp", "avg", "all")
    assert study.best_value < 0.3  # a linear head cannot: 0.69
    assert (head.epochs, head.batch_size) == (HEAD.epochs, HEAD.batch_size)
    assert plugins.bind("heads", head.kind, head.options, "head.options") == head.options
    # The same trial again, in whatever state the process is: the same loss.
    again = head_search.objective(optuna.trial.FixedTrial(study.best_params), _rows(), _space())
    assert again == study.best_value
    assert head_search.importances(study, 0).keys() >= {"head", "pooling", "learning_rate"}


def test_an_interrupted_search_goes_on_as_it_would_have(tmp_path, monkeypatch):
    _cheap(monkeypatch)

    def results(study):
        return [(trial.params, trial.value) for trial in head_search.finished(study)]

    whole = head_search.opened(tmp_path / "whole.db", "x")
    assert len(list(head_search.run(whole, _rows(), _space(), 14, 0))) == 14
    broken = head_search.opened(tmp_path / "broken.db", "x")
    list(itertools.islice(head_search.run(broken, _rows(), _space(), 14, 0), 12))
    broken.ask()  # what a killed process leaves: a trial that neither ended nor failed
    again = head_search.opened(tmp_path / "broken.db", "x")
    assert len(list(head_search.run(again, _rows(), _space(), 14, 0))) == 2
    assert results(again) == results(whole)
    assert len({str(trial) for trial, _ in results(whole)}) == 14
    assert list(head_search.run(head_search.opened(tmp_path / "broken.db", "x"), _rows(), _space(), 14, 0)) == []
    other = head_search.opened(tmp_path / "other.db", "x")
    list(head_search.run(other, _rows(), _space(seed=1), 1, 0))
    assert results(other) != results(whole)[:1]


def test_no_trial_is_begun_when_the_time_is_over(tmp_path, monkeypatch):
    _cheap(monkeypatch, seconds=0.2)
    study = head_search.opened(tmp_path / "tune.db", "x")
    done = list(head_search.run(study, _rows(), _space(), 100, 0.5 / 60))
    assert 1 <= len(done) <= 3
    assert list(head_search.run(study, _rows(), _space(), 100, 0.5 / 60)) == []


def test_a_trial_that_falls_behind_ends_early(tmp_path):
    study = head_search.opened(tmp_path / "tune.db", "x")
    space = _space(heads=("mlp",), poolings={"avg": slice(0, 4)})
    usual = {"head": "mlp", "mlp.units": 64, "mlp.layers": 1, "mlp.dropout": 0.1, "weight_decay": 1e-3}
    for rate in (0.02, 0.02, 0.02, 0.02, 0.02, 0.0001):
        study.enqueue_trial(usual | {"learning_rate": rate})
    *good, bad = head_search.run(study, _rows(), space, 6, 0)
    assert {trial.state.name for trial in good} == {"COMPLETE"}
    assert bad.state.name == "PRUNED"
    assert len(bad.intermediate_values) < 12
    assert study.best_trial.number < 5


def test_losses_that_are_no_numbers_are_told(tmp_path):
    rows = _rows()
    rows.features[:] = np.nan
    # Layers with a ReLU may take what is no number for 0.
    space = _space(heads=("linear",))
    study = head_search.opened(tmp_path / "tune.db", "x")
    assert [trial.state.name for trial in head_search.run(study, rows, space, 2, 0)] == ["PRUNED", "PRUNED"]
    with pytest.raises(DataError, match="expected trials with a finite loss"):
        head_search.best(study, space)


def test_folds_are_stratified_and_groups_do_not_straddle():
    labels = np.array([0] * 60 + [1] * 20)
    rows = pd.DataFrame({"key": [f"k{i}" for i in range(80)], "group": None, "split": ["train", "validation"] * 40})
    found = cross_validation.split(rows, labels, 4, 0)
    assert [np.bincount(labels[validation]).tolist() for _, validation in found] == [[15, 5]] * 4
    assert sorted(np.concatenate([validation for _, validation in found])) == list(range(80))
    grouped = rows.assign(group=[f"g{i // 4}" if i < 72 else None for i in range(80)])
    found = cross_validation.split(grouped, labels, 4, 0)
    names = grouped["group"].fillna(grouped["key"])
    for train_, validation in found:
        assert not set(names[train_]) & set(names[validation])
        assert set(labels[train_]) == {0, 1}
    ((train_, validation),) = cross_validation.split(rows, labels, 0, 0)
    assert set(rows["split"][train_]) == {"train"}
    assert set(rows["split"][validation]) == {"validation"}
    # No more folds than the rarest class has groups.
    assert len(cross_validation.split(rows, np.array([0] * 77 + [1] * 3), 5, 0)) == 3


def test_small_data_sets_take_turns():
    assert settings.Tune().turns({"train": 800, "validation": 150, "test": 400}) == 5
    assert settings.Tune().turns({"train": 900, "validation": 150, "test": 400}) == 0
    assert settings.Tune(folds=3).turns({"train": 9000, "validation": 150}) == 3


@pytest.mark.parametrize("name", [name for name in plugins.names("heads")])
def test_what_a_head_suggests_it_takes(name):
    module = plugins.load("heads", name)
    # What is learned in one look has nothing to try; the others have.
    assert hasattr(module, "suggest") != hasattr(module, "learn")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(5 if hasattr(module, "suggest") else 0):
        trial = study.ask()
        plugins.bind("heads", name, module.suggest(trial), "head.options")
        assert all(key.startswith(f"{name}.") for key in trial.params)


def test_narrow_poolings_are_parts_of_wide_ones():
    import keras

    pixels = keras.Input((16, 16, 3))
    fine = keras.layers.Conv2D(4, 3, 2, padding="same", name="fine")(pixels)
    top = keras.layers.Conv2D(5, 3, 2, padding="same", name="top")(fine)
    backbone = Backbone(keras.Model(pixels, top), ("fine", "top"))
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    seen = {p: pooled(backbone, p).predict(images, verbose=0) for p in ("avg", "avg_max_std", "multi_level")}
    for narrow, wide in (("avg", "avg_max_std"), ("avg", "multi_level"), ("avg_max_std", "multi_level")):
        np.testing.assert_allclose(seen[wide][:, part(narrow, 5)], seen[narrow], atol=1e-5)
    assert seen["multi_level"][:, part("multi_level", 5)].shape == seen["multi_level"].shape


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (('tune.heads=["knn"]',), r"tune\.heads: expected heads that are trained, found knn"),
        (('tune.heads=["lineer"]',), r"expected one of .*found 'lineer'"),
        (("tune.folds=1",), r"leaves nothing to train on"),
        (('tune.poolings=["none"]',), r"tune\.poolings"),
        (
            ("tune.enabled=true", 'tune.poolings=["avg"]', "backbone.pooling=none"),
            r"expected none with backbone\.pooling = 'none'",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused(tmp_path, words, says):
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path))
    with pytest.raises(UsageError, match=f"(?s){says}"):
        settings.load(tmp_path / "r.toml", words)


WORDS = (
    "tune.enabled=true",
    "tune.trials=4",
    "tune.epochs=4",
    'tune.poolings=["avg", "avg_max_std"]',
    "tune.views=true",
    "tune.folds=2",
    "ladder.start_at=head",
    "ladder.stop_at=head",
)


@pytest.fixture(scope="module")
def recipe(colours, three_layers, tmp_path_factory):
    file = tmp_path_factory.mktemp("recipe") / "r.toml"
    file.write_text(helpers.recipe(colours, "tuned", "[validation]\nmax_rejected = 0.1"))
    # Splits of its own, so that nothing of other tests' runs is taken for it.
    return settings.load(file, (*WORDS, *three_layers, "split.salt=tuned"))


@pytest.fixture(scope="module")
def first(server, recipe):
    return train(recipe)


def _children(run_id):
    client = tracking.client()
    experiment = client.get_experiment_by_name("tuned").experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")


def test_a_search_is_a_stage_whose_trials_are_runs_in_mlflow(first):
    assert list(first.stages)[3:8] == ["extract_for_tuning", "tune", "extract", "audit", "train_head"]
    stages = {run.info.run_name: run for run in _children(first.run_id)}
    trials = _children(stages["tune"].info.run_id)
    assert {run.info.run_name for run in trials} == {f"trial {number}" for number in range(4)}
    assert {run.info.status for run in trials} == {"FINISHED"}
    for run in trials:
        assert run.data.params.keys() >= {"head", "learning_rate", "weight_decay", "pooling", "views"}
        assert run.data.tags["headstart.trial"] in ("complete", "pruned")
        assert np.isfinite(run.data.metrics["validation_loss"])
        assert run.info.start_time < run.info.end_time
    values = [run.data.metrics["validation_loss"] for run in trials if run.data.tags["headstart.trial"] == "complete"]
    found = stages["tune"].data.metrics
    assert (found["trials"], found["folds"], found["validation_loss"]) == (4, 2, min(values))
    files = {file.path for file in tracking.client().list_artifacts(stages["tune"].info.run_id)}
    assert {"history.png", "importances.png"} <= files
    best = next(run for run in trials if run.data.metrics["validation_loss"] == min(values))
    assert stages["train_head"].data.params["head.kind"] == best.data.params["head"]
    assert stages["train_head"].data.params["head.learning_rate"] == best.data.params["learning_rate"]
    assert stages["extract"].data.params["backbone.pooling"] == best.data.params["pooling"]
    assert (stages["extract"].data.params["views"] == "('identity',)") == (best.data.params["views"] == "identity")


def test_the_search_is_told_on_the_page_and_in_the_answer(first):
    found = first.summary()["tuned"]
    assert (found["trials"], found["folds"]) == (4, 2)
    page = (home() / first.page.path).read_text()
    assert "Search for a head" in page
    assert f"head {found['head']['kind']}" in page
    assert f"{found['validation_loss']:.4f} in 2 folds" in page


def test_a_finished_search_is_not_run_again_and_a_longer_one_goes_on(first, recipe, monkeypatch):
    again = train(recipe)
    assert all(log.cached for log in again.stages.values())
    assert again.report.metrics == first.report.metrics
    assert (home() / "tune.db").is_file()
    longer = recipe.model_copy(update={"tune": recipe.tune.model_copy(update={"trials": 5})})
    begun = []
    monkeypatch.setattr(head_search, "objective", lambda *args, **more: begun.append(1) or 9.0)
    more = train(longer)
    assert begun == [1]
    assert not more.stages["tune"].cached
    # The new trial is no better: what was best stays, and what is made of it comes from the cache.
    assert more.stages["train_head"].cached
    stages = {run.info.run_name: run for run in _children(more.run_id)}
    assert len(_children(stages["tune"].info.run_id)) == 5


def test_without_a_search_the_recipe_stays_as_it_is(recipe):
    plain = recipe.model_copy(update={"tune": settings.Tune()})
    assert with_head(plain, None) == (plain, None)
