"""What a run asks MLflow for."""

import errno
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from trouble.damage import flip

from tasks.records import VersionRef
from tasks.runtime.errors import DependencyError
from tasks.services import tracking
from tasks.services.registry import versions
from tasks.services.tracking import context, epochs, outbox
from tasks.services.tracking.client import client, experiment_id
from tasks.training.fit import History


def test_an_experiment_that_was_deleted_in_mlflow_is_restored(home):
    made = experiment_id("deleted by hand")
    client().delete_experiment(made)
    assert experiment_id("deleted by hand") == made
    assert client().get_experiment(made).lifecycle_stage == "active"


def test_a_table_that_could_not_be_sent_stops_the_stage_before_anything_that_needs_it(home, monkeypatch):
    def full(self, run_id, path, to=None):
        Path(urlsplit(tracking.artifact_uri(run_id, "data.parquet")).path).parent.mkdir(parents=True)
        Path(urlsplit(tracking.artifact_uri(run_id, "data.parquet")).path).touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    registered = []
    with tracking.run("full", "train", {}), pytest.raises(OSError), tracking.stage("register", "digest", {}):
        monkeypatch.setattr("mlflow.MlflowClient.log_artifact", full)
        tracking.log_table("data.parquet", pd.DataFrame({"key": ["a"]}))
        registered.append("a version")
    assert not registered


def test_a_table_of_a_run_that_is_not_as_it_was_written_is_never_read(home):
    rows = pd.DataFrame({"key": list("abcdef"), "split": "train"})
    with tracking.run("damaged", "train", {}), tracking.stage("register", "digest", {}):
        run = tracking.current().id
        tracking.log_table("splits.parquet", rows)
    assert tracking.table(run, "none.parquet") is None
    assert tracking.table(run, "splits.parquet").equals(rows)
    file = Path(urlsplit(tracking.artifact_uri(run, "splits.parquet")).path)
    whole = file.read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        flip(file, at=place)
        with pytest.raises(DependencyError, match=r"splits\.parquet of MLflow's run .* backup"):
            tracking.table(run, "splits.parquet")
        file.write_bytes(whole)
    file.write_bytes(whole[:-9])
    client().delete_tag(run, "headstart.crc32.splits.parquet")  # a run of an older release
    with pytest.raises(DependencyError, match=r"splits\.parquet"):
        tracking.table(run, "splits.parquet")
    client().set_tag(run, "headstart.crc32.splits.parquet", "0")
    file.unlink()
    with pytest.raises(DependencyError, match="found none"):
        tracking.table(run, "splits.parquet")


@pytest.mark.parametrize("arrives", [True, False])
def test_losses_are_in_mlflow_while_a_training_goes_on_and_each_is_there_once(home, monkeypatch, arrives):
    whole = History([3.0, 2.0, 1.0], [3.5, 2.5, 1.5], [1_800_000_000_000, 1_800_000_001_000, 1_800_000_002_000])
    monkeypatch.setattr(epochs, "EVERY", 0.0)

    def found(name):
        return [(each.step, each.value, each.timestamp) for each in client().get_metric_history(run, name)]

    with tracking.run("live", "train", {}), tracking.stage("fine_tune", "digest", {}) as run:
        with monkeypatch.context() as patched:
            if not arrives:
                patched.setattr("mlflow.MlflowClient.log_batch", lambda *_, **__: 1 / 0)
            tracking.log_epochs(History(whole.loss[:2], whole.validation_loss[:2], whole.ended[:2]))
            context.active_epochs.get().end()
        assert found("loss") == list(zip([0, 1], whole.loss, whole.ended, strict=False))[: 2 * arrives]
        tracking.log_epochs(whole)
        tracking.log_losses(whole)
    assert found("loss") == list(zip([0, 1, 2], whole.loss, whole.ended, strict=True))
    assert found("validation_loss") == list(zip([0, 1, 2], whole.validation_loss, whole.ended, strict=True))


def test_settings_are_kept_as_they_are_but_for_secrets(home, monkeypatch):
    monkeypatch.setenv("HEADSTART_TOKEN", "hidden-one")
    options = {"tokens": "class", "n_tokens": 16, "bypass": True, "path": "/srv/a@b/photos", "of": ["hidden-one", None]}
    with tracking.run("settings", "train", {"options": options, "root": "s3://me:word@host/photos?key=1"}) as run:
        pass
    assert client().get_run(run.id).data.params["root"] == "s3://host/photos"
    found = json.loads(tracking.text(run.id, tracking.RECIPE, ""))
    assert found == {"options": options | {"of": ["***", None]}, "root": "s3://host/photos"}


def test_runs_of_trials_end_with_the_process_that_made_them(home):
    with tracking.run("killed", "train", {}) as run:
        parent = client().get_run(run.id)
        nested = [run.id]
        for _ in range(2):
            tags = {"mlflow.parentRunId": nested[-1]}
            nested.append(client().create_run(parent.info.experiment_id, tags=tags).info.run_id)
        tracking.close_dead(lambda process, _: process == parent.data.tags[tracking.PROCESS])
        assert {client().get_run(each).info.status for each in nested} == {"KILLED"}


def test_who_is_killed_while_notes_are_sent_does_not_lose_them(home, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tracking.run("killed", "train", {}):
        monkeypatch.setattr("tasks.services.tracking.log.send", killed)
        with tracking.stage("gate", "digest of a gate", {}):
            tracking.log_tag("headstart.test_set", "seen")
    assert outbox.kept("digest of a gate").tags == {"headstart.test_set": "seen"}
    outbox.drop("digest of a gate")


def test_a_long_card_is_cut_to_what_a_database_takes(home):
    client().create_registered_model("long")
    version = client().create_model_version("long", "file:///nowhere")
    versions.annotate(VersionRef("long", version.version, (), ""), "x" * 9000)
    assert len(client().get_model_version("long", version.version).description) == versions.LONGEST


def test_the_page_of_a_run_that_failed_says_why_without_secrets_and_without_markup(home):
    with pytest.raises(ValueError, match="no room"), tracking.run("failed", "train", {}):
        run = tracking.current().id
        assert "has not ended yet" in client().get_run(run).data.tags["mlflow.note.content"]
        raise ValueError("no room at https://me:secret@example.org for <b>it</b>")
    found = client().get_run(run)
    said = found.data.tags["mlflow.note.content"]
    assert found.info.status == "FAILED"
    assert "failed" in said and "no room" in said
    assert "secret" not in said and "<b>" not in said
