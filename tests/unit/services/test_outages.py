"""A server that does not answer: what is said of it, and what a stage could not log."""

import logging
from unittest import mock

import httpx
import pytest

from tasks.runtime import outages, progress
from tasks.runtime.home import home
from tasks.services import tracking


def _mlflow(text):
    from mlflow.exceptions import MlflowException

    return MlflowException(text)


def _after(cause):
    error = RuntimeError("failed to reach the API")
    error.__cause__ = cause
    return error


ANSWER = httpx.HTTPStatusError("409 Conflict", request=httpx.Request("GET", "http://x"), response=httpx.Response(409))


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (_mlflow("API request to http://x/api failed with exception Connection refused"), "MLflow"),
        (_mlflow("API request to http://x/api failed with timeout exception too slow."), "MLflow"),
        (_mlflow("failures occurred: API request to http://x/1.png failed with exception refused"), "MLflow"),
        (_mlflow("API request to endpoint /api failed with error code 401 != 200"), ""),
        (_mlflow("No Experiment with id=7 exists"), ""),
        (httpx.ConnectError("refused"), "Prefect"),
        (_after(httpx.ReadTimeout("too slow")), "Prefect"),
        (ANSWER, ""),
        (OSError("disk full"), ""),
    ],
)
def test_an_error_says_which_server_is_away(error, name):
    assert outages.server(error) == name
    assert (f"Expected the {name} server" in outages.message(error)) == bool(name)


def test_who_waits_for_a_server_is_told_at_once_where_it_is_and_for_how_long(monkeypatch):
    from mlflow.utils.request_utils import JitteredRetry

    said = []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:s3cret@127.0.0.1:9")
    outages.announce()
    retry = JitteredRetry(total=7, backoff_factor=2, backoff_jitter=1.0)
    for _ in range(7):
        retry = retry.increment("POST", "/", error=OSError("refused"))
        words = "Retrying (%r) after connection broken by '%r': %s"
        logging.getLogger("urllib3.connectionpool").warning(words, retry, OSError("refused"), "/api/2.0/mlflow/runs")
    # The last try has nothing left to wait for.
    assert [float(line.split()[-2]) for line in said] == [244, 240, 232, 216, 184, 120]
    assert said[0] == "The MLflow server at http://127.0.0.1:9 does not answer; it is asked again for about 244 s."


def test_what_a_stage_could_not_log_is_logged_by_the_next_that_has_its_result(tmp_path):
    (tmp_path / "table.csv").write_text("a,b")
    gone = mock.Mock(side_effect=_mlflow("API request to http://x/api failed with exception Connection refused"))
    with (
        pytest.raises(Exception, match="Connection refused"),
        mock.patch.object(tracking.client(), "log_artifacts", gone),
        tracking.run("unsent", "train", {}),
        tracking.stage("fit", "unsent-digest", {}) as first,
    ):
        tracking.log_series("loss", [2.0, 1.0])
        tracking.log_tag("headstart.engine", "one")
        tracking.log_files(tmp_path, "tables")
        tracking.log_drawn("drawn.txt", lambda file: file.write_text("curve"))
    assert gone.call_count == 1  # nobody waits a second time
    assert tracking.client().get_run(first).info.status == "RUNNING"

    with tracking.run("unsent", "train", {}), tracking.stage("fit", "unsent-digest", {}) as run_id:
        pass
    client = tracking.client()
    run = client.get_run(run_id)
    assert [each.value for each in client.get_metric_history(run_id, "loss")] == [2.0, 1.0]
    assert run.data.tags["headstart.engine"] == "one"
    assert [file.path for file in client.list_artifacts(run_id)] == ["drawn.txt", "tables"]
    assert [file.path for file in client.list_artifacts(run_id, "tables")] == ["tables/table.csv"]
    assert not list((home() / "unsent").glob("[!.]*"))


def test_a_stage_that_fails_logs_what_it_found(tmp_path):
    (tmp_path / "rejected.csv").write_text("uri")
    with (
        pytest.raises(ValueError, match="bad data"),
        tracking.run("found", "train", {}),
        tracking.stage("validate", "found-digest", {}) as run_id,
    ):
        tracking.log_files(tmp_path, "docs")
        raise ValueError("bad data")
    assert tracking.client().get_run(run_id).info.status == "FAILED"
    assert [file.path for file in tracking.client().list_artifacts(run_id, "docs")] == ["docs/rejected.csv"]
