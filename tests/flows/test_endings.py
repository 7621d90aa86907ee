"""Runs that end otherwise: with an older result, a better challenger, bad data, too little time."""

import os

import helpers
import numpy as np
import pytest
from PIL import Image
from runs import BRIEF, LAZY, TESTED, recipe_of, stages_of

from flows.train import check, train
from tasks import settings
from tasks.networks import backend, freezing
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.registry import predict, registered_models, versions


def test_results_that_another_version_of_the_code_wrote_are_computed_again(server, colours, three_layers, tmp_path):
    """0.1.0 kept some records under other module paths, and some under other field names."""
    recipe_of(colours, tmp_path, "older")
    recipe = settings.load(tmp_path / "r.toml", three_layers).model_copy(update=LAZY)
    before = train(recipe)
    results = helpers.Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])
    for number, run in enumerate(stages_of(before)):
        file = results / run.data.tags["headstart.digest"]
        old = ("tasks.records.", "tasks.points.") if number % 2 else ('\\"data\\": {\\"', '\\"data\\": {\\"old_')
        text = file.read_text()
        assert old[0] in text
        file.write_text(text.replace(*old))
    again = train(recipe)
    assert not any(log.cached for log in again.stages.values())
    assert again.report.metrics == before.report.metrics
    assert all(log.cached for log in train(recipe).stages.values())


def test_a_deleted_version_is_registered_again(server, colours, three_layers, tmp_path):
    recipe_of(colours, tmp_path, "deleted")
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *TESTED, *BRIEF, "ladder.stop_at=probe"))
    train(recipe)
    tracking.client().delete_model_version("deleted", "1")
    again = train(recipe)
    assert [name for name, log in again.stages.items() if not log.cached] == ["register", "publish"]
    assert (again.version.version, again.version.aliases) == ("2", ("champion",))


def test_a_better_challenger_replaces_the_champion_which_becomes_previous(server, colours, three_layers, tmp_path):
    recipe_of(colours, tmp_path, "climb")
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *TESTED, *BRIEF, "ladder.stop_at=probe"))
    weak, strong = train(recipe.model_copy(update=LAZY)), train(recipe)
    assert strong.report.metrics["balanced_accuracy"] > weak.report.metrics["balanced_accuracy"]
    assert strong.verdict.decision == "promote"
    assert str(registered_models.alias("climb", "champion").version) == "2"
    assert str(registered_models.alias("climb", "previous").version) == "1"
    # Rescored today on the same test images, by the version in the registry.
    numbers = strong.verdict.gates[0].numbers
    assert numbers["champion_accuracy"] == pytest.approx(weak.report.metrics["accuracy"])


def test_no_rung_is_begun_when_the_time_is_over(server, colours, three_layers, tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "hurry", "[validation]\nmax_rejected = 0.1"))
    done = train(settings.load(tmp_path / "r.toml", ("ladder.max_minutes=0.001", *three_layers, *BRIEF)))
    assert [score.rung for score in done.ladder.scores] == ["probe"]
    assert "of 0.001 minutes had passed" in done.ladder.reason
    later = ("ladder.max_minutes=60", "fine_tune.minutes=130", *three_layers, *BRIEF)
    done = train(settings.load(tmp_path / "r.toml", later))
    assert "head" in {score.rung for score in done.ladder.scores} and "blocks" not in done.stages
    assert "of 60 minutes had passed before blocks, which may take 130.0" in done.ladder.reason
    # Where more than half of its minutes are left, it has those.
    less = ("ladder.max_minutes=60", "fine_tune.minutes=100", *three_layers, *BRIEF)
    assert "blocks" in {score.rung for score in train(settings.load(tmp_path / "r.toml", less)).ladder.scores}


