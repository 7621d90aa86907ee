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
    _ask_no_git()
    made = MlflowClient()
    if (address := os.environ.get("MLFLOW_TRACKING_URI", "")).startswith("sqlite"):
        with databases.opening(databases.MLFLOW, databases.file_of(address)):
            made.search_experiments(max_results=1)  # creates the tables of a new one
    return made


def _ask_no_git() -> None:
    """Have MLflow tag a model without the git commit of the folder that the command is in.

    It would ask git there, which runs programs that the folder's configuration names; `tasks/runtime/git.py` does not.
    """
    from mlflow.tracking.context import registry
    from mlflow.tracking.context.git_context import GitRunContext

    providers = registry._run_context_provider_registry._registry
    providers[:] = [each for each in providers if not isinstance(each, GitRunContext)]


def every(search: Callable[..., Any], *what: Any, **how: Any) -> Iterator[Any]:
    """All that a search of the client finds, page by page: MLflow gives at most 100 registered models at once."""
    token = None
    while True:
        page = search(*what, **how, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


#: MLflow's page of an experiment then shows runs and models, and asks nobody which kind of experiment it is.
OF_EXPERIMENTS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Runs of Headstart's recipe of this name. Those without a parent are whole runs; the nested "
    "ones are their stages.",
}


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
        return client().create_experiment(name, artifact_location=where, tags=OF_EXPERIMENTS)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client().get_experiment_by_name(name).experiment_id  # another run was faster, or this one asked twice


def begin_run(experiment: str, tags: dict[str, str], began: int | None = None) -> str:
    """Start one new run, and only one even if an answer was lost and MLflow's client asked again.

    It gets the tags of MLflow's own runs too, such as the user.
    """
    from mlflow.tracking.context.registry import resolve_tags

    api, request = client(), uuid4().hex
    run_id = api.create_run(experiment, began, resolve_tags(tags | {"headstart.request": request})).info.run_id
    if _remote():
        for other in list(every(api.search_runs, [experiment], f"tags.`headstart.request` = '{request}'")):
            if other.info.run_id != run_id:
                api.delete_run(other.info.run_id)
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


#: MLflow's limit of a parameter.
LONGEST = 6000


def flat(values: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as `table.key: text`, as MLflow takes parameters, which are at most `LONGEST` characters."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    if isinstance(values, dict) and (values or not prefix):
        return {k: v for key, part in values.items() for k, v in flat(part, f"{prefix}.{key}".strip(".")).items()}
    text = str(values)
    return {prefix: text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"}
