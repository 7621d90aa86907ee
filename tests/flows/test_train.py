"""The whole DAG on tiny photos: first run, second run, a worse challenger, bad data, and the version by itself."""

import dataclasses
import getpass
import json
import os
import subprocess
import sys

import helpers
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.train import check, train
from tasks import settings
from tasks.networks import backend, freezing
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.registry import predict, registered_models, versions

BEFORE = ["ingest", "validate", "preprocess", "extract", "audit"]
LADDER = ["probe", "train_head", "fine_tune", "interpolate", "choose"]
STAGES = [*BEFORE, *LADDER, "transfer_check", "calibrate", "evaluate", "gate", "register", "publish"]
#: A head that learns next to nothing, and nothing else.
LAZY = {
    "head": settings.Head(kind="linear", epochs=1, learning_rate=1e-9),
    "ladder": settings.Ladder(start_at="head", stop_at="head"),
}


#: What a flow leaves out that asks about something else.
FOLDS = ("ladder.folds_below=1000",)
#: Enough test images for a decision.
TESTED = ("split.test=0.35",)
BRIEF = ("audit.enabled=false", "transfer_check.enabled=false")


def _recipe(folder, tmp_path, name="colours", extra="[validation]\nmax_rejected = 0.1"):
    (tmp_path / "r.toml").write_text(helpers.recipe(folder, name, extra))
    # The run that most tests look at has everything.
    return settings.load(tmp_path / "r.toml", (*TESTED, *FOLDS) if name == "colours" else TESTED)


@pytest.fixture(scope="session")
def first(server, colours, tmp_path_factory):
    return train(_recipe(colours, tmp_path_factory.mktemp("recipe")))


@pytest.fixture(scope="session")
def second(first, colours, tmp_path_factory):
    return train(_recipe(colours, tmp_path_factory.mktemp("recipe")))


def test_the_first_run_ends_with_a_champion(first):
    summary = first.summary()
    assert list(summary["stages"]) == STAGES
    assert not any(stage["cached"] for stage in summary["stages"].values())
    assert (summary["model"], summary["version"], summary["aliases"]) == ("colours", "1", ["champion"])
    assert summary["decision"] == "promote"
    assert summary["classes"] == ["blue", "green", "red"]
    assert set(summary["metrics"]) == {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "ece"}
    assert summary["metrics"]["accuracy"] > 0.8
    for name, value in summary["metrics"].items():
        low, high = summary["intervals"][name]
        assert low <= high
        assert np.isfinite(value)
    assert json.loads(json.dumps(summary)) == summary


def test_broken_files_are_set_aside_and_listed(first):
    assert first.dataset.rejected == 4
    listed = pd.read_csv((home() / first.dataset.data_docs).parent / "rejected.csv")
    reasons = {helpers.Path(uri).name: error for uri, error in zip(listed["uri"], listed["error"], strict=True)}
    assert set(reasons) == {"empty.png", "text.jpg", "cut.png", "notes.txt"}
    assert reasons["empty.png"] == "empty file"
    assert sum(first.dataset.counts.values()) == 72


def test_the_same_run_again_computes_nothing_and_says_the_same(first, second):
    assert all(log.cached for log in second.stages.values())
    assert second.report.metrics == first.report.metrics
    assert second.version == first.version
    assert len(list(versions.versions("colours"))) == 1


def test_the_same_seed_gives_the_same_numbers_when_everything_is_computed_again(first, server, colours, tmp_path):
    from tasks.services.orchestration.stage import refreshing

    _recipe(colours, tmp_path, "again")
    with refreshing(True):
        again = train(settings.load(tmp_path / "r.toml", (*TESTED, *BRIEF)))
    assert again.report.metrics == first.report.metrics
    assert not any(log.cached for log in again.stages.values())


