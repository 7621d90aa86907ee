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
from prefect import flow
from runs import BRIEF, FOLDS, LAZY, TESTED, recipe_of, stages_of

from flows.train import train
from tasks import settings
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.registry import predict, registered_models, versions

BEFORE = ["ingest", "validate", "preprocess", "extract", "audit"]
LADDER = ["probe", "train_head", "fine_tune", "interpolate", "choose"]
STAGES = [*BEFORE, *LADDER, "transfer_check", "calibrate", "evaluate", "gate", "register", "publish"]


@pytest.fixture(scope="session")
def first(server, colours, tmp_path_factory):
    return train(recipe_of(colours, tmp_path_factory.mktemp("recipe")))


@pytest.fixture(scope="session")
def second(first, colours, tmp_path_factory):
    return train(recipe_of(colours, tmp_path_factory.mktemp("recipe")))


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

    recipe_of(colours, tmp_path, "again")
    with refreshing(True):
        again = train(settings.load(tmp_path / "r.toml", (*TESTED, *BRIEF)))
    assert again.report.metrics == first.report.metrics
    assert not any(log.cached for log in again.stages.values())


def test_a_flow_of_ones_own_calls_it_like_any_flow(first, colours, tmp_path):
    import flows
    from flows.train import train as of_file

    recipe = recipe_of(colours, tmp_path)

    @flow(name="mine")
    def mine():
        return flows.train(recipe).version

    assert flows.train is of_file
    assert mine() == first.version
    loaded = flows.load(str(tmp_path / "r.toml"), *TESTED, *FOLDS)
    assert loaded == recipe
    with pytest.raises(AttributeError):
        flows.no_such_name  # noqa: B018


@pytest.mark.parametrize("which", ["first", "second"])
def test_every_stage_is_in_mlflow(which, request):
    outcome, client = request.getfixturevalue(which), tracking.client()
    parent = client.get_run(outcome.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["backbone.weights"] == "auto"
    nested = stages_of(outcome)
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
    for each in (run, *stages_of(outcome)):
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
    wrong = client.load_table(run.info.experiment_id, "worst_mistakes.json", [outcome.run_id])
    mistakes = round((1 - outcome.report.metrics["accuracy"]) * counts["test"])
    assert len(wrong) == mistakes > 0
    assert (wrong["label"] != wrong["predicted"]).all()
    assert wrong["probability"].is_monotonic_decreasing
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "worst_mistakes.json", "type": "table"}]
    images = {file.path for file in client.list_artifacts(outcome.run_id, "table_images/worst_mistakes")}
    assert {image["filepath"] for image in wrong["image"]} <= images
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
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "colours", "version": 1}]
    assert model.tags["mlflow.user"] == getpass.getuser()
    assert model.params["headstart.rung"] == first.model.rung


def test_the_epochs_in_mlflow_have_their_times(first):
    client = tracking.client()
    (run,) = (run for run in stages_of(first) if run.data.tags["headstart.stage"] == "train_head")
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
    (run,) = (run for run in stages_of(first) if run.data.tags["headstart.stage"] == "audit")
    assert {file.path for file in tracking.client().list_artifacts(run.info.run_id)} == {
        helpers.Path(file).name for file in found.files
    }
    assert run.data.metrics["duplicates"] == 0


def test_prefect_names_say_recipe_and_stage_and_the_outcome_is_an_artifact(second):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

    with get_client(sync_client=True) as client:
        flows = {run.name: run for run in client.read_flow_runs(limit=200, sort=FlowRunSort.START_TIME_DESC)}
        tasks = {run.name: run for run in client.read_task_runs(limit=200, sort=TaskRunSort.END_TIME_DESC)}
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


def test_long_work_shows_its_progress(server, monkeypatch):
    from prefect.client.orchestration import get_client

    from tasks.services.orchestration import artifacts

    monkeypatch.setattr(artifacts, "LONG", 0.0)
    monkeypatch.setattr(artifacts, "EVERY", 5.0)

    def shown():
        with get_client(sync_client=True) as client:
            every = client.request("POST", "/artifacts/filter", json={"limit": 200}).json()
        return [each["data"] for each in every if each["key"] == "progress-pets-extract"]

    @flow(name="long")
    def long():
        progress = artifacts.Progress("pets extract")
        progress("images", 1, 4)
        progress.messages.wait(5)
        before = shown()
        progress("images", 2, 4)  # too early for another message
        progress.end()
        return before

    assert long() == [25.0]
    assert shown() == [100.0]


def test_a_deleted_result_is_computed_again(first, server, colours, tmp_path):
    (home() / first.report.path).unlink()
    again = train(recipe_of(colours, tmp_path))
    assert [name for name, log in again.stages.items() if not log.cached] == ["evaluate"]
    assert (home() / first.report.path).is_file()
    assert again.report.metrics == first.report.metrics


def test_a_worse_challenger_is_kept_back_and_the_champion_stays(second, server, colours, tmp_path):
    lazy = recipe_of(colours, tmp_path).model_copy(update=LAZY)
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


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # in MLflow itself
def test_mlflows_own_evaluation_takes_a_version(first):
    import mlflow

    said = folders.frame(first.report.predictions)
    data = pd.DataFrame({"image": [helpers.Path(uri).read_bytes() for uri in said["uri"]], "label": said["label"]})
    options = {"evaluator_config": {"log_explainer": False}, "model_config": {"column": "label"}}
    # Of an experiment whose artifacts are in the home: those of MLflow's own would lie in the working folder.
    with mlflow.start_run(experiment_id=tracking.client().get_experiment_by_name("colours").experiment_id):
        found = mlflow.models.evaluate(
            "models:/colours/1", data, targets="label", model_type="classifier", evaluators="default", **options
        )
    assert found.metrics["accuracy_score"] == pytest.approx(first.report.metrics["accuracy"])


def test_answers_equal_what_evaluate_found(first):
    predictions = folders.frame(first.report.predictions).head(4)
    found = list(predict.answers("colours@champion", [helpers.Path(uri) for uri in predictions["uri"]]))
    assert [answer["label"] for answer in found] == predictions["predicted"].tolist()
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
