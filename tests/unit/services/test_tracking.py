"""What a run asks MLflow for."""

import errno
import os
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from trouble.damage import flip

from tasks.runtime.errors import DependencyError
from tasks.services import tracking
from tasks.services.tracking.client import client, experiment_id


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
    monkeypatch.setattr("mlflow.MlflowClient.log_artifact", full)
    with tracking.run("full", "train", {}), pytest.raises(OSError), tracking.stage("register", "digest", {}):
        tracking.log_table("data.parquet", pd.DataFrame({"key": ["a"]}))
        registered.append("a version")
    assert not registered


def test_a_table_of_a_run_that_is_not_as_it_was_written_is_never_read(home):
    rows = pd.DataFrame({"key": list("abcdef"), "split": "train"})
    with tracking.run("damaged", "train", {}), tracking.stage("register", "digest", {}):
        run = tracking.stage_run_id()
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