def _stages(outcome):
    """The MLflow runs of a training run's stages."""
    client = tracking.client()
    experiment = client.get_run(outcome.run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{outcome.run_id}'")


@pytest.mark.parametrize("which", ["first", "second"])
def test_every_stage_is_in_mlflow(which, request):
    outcome, client = request.getfixturevalue(which), tracking.client()
    parent = client.get_run(outcome.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["backbone.weights"] == "auto"
    nested = _stages(outcome)
    assert {run.info.run_name for run in nested} == set(STAGES)
    for run in nested:
        assert run.info.status == "FINISHED"
        assert run.data.tags["headstart.stage"] == run.info.run_name
        assert len(run.data.tags["headstart.digest"]) == 20
        assert run.data.tags["headstart.cached"] == str(which == "second").lower()
        assert run.data.metrics["seconds"] >= 0
    stages = {run.info.run_name: run for run in nested}
    assert stages["evaluate"].data.metrics["accuracy"] == outcome.report.metrics["accuracy"]
    if which == "first":
        files = {file.path for file in client.list_artifacts(stages["evaluate"].info.run_id)}
        assert {
            "confusion_matrix.png",
            "reliability.png",
            "worst_mistakes.png",
            "classes.csv",
            "slices.csv",
        } <= files
        assert client.list_artifacts(stages["validate"].info.run_id, "data_docs")


@pytest.mark.parametrize("which", ["first", "second"])
def test_the_page_of_a_run_in_mlflow_says_who_what_and_why(which, request):
    outcome, client = request.getfixturevalue(which), tracking.client()
    run = client.get_run(outcome.run_id)
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    for each in (run, *_stages(outcome)):
        assert each.data.tags["mlflow.user"] == each.info.user_id == getpass.getuser()
        assert each.data.tags["mlflow.source.name"] == "headstart train colours"
        assert len(each.data.tags["mlflow.source.git.commit"]) == 40
        assert each.data.tags["mlflow.source.git.dirty"] in ("true", "false")
    assert "# colours version 1: promote" in run.data.tags["mlflow.note.content"]
    contexts = {}
    for each in run.inputs.dataset_inputs:
        (context,) = (tag.value for tag in each.tags if tag.key == "mlflow.data.context")
        contexts[context] = each.dataset
    counts = outcome.dataset.counts
    assert {name: json.loads(each.profile)["num_rows"] for name, each in contexts.items()} == {
        "training": counts["train"],
        "validation": counts["validation"],
        "testing": counts["test"],
    }
    for each in contexts.values():
        assert each.digest == outcome.dataset.digest
        assert {"key", "label"} <= {column["name"] for column in json.loads(each.schema)["mlflow_colspec"]}
    assert {"report.html", "model_card.md", "recipe.json"} <= {f.path for f in client.list_artifacts(outcome.run_id)}
    assert run.data.metrics["test_accuracy"] == outcome.report.metrics["accuracy"]


def test_the_models_tab_of_mlflow_shows_the_scores_of_a_version(first, second):
    client = tracking.client()
    version = client.get_model_version("colours", "1")
    assert version.run_id == first.run_id
    address = version.source.removeprefix("models:/")
    for outcome in (first, second):
        (made,) = client.get_run(outcome.run_id).outputs.model_outputs
        assert made.model_id == address
    model = client.get_logged_model(address)
    found = {metric.key: metric for metric in model.metrics}
    assert len(found) == len(model.metrics)
    assert {name: found[f"test_{name}"].value for name in first.report.metrics} == first.report.metrics
    assert {"validation_accuracy", "validation_log_loss"} <= set(found)
    for metric in found.values():
        assert metric.dataset_name == f"colours: {metric.key.partition('_')[0]}"
        assert metric.dataset_digest == first.dataset.digest
        assert metric.run_id == first.run_id
    assert model.status == "READY"
    assert model.params["headstart.rung"] == first.model.rung


def test_the_epochs_in_mlflow_have_their_times(first):
    client = tracking.client()
    (run,) = (run for run in _stages(first) if run.data.tags["headstart.stage"] == "train_head")
    for name in ("loss", "validation_loss"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == list(range(len(points)))
        times = [point.timestamp for point in points]
        assert times == sorted(times)
        assert run.info.start_time <= times[0] < times[-1] <= run.info.end_time


def test_the_audit_finds_nothing_in_noise_and_leaves_its_tables(first):
    found = first.audit
    assert (found.duplicates, found.notes) == (0, ())
    assert sum(found.judged.values()) == 72
    # Squares of one size, brightness and format; their colours are what they show.
    assert [shortcut.facts for shortcut in found.shortcuts] == ["brightness"]
    table = pd.read_csv(home() / found.suspects_table, keep_default_na=False)
    assert table["score"].is_monotonic_increasing
    assert set(table["corrected"]) == {""}
    (run,) = (run for run in _stages(first) if run.data.tags["headstart.stage"] == "audit")
    assert {file.path for file in tracking.client().list_artifacts(run.info.run_id)} == {
        helpers.Path(file).name for file in found.files
    }
    assert run.data.metrics["duplicates"] == 0


def test_prefect_names_say_recipe_and_stage_and_the_outcome_is_an_artifact(second):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

    with get_client(sync_client=True) as client:
        flows = {run.name: run for run in client.read_flow_runs(limit=200, sort=FlowRunSort.START_TIME_DESC)}
        tasks = [run.name for run in client.read_task_runs(limit=200, sort=TaskRunSort.END_TIME_DESC)]
        artifacts = client.request("POST", "/artifacts/filter", json={"limit": 200}).json()
    assert {"headstart", "colours"} <= set(flows["train colours"].tags)
    assert {f"colours {stage}" for stage in STAGES} <= set(tasks)
    assert any("# colours version 1: promote" in str(artifact["data"]) for artifact in artifacts)
    (table,) = (
        each
        for each in artifacts
        if each["key"] == "stages-colours" and each["flow_run_id"] == str(flows["train colours"].id)
    )
    assert [row["stage"] for row in json.loads(table["data"])] == STAGES


def test_a_deleted_result_is_computed_again(first, server, colours, tmp_path):
    (home() / first.report.path).unlink()
    again = train(_recipe(colours, tmp_path))
    assert [name for name, log in again.stages.items() if not log.cached] == ["evaluate"]
    assert (home() / first.report.path).is_file()
    assert again.report.metrics == first.report.metrics


def test_results_that_another_version_of_the_code_wrote_are_computed_again(server, colours, three_layers, tmp_path):
    """0.1.0 kept some records under other module paths, and some under other field names."""
    _recipe(colours, tmp_path, "older")
    recipe = settings.load(tmp_path / "r.toml", three_layers).model_copy(update=LAZY)
    before = train(recipe)
    results = helpers.Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])
    for number, run in enumerate(_stages(before)):
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
    _recipe(colours, tmp_path, "deleted")
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *TESTED, *BRIEF, "ladder.stop_at=probe"))
    train(recipe)
    tracking.client().delete_model_version("deleted", "1")
    again = train(recipe)
    assert [name for name, log in again.stages.items() if not log.cached] == ["register", "publish"]
    assert (again.version.version, again.version.aliases) == ("2", ("champion",))