def test_the_documented_idiom_fails_the_stage_and_registers_nothing(
    server, colours, three_layers, tmp_path, monkeypatch
):
    """All trainable, as the guides have it: batch normalisation's statistics would drift."""
    monkeypatch.setattr("tasks.networks.freezing.unfreeze", lambda model: setattr(model, "trainable", True))
    recipe_of(colours, tmp_path, "idiom")
    # Another seed: what other tests have trained is not taken for it.
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *BRIEF, "ladder.start_at=head", "seed=1"))
    with pytest.raises(freezing.FrozenChanged, match="frozen variables to be the same after training"):
        train(recipe)
    assert not list(versions.versions("idiom"))


def test_bad_data_stops_the_run_and_registers_nothing(server, colours, tmp_path):
    with pytest.raises(DataError, match=r"At most 1\.00% of the files, or one, are set aside; fails for 4 of 76"):
        train(recipe_of(colours, tmp_path, "spoilt", extra=""))
    one = helpers.photos(tmp_path / "one", classes=("red",))
    with pytest.raises(DataError, match="at least 2 classes"):
        train(recipe_of(one, tmp_path, "spoilt", extra=""))
    helpers.photos(tmp_path / "one", each=1, classes=("blue",))
    with pytest.raises(DataError, match="its class has too few images for all splits: blue"):
        check(recipe_of(one, tmp_path, "spoilt", extra=""))
    assert not list(versions.versions("spoilt"))
    client = tracking.client()
    runs = client.search_runs([client.get_experiment_by_name("spoilt").experiment_id])
    assert {run.info.status for run in runs if run.data.tags["mlflow.runName"].startswith(("train", "validate"))} == {
        "FAILED"
    }


def test_check_says_what_the_data_is(server, colours, tmp_path):
    dataset = check(recipe_of(colours, tmp_path))
    assert dataset.classes == ("blue", "green", "red")
    assert dataset.expectations >= 14


def test_a_column_to_slice_by_that_is_not_there_is_refused_before_training(server, colours, tmp_path):
    recipe = recipe_of(colours, tmp_path).model_copy(update={"slices": settings.Slices(columns=("camera",))})
    with pytest.raises(UsageError, match=r"which has none; found 'camera'"):
        check(recipe)


def test_a_head_on_a_savedmodel_becomes_a_version_that_answers(server, colours, tmp_path):
    import keras

    backend.seed(0)
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, 2), keras.layers.ReLU()]
    keras.Sequential(layers).export(tmp_path / "graph", verbose=False)
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "of_graph"))
    words = ("backbone.kind=file", f"backbone.weights={tmp_path / 'graph'}", "backbone.options.values=0 to 1")
    more = ("fine_tune.enabled=false", "validation.max_rejected=0.1", *BRIEF)
    done = train(settings.load(tmp_path / "r.toml", (*words, *more)))
    predictions = folders.frame(done.report.predictions).head(4)
    found = list(predict.answers("of_graph@champion", [helpers.Path(uri) for uri in predictions["uri"]]))
    np.testing.assert_allclose([a["probability"] for a in found], predictions["probability"], atol=1e-4)


def test_a_view_that_changes_what_a_photo_is_is_told(server, tmp_path):
    """Photos that are bright on the left, or on the right: mirrored, each is one of the other class."""
    for name, columns in (("left", slice(0, 16)), ("right", slice(16, 32))):
        (tmp_path / "sides" / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.random.default_rng([number, len(name)]).normal(90, 20, (32, 32, 3))
            pixels[:, columns] += 90
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(tmp_path / "sides" / name / f"{number}.png")
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path / "sides", "sides"))
    views = ("identity", "flip_left_right", "flip_up_down")
    words = (f"images.views={list(views)}", "ladder.start_at=head", "ladder.stop_at=head", "audit.enabled=false")
    done = train(settings.load(tmp_path / "r.toml", (*words, "backbone.pooling=pyramid", "head.kind=logistic")))
    assert "In the view flip left right held-out photos are answered otherwise" in done.transfer.sentence
    assert "flip up down" not in done.transfer.sentence
