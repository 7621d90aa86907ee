"""Which backbone: scores without training, the ranking that they make, and what became of it."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import helpers
import numpy as np
import pandas as pd
import pytest
from prefect import flow
from rich.console import Console
from tiny_features import images_of

from flows.cli.output import _ranking
from flows.cli.session import Session
from flows.parts.backbone import _side, reviewed
from flows.train import train
from tasks import settings
from tasks.data import datasets
from tasks.features import transferability
from tasks.networks import backbones
from tasks.records import ImagesRef, ModelScores, RankedBackbone
from tasks.runtime import plugins
from tasks.runtime.errors import DependencyError, UsageError
from tasks.runtime.home import home
from tasks.runtime.store import folders, inventory
from tasks.runtime.store.tables import Table
from tasks.services import tracking
from tasks.stages.features.rank_backbones import rank_backbones

PACKAGED, RANDOM = "efficientnet_lite lite0 packaged", "efficientnet_lite lite0 random"
ABSENT = settings.Sized(weights="no such file.pth")


def _score(name, features, labels):
    return plugins.entry("transferability", name)(features, labels)


@pytest.mark.parametrize(("rows", "columns"), [(40, 5), (12, 30)])
def test_logme_is_the_largest_evidence(rows, columns):
    """Against a search over both precisions, of the density of the labels with the weights integrated out."""
    from scipy.optimize import minimize
    from scipy.stats import multivariate_normal

    random = np.random.default_rng(1)
    labels = random.integers(0, 2, rows)
    features = random.normal(size=(rows, columns)) + labels[:, None] * np.linspace(0, 1, columns)
    gram, best = features @ features.T, []
    for label in (0, 1):

        def loss(precisions, label=label):
            weights, noise = np.exp(-precisions)
            covariance = weights * gram + noise * np.eye(rows)
            return -multivariate_normal.logpdf((labels == label).astype(float), cov=covariance)

        starts = [minimize(loss, start, method="Nelder-Mead", options={"maxiter": 2000}) for start in ([0, 0], [4, 2])]
        best.append(-min(found.fun for found in starts))
    assert _score("logme", features, labels) == pytest.approx(np.mean(best) / rows, abs=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(40, 5), (12, 30)])
def test_h_score_is_its_definition(rows, columns):
    from sklearn.covariance import LedoitWolf

    random = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    features = random.normal(size=(rows, columns)) + labels[:, None]
    fitted = LedoitWolf().fit(features)
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    between = np.cov(means.T, bias=True) * (1 - fitted.shrinkage_)
    expected = np.trace(np.linalg.solve(fitted.covariance_, between))
    assert _score("h_score", features, labels) == pytest.approx(expected, rel=1e-6)


def test_a_row_is_no_neighbour_of_itself():
    angles = np.array([0.0, 0.01, 1.0, 1.01])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert _score("knn", features, np.array([0, 0, 1, 1])) == 1
    # Length does not matter, direction does; each row's only like has the other label.
    assert _score("knn", features * [[1], [9], [1], [9]], np.array([0, 1, 0, 1])) == 0


def test_the_mean_rank_decides_and_the_smaller_of_equals_wins():
    a = RankedBackbone("a", {}, {"x": 0.9, "y": 1.0}, parameters=5)
    b = RankedBackbone("b", {}, {"x": 0.8, "y": 2.0}, parameters=3)
    c = RankedBackbone("c", {}, {"x": 0.1, "y": 0.5}, parameters=1)
    gone = RankedBackbone("gone", {}, skipped="no weights")
    ordered = transferability.ordered([gone, c, a, b])
    assert [row.name for row in ordered] == ["b", "a", "c", "gone"]
    assert [row.rank for row in ordered] == [1.5, 1.5, 3, 0]
    tied = transferability.ordered([a, RankedBackbone("d", {}, {"x": 0.9, "y": 0.0}, parameters=9)])
    assert [row.rank for row in tied] == [1.25, 1.75]


def test_correlation_of_ranks_needs_three_that_differ():
    from scipy.stats import spearmanr

    a, b = [1.0, 2.5, 2.5, 4.0, 7.0], [0.3, 0.1, 0.4, 0.5, 0.45]
    assert transferability.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert transferability.spearman([1.0, 2.0], [0.1, 0.2]) is None
    assert transferability.spearman([1.0, 1.0, 1.0], b[:3]) is None


def test_a_sample_has_every_class_in_its_share_and_grows():
    rows = pd.DataFrame({"key": [f"{i:03}" for i in range(200)], "label": ["often"] * 150 + ["seldom"] * 50})
    small, large = datasets.stratified(rows, 20), datasets.stratified(rows, 80)
    assert small["label"].value_counts().to_dict() == {"often": 15, "seldom": 5}
    assert large["label"].value_counts().to_dict() == {"often": 60, "seldom": 20}
    assert set(small["key"]) < set(large["key"])
    assert len(datasets.stratified(rows, 500)) == 200


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("select.candidates=[{kind='resnet51'}]", r"select\.candidates\.0: .*found 'resnet51'"),
        ("select.candidates=[{}, {options={variant='lite9'}}]", r"select\.candidates\.1\.options\.variant: .*'lite9'"),
        ("select.candidates=[{kind='auto'}]", r"select\.candidates\.0: .*found 'auto'"),
        ("select.candidates=[{pooling='avg'}]", r"select\.candidates\.0\.pooling: there is no such setting"),
        ("backbone.options.variant=lite1", r"takes options and weights from select\.candidates"),
        ("select.samples=3", r"select\.samples: there is no such setting.*Did you mean sample"),
    ],
)
def test_a_wrong_candidate_is_refused_with_its_place(tmp_path, override, says):
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path))
    with pytest.raises(UsageError, match=f"(?s){says}"):
        settings.load(tmp_path / "r.toml", ("backbone.kind=auto", override))


def test_without_candidates_all_packaged_networks_are_ranked():
    assert [backbones.label(candidate) for candidate in backbones.packaged()] == [
        f"efficientnet_lite lite{number} packaged" for number in range(3)
    ]
    # Defaults that are left out and those that are written are one network.
    assert backbones.label(settings.Backbone()) == backbones.label(backbones.packaged()[0])


def test_each_candidate_is_seen_at_its_own_side_unless_the_recipe_names_one():
    open_, given = settings.Recipe(name="x"), settings.Recipe(name="x", images={"size": 40})
    lite1 = {"options": {"variant": "lite1"}}
    assert [backbones.own_side(each) for each in backbones.here() if each.kind == "efficientnet_lite"] == [
        224,
        240,
        260,
    ]
    for r, candidate, side in (
        (open_, lite1, 240),
        (open_, lite1 | {"size": 64}, 64),
        (given, lite1, 40),
        (given, lite1 | {"size": 64}, 64),
        (open_, {"kind": "file", "weights": "net.keras"}, 224),
    ):
        one = settings.Sized(**candidate)
        assert _side(r.model_copy(update={"select": settings.Select(candidates=(one,))}), one) == side


def test_a_ranking_of_nothing_is_an_error_with_the_reasons(tmp_path):
    images = images_of(helpers.photos(tmp_path, each=4), "nothing")
    with pytest.raises(DependencyError, match=r"found none\. .*no such file.pth: .*path of a file"):
        rank_backbones.body(
            images.dataset, settings.Images(), settings.Select(candidates=(ABSENT,)), settings.Extract(), "tensorflow"
        )


@pytest.fixture(scope="module")
def recipe(colours, tmp_path_factory):
    """A recipe that ranks three candidates, of which one is not there, and trains a head."""
    folder = tmp_path_factory.mktemp("rank")
    extra = """