def test_a_worse_challenger_is_kept_back_and_the_champion_stays(second, server, colours, tmp_path):
    lazy = _recipe(colours, tmp_path).model_copy(update=LAZY)
    outcome = train(lazy)
    assert outcome.verdict.decision == "keep"
    assert "not_worse_than_champion" in outcome.verdict.reason
    assert outcome.verdict.opponent == "1"
    assert outcome.version.aliases == ("challenger",)
    assert str(registered_models.alias("colours", "champion").version) == "1"
    assert outcome.stages["extract"].cached
    again = train(lazy)
    assert all(log.cached for log in again.stages.values())
    assert again.verdict == outcome.verdict
    tags = registered_models.alias("colours", "challenger").tags
    assert tags["headstart.gate"] == "keep"
    assert tags["headstart.gate.not_worse_than_champion"] == "failed"


def test_a_better_challenger_replaces_the_champion_which_becomes_previous(server, colours, three_layers, tmp_path):
    _recipe(colours, tmp_path, "climb")
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *TESTED, *BRIEF, "ladder.stop_at=probe"))
    weak, strong = train(recipe.model_copy(update=LAZY)), train(recipe)
    assert strong.report.metrics["balanced_accuracy"] > weak.report.metrics["balanced_accuracy"]
    assert strong.verdict.decision == "promote"
    assert str(registered_models.alias("climb", "champion").version) == "2"
    assert str(registered_models.alias("climb", "previous").version) == "1"
    # Rescored today on the same test images, by the version in the registry.
    numbers = strong.verdict.gates[0].numbers
    assert numbers["champion_accuracy"] == pytest.approx(weak.report.metrics["accuracy"])


def test_every_rung_is_scored_and_the_cheapest_good_one_is_shipped(first):
    scores = first.ladder.scores
    assert [score.rung for score in scores] == ["probe", "head", "blocks", "interpolated"]
    assert [score.rung for score in scores if score.shipped] == [first.model.rung]
    for score in scores:
        assert score.interval[0] <= score.score <= score.interval[1]
        assert score.gap_interval[0] <= score.gap <= score.gap_interval[1]
        # Few images: heads are cross-fitted, the network itself is trained once.
        counts = first.dataset.counts
        assert score.images == counts["validation"] + (counts["train"] if score.rung in ("probe", "head") else 0)
        assert score.seconds > 0
    # Whatever is cheaper than the one that is shipped is surely worse than another.
    shipped = [score.shipped for score in scores].index(True)
    assert all(score.gap_interval[0] > 0 for score in scores[:shipped])
    assert scores[shipped].gap_interval[0] <= 0
    for model in first.ladder.rungs:
        assert model.training.frozen_variables > 0
    text = (home() / first.page.path).read_text()
    assert "trained again" not in text
    assert all(f"<td>{score.rung}" in text for score in scores)


