"""The MLflow client of this process, and the requests that several modules share."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tasks.runtime import databases, outages, progress
from tasks.runtime.home import home

if TYPE_CHECKING:
    from mlflow import MlflowClient


@cache
def client() -> "MlflowClient":
    """The MLflow client of this process; `MLFLOW_TRACKING_URI` says which server or database.

    Raises `DependencyError` if a SQLite database must be upgraded or mended first.
    """
    from mlflow import MlflowClient

    outages.announce()
    made = MlflowClient()
    if (address := os.environ.get("MLFLOW_TRACKING_URI", "")).startswith("sqlite"):
        with databases.opening(databases.MLFLOW, databases.file_of(address)):
            made.search_experiments(max_results=1)  # creates the tables of a new one
    return made


def every(search: Callable[..., Any], *what: Any, **how: Any) -> Iterator[Any]:
    """All that a search of the client finds, page by page: MLflow gives at most 100 registered models at once."""
    token = None
    while True:
        page = search(*what, **how, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def experiment_id(name: str) -> str:
    """The experiment of this name, created if missing; its artifacts go to the home folder or the server."""
    from mlflow.exceptions import MlflowException

    if found := client().get_experiment_by_name(name):
        if found.lifecycle_stage == "deleted":
            client().restore_experiment(found.experiment_id)
            progress.say(f"The experiment {name} had been deleted in MLflow; it is restored.")
        return found.experiment_id
    where = None if _remote() else (home() / "artifacts" / name).as_uri()
    try:
        return client().create_experiment(name, artifact_location=where)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client().get_experiment_by_name(name).experiment_id  # another run was faster, or this one asked twice


def begin_run(experiment: str, tags: dict[str, str], began: int | None = None) -> str:
    """Start one new run, and only one even if an answer was lost and MLflow's client asked again."""
    request = uuid4().hex
    run_id = client().create_run(experiment, began, tags | {"headstart.request": request}).info.run_id
    if _remote():
        for other in list(every(client().search_runs, [experiment], f"tags.`headstart.request` = '{request}'")):
            if other.info.run_id != run_id:
                client().delete_run(other.info.run_id)
    return run_id


def _remote() -> bool:
    """Whether MLflow is used through a server."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")


def log_batch(run_id: str, metrics: dict[str, float] | None = None, params: dict[str, str] | None = None) -> None:
    """Metrics, at step 0 and now, and parameters of a run, in one request."""
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    client().log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, 0) for key, value in (metrics or {}).items()],
        params=[Param(key, value) for key, value in (params or {}).items()],
    )


def flat(values: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as `table.key: text`, as MLflow takes parameters; at most 500 characters each."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    if isinstance(values, dict) and (values or not prefix):
        return {k: v for key, part in values.items() for k, v in flat(part, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: str(values)[:500]}