[validation]
max_rejected = 0.1
[backbone]
kind = "auto"
[ladder]
start_at = "head"
stop_at = "head"
[select]
sample = 24
candidates = [{ weights = "random" }, { weights = "packaged" }, { weights = "no such file.pth" }]
"""
    # Another size than elsewhere, so that neither these tests nor others find what the others have computed.
    (folder / "r.toml").write_text(helpers.recipe(colours, "ranked", extra).replace("size = 32", "size = 40"))
    # Splits of its own too; random weights are a candidate, and no check may fill their table.
    words = ("split.salt=ranked", "transfer_check.enabled=false", "audit.enabled=false")
    return settings.load(folder / "r.toml", words)


@pytest.fixture(scope="module")
def chosen(server, recipe):
    """The run that ranks, then trains what came first."""
    return train(recipe)


def test_the_first_of_the_ranking_is_trained_and_the_rest_is_listed(chosen):
    ranking = chosen.ranking
    assert {row.name for row in ranking.rows[:2]} == {PACKAGED, RANDOM}
    assert ranking.rows[0].rank <= ranking.rows[1].rank
    for row in ranking.rows[:2]:
        assert set(row.scores) == {"h_score", "knn", "logme"}
        assert row.parameters == 3_413_024
        assert row.images_per_second > 0
    assert "expected a name that the backbone defines" in ranking.rows[2].skipped
    tags = tracking.client().get_run(chosen.run_id).data.tags
    assert tags["headstart.backbone"] == ranking.chosen.name
    text = (home() / chosen.page.path).read_text()
    assert f"{ranking.chosen.name} was chosen" in text
    assert all(f"<td>{row.name}</td>" in text for row in ranking.rows)
    assert [row["name"] for row in chosen.summary()["backbones"]] == [row.name for row in ranking.rows]


def test_a_sample_of_the_training_images_is_read_and_nothing_else(chosen):
    assert chosen.ranking.images == 24
    rows, counts = folders.frame(chosen.dataset.path), chosen.dataset.counts
    training = set(rows[rows["split"] == "train"]["key"])
    sampled = [
        keys
        for keys in (Table(row["table"], (1280,), "float32").keys() for row in inventory.tables() if row["rows"] == 24)
        if keys <= set(rows["key"])
    ]
    # Other tests' tables of as many rows may lie in the same store.
    assert any(keys < training for keys in sampled)
    # What the ranking has read is not computed again.
    extracted = tracking.client().get_run(chosen.run_id).data.metrics["extract.images_extracted"]
    assert extracted == 2 * counts["train"] + counts["validation"] + counts["test"] - 24


def test_a_candidate_that_was_not_there_is_tried_again(chosen):
    assert not rank_backbones.there(chosen.ranking)
    assert rank_backbones.there(replace(chosen.ranking, rows=chosen.ranking.rows[:2]))


def _came_out(chosen, recipe, log_loss, ranking=None, **settings_of_it):
    """A run that ended with this validation log loss."""
    images = ImagesRef(chosen.dataset, "none", "came out", 40, "crop", 1, False, 0)
    model = replace(chosen.ladder.chosen, validation=ModelScores({"log_loss": log_loss, "accuracy": 1 - log_loss}, ""))
    ladder, of_it = replace(chosen.ladder, chosen=model), recipe.model_copy(update=settings_of_it)

    @flow(name="came out")
    def end():
        with tracking.run("ranked", "train", {}) as run:
            return run, reviewed(of_it, ranking, images, ladder)

    return end()


def test_what_came_out_is_set_against_what_was_predicted(chosen, recipe):
    lite = [settings.Backbone(options={"variant": name}) for name in ("lite0", "lite1", "lite2")]
    rows = tuple(RankedBackbone(backbones.label(each), {}, {"knn": 1.0}, i) for i, each in enumerate(lite, 1))
    ranking = replace(chosen.ranking, rows=rows, digest="came out")
    _came_out(chosen, recipe, 0.5, backbone=lite[1])
    _came_out(chosen, recipe, 0.9, backbone=lite[1])
    # Other settings make another result, which is no evidence here.
    _came_out(chosen, recipe, 0.1, backbone=lite[2], seed=5)
    _, two = _came_out(chosen, recipe, 0.3, ranking, backbone=lite[0])
    assert [row.log_loss for row in two.rows] == [0.3, 0.9, None]
    assert two.spearman is None
    _came_out(chosen, recipe, 0.4, backbone=lite[2])
    run, three = _came_out(chosen, recipe, 0.3, ranking, backbone=lite[0])
    assert [row.accuracy for row in three.rows] == pytest.approx([0.7, 0.1, 0.6])
    assert three.spearman == pytest.approx(0.5)
    client = tracking.client()
    (nested,) = client.search_runs([run.experiment], f"tags.`mlflow.parentRunId` = '{run.id}'")
    with Path(client.download_artifacts(nested.info.run_id, "predicted_against_real.csv")).open() as lines:
        assert [row["validation log loss"] for row in csv.DictReader(lines)] == ["0.3", "0.9", "0.4"]
    shown = io.StringIO()
    console = Console(file=shown, width=160)
    _ranking(Session(console, console, shown, Path()), replace(chosen, agreement=three))
    assert "Spearman's rank correlation with the validation log loss: 0.50" in shown.getvalue()
    assert all(row.name in shown.getvalue() for row in chosen.ranking.rows[:2])