def test_weights_in_between_are_refitted_at_the_share_that_was_chosen(first, server, colours, tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(colours, "between", "[validation]\nmax_rejected = 0.1"))
    done = train(settings.load(tmp_path / "r.toml", (*FOLDS, "ladder.ship=interpolated", "ladder.refit=true")))
    tried = {rung.rung: rung for rung in first.ladder.rungs}["interpolated"]
    assert (done.model.origin.share, done.model.origin.renewed) == (tried.origin.share, tried.origin.renewed)
    assert done.model.digest != tried.digest
    assert {"refit_train_head", "refit_fine_tune", "refit_interpolate"} <= done.stages.keys()


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
    _recipe(colours, tmp_path, "idiom")
    # Another seed: what other tests have trained is not taken for it.
    recipe = settings.load(tmp_path / "r.toml", (*three_layers, *BRIEF, "ladder.start_at=head", "seed=1"))
    with pytest.raises(freezing.FrozenChanged, match="frozen variables to be the same after training"):
        train(recipe)
    assert not list(versions.versions("idiom"))


def test_bad_data_stops_the_run_and_registers_nothing(server, colours, tmp_path):
    with pytest.raises(DataError, match=r"At most 1\.00% of the files, or one, are set aside; fails for 4 of 76"):
        train(_recipe(colours, tmp_path, "spoilt", extra=""))
    one = helpers.photos(tmp_path / "one", classes=("red",))
    with pytest.raises(DataError, match="at least 2 classes"):
        train(_recipe(one, tmp_path, "spoilt", extra=""))
    helpers.photos(tmp_path / "one", each=1, classes=("blue",))
    with pytest.raises(DataError, match="its class has too few images for all splits: blue"):
        check(_recipe(one, tmp_path, "spoilt", extra=""))
    assert not list(versions.versions("spoilt"))
    client = tracking.client()
    runs = client.search_runs([client.get_experiment_by_name("spoilt").experiment_id])
    assert {run.info.status for run in runs if run.data.tags["mlflow.runName"].startswith(("train", "validate"))} == {
        "FAILED"
    }


def test_check_says_what_the_data_is(server, colours, tmp_path):
    dataset = check(_recipe(colours, tmp_path))
    assert dataset.classes == ("blue", "green", "red")
    assert dataset.expectations >= 14


def test_a_column_to_slice_by_that_is_not_there_is_refused_before_training(server, colours, tmp_path):
    recipe = _recipe(colours, tmp_path).model_copy(update={"slices": settings.Slices(columns=("camera",))})
    with pytest.raises(UsageError, match=r"which has none; found 'camera'"):
        check(recipe)


LONELY = """
import json, sys
sys.modules["tasks"] = sys.modules["flows"] = None
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}")
files = json.loads(sys.stdin.read())
answer = model.predict(pd.DataFrame({"image": [open(f, "rb").read() for f in files]}))
assert not [name for name in sys.modules if name.split(".")[0] in ("tasks", "flows") and sys.modules[name]]
print(json.dumps([answer["label"].tolist(), [list(p) for p in answer["probabilities"]], model.metadata.metadata]))
"""


def test_the_version_answers_in_a_process_without_this_project(first, tmp_path):
    predictions = folders.frame(first.report.predictions)
    command = [sys.executable, "-I", "-c", LONELY, "colours/1"]
    done = subprocess.run(
        command,
        input=json.dumps(predictions["uri"].tolist()),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    labels, probabilities, metadata = json.loads(done.stdout.strip().splitlines()[-1])
    assert labels == predictions["predicted"].tolist()
    np.testing.assert_allclose(probabilities, np.stack(predictions["probabilities"].to_list()), atol=1e-4)
    assert metadata["classes"] == ["blue", "green", "red"]


def test_answers_equal_what_evaluate_found(first):
    predictions = folders.frame(first.report.predictions).head(4)
    found = list(predict.answers("colours@champion", [helpers.Path(uri) for uri in predictions["uri"]]))
    assert [answer["label"] for answer in found] == predictions["predicted"].tolist()
    np.testing.assert_allclose([a["probability"] for a in found], predictions["probability"], atol=1e-4)


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


def test_the_report_is_one_file_that_loads_nothing(first):
    text = (home() / first.page.path).read_text()
    assert text.count("data:image/png;base64,") >= 3
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    for name in first.report.metrics:
        assert name in text


def test_records_are_made_of_plain_values(first):
    for record in (first.dataset, first.model, first.report, first.verdict, first.version):
        assert json.dumps(dataclasses.asdict(record))


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
