"""MLflow for runs: a parent run for each flow run, a nested run for each stage, data sets and models.

Every call names its run, since MLflow's own stack of active runs is one per thread. MLflow's client waits for a server
that is away (`tasks/runtime/outages.py`), and sends again what had no answer: what makes something new is written so
that it is there once all the same; the rest may be sent twice.
"""

import dataclasses
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd

from tasks.records import DatasetRef, StageLog
from tasks.runtime import outages, processes
from tasks.runtime.home import home
from tasks.services.tracking import outbox

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

#: Tag of a look at the data: `train` or `skip`.
RETRAIN = "headstart.retrain"
#: Tags of a parent run: the process that works on it (`tasks/runtime/processes.py`), and the Prefect run of it.
PROCESS, FLOW_RUN = "headstart.process", "headstart.flow_run"

_run: ContextVar["Run | None"] = ContextVar("run", default=None)
_stage: ContextVar["str | None"] = ContextVar("stage", default=None)
_notes: ContextVar["outbox.Notes | None"] = ContextVar("notes", default=None)


@dataclass
class Run:
    """The parent MLflow run of a flow run, and what its stages took."""

    id: str
    experiment: str
    name: str
    stages: dict[str, StageLog] = field(default_factory=dict)


@cache
def client() -> "MlflowClient":
    """The MLflow client of this process; `MLFLOW_TRACKING_URI` says which server or database."""
    from mlflow import MlflowClient

    outages.announce()
    return MlflowClient()


@contextmanager
def run(name: str, flow: str, settings: dict[str, Any], flow_run: str | None = None) -> Iterator[Run]:
    """A parent run in the experiment `name`, ended as FINISHED or FAILED; its parameters are the flat settings.

    `flow_run`: the Prefect run that it belongs to.
    """
    experiment = _experiment(name)
    tags = {
        "mlflow.runName": f"{flow} {name}",
        "headstart.flow": flow,
        "headstart.python": platform.python_version(),
        PROCESS: processes.own(),
        FLOW_RUN: flow_run or "",
    }
    current = Run(_begin(experiment, tags), experiment, name)
    _log(current.id, params=_flat(settings))
    token = _run.set(current)
    try:
        with _ended(current.id):
            yield current
    finally:
        _run.reset(token)


@contextmanager
def stage(name: str, digest: str, settings: dict[str, Any]) -> Iterator[str]:
    """A nested run named after the stage; what the stage logs goes there, at its end. Yields the run's id."""
    parent = current()
    tags = {
        "mlflow.runName": name,
        "mlflow.parentRunId": parent.id,
        "headstart.stage": name,
        "headstart.digest": digest,
    }
    run_id = _begin(parent.experiment, tags)
    _log(run_id, params=_flat(settings))
    with TemporaryDirectory() as drawn:
        own = outbox.Notes(Path(drawn))
        tokens = _stage.set(run_id), _notes.set(own)
        try:
            with _ended(run_id, lambda: _send(run_id, digest, own)):
                yield run_id
        except BaseException as error:
            if outages.server(error) == "MLflow":
                own.save(digest)
            raise
        finally:
            _stage.reset(tokens[0])
            _notes.reset(tokens[1])


@contextmanager
def _ended(run_id: str, last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """End a run as FINISHED or FAILED, `last` before that. Where the server is away, nobody waits for it once more."""
    try:
        yield
    except BaseException as error:
        if outages.server(error) != "MLflow":
            last()
            client().set_terminated(run_id, "FAILED")
        raise
    last()
    client().set_terminated(run_id, "FINISHED")


def close_dead(gone: Callable[[str], bool]) -> dict[str, str]:
    """End the runs, with those of their stages, whose process is gone; their names by the Prefect runs of theirs."""
    experiments = [each.experiment_id for each in client().search_experiments()]
    closed = {}
    for parent in _running(experiments, f"tags.`{PROCESS}` != ''"):
        if not gone(parent.data.tags[PROCESS]):
            continue
        own = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        for each in (*_running([parent.info.experiment_id], own), parent):
            client().set_tag(each.info.run_id, "headstart.crashed", "true")
            client().set_terminated(each.info.run_id, "KILLED")
        closed[parent.data.tags.get(FLOW_RUN) or parent.info.run_id] = parent.data.tags["mlflow.runName"]
    return closed


def _running(experiments: list[str], which: str) -> "list[MlflowRun]":
    wanted, found, token = f"attributes.status = 'RUNNING' and {which}", [], None
    while experiments:
        page = client().search_runs(experiments, wanted, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    return found


def current() -> Run:
    """The parent run that the code runs under."""
    found = _run.get()
    if found is None:
        raise RuntimeError("A stage runs inside a flow: `with tracking.run(...)`")
    return found


def finish_stage(name: str, log: StageLog, numbers: dict[str, float]) -> None:
    """Write a stage's seconds, whether it was cached, and its record's numbers to its run and the parent's."""
    current().stages[name] = log
    run_id = _stage.get() or current().id
    client().set_tag(run_id, "headstart.cached", str(log.cached).lower())
    _log(run_id, metrics=numbers | {"seconds": log.seconds})
    _log(current().id, metrics={f"{name}.{key}": value for key, value in (numbers | {"seconds": log.seconds}).items()})


def log_files(folder: Path, to: str | None = None) -> None:
    """Upload a folder's files, which stay there, as artifacts of the stage that is running; outside it does nothing."""
    if own := _notes.get():
        own.folders[str(folder)] = to


def log_drawn(name: str, draw: Callable[[Path], None]) -> None:
    """Upload a file that `draw` writes, as an artifact of the stage that is running; outside it does nothing."""
    if own := _notes.get():
        draw(own.drawn / name)


def log_tag(name: str, value: str) -> None:
    """Tag the stage that is running; outside a run it does nothing."""
    if own := _notes.get():
        own.tags[name] = value


def log_series(name: str, values: list[float]) -> None:
    """One metric over steps 0, 1, … (epochs) of the stage that is running; outside a run it does nothing."""
    if own := _notes.get():
        own.series[name] = [float(value) for value in values]


def _send(run_id: str, digest: str, own: outbox.Notes) -> None:
    """Log what the stage noted, after what an earlier run could not send of it."""
    from mlflow.entities import Metric

    for each in (outbox.kept(digest), own):
        if each is None or each.empty:
            continue
        metrics = [Metric(name, v, 0, step) for name, values in each.series.items() for step, v in enumerate(values)]
        for folder, to in {str(each.drawn): None, **each.folders}.items():
            client().log_artifacts(run_id, folder, to)
        client().log_batch(run_id, metrics=metrics)
        # The tags last: who finds the run by one of them finds the rest.
        for name, value in each.tags.items():
            client().set_tag(run_id, name, value)
    outbox.drop(digest)


def log_file(run_id: str, file: Path) -> None:
    """Upload a file as an artifact of a run."""
    client().log_artifact(run_id, str(file))


def log_result(tags: dict[str, str], metrics: dict[str, float]) -> None:
    """Tags and metrics of the parent run, for `results` of later runs."""
    _log(current().id, metrics=metrics)
    # The tags last: who finds the run by one of them finds its metrics.
    for name, value in tags.items():
        client().set_tag(current().id, name, value)


def results(name: str, value: str) -> list[tuple[dict[str, str], dict[str, float]]]:
    """Tags and metrics of the experiment's runs whose tag `name` has this value, the newest first."""
    wanted, order = f"tags.`{name}` = '{value}'", ["attributes.start_time DESC"]
    found = client().search_runs([current().experiment], wanted, order_by=order)
    return [(run.data.tags, run.data.metrics) for run in found]


def decided(before: str) -> list[dict[str, str]]:
    """Tags of the gate stages, of any experiment, that compared two models, the oldest first, each once.

    `before`: digest of the stage for which this is asked; it and what came after it are left out.
    """
    experiments = [each.experiment_id for each in client().search_experiments()]
    wanted, order = "tags.`headstart.stage` = 'gate' and tags.`headstart.test_set` != ''", ["attributes.start_time ASC"]
    found: dict[str, dict[str, str]] = {}
    token = None
    while True:
        page = client().search_runs(experiments, wanted, order_by=order, max_results=1000, page_token=token)
        for run in page:
            if run.data.tags["headstart.digest"] == before:
                return list(found.values())
            found.setdefault(run.data.tags["headstart.digest"], run.data.tags)
        token = page.token
        if not token:
            return list(found.values())


def stage_digest() -> str:
    """What the result of the stage that is running is kept under; empty outside a run."""
    run_id = _stage.get()
    return client().get_run(run_id).data.tags["headstart.digest"] if run_id else ""


def newest(stage: str, dataset: str) -> str:
    """The newest finished run of a stage, in the experiment, on the data set with this digest; "" where none is."""
    wanted = f"tags.`headstart.stage` = '{stage}' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    for run in client().search_runs([current().experiment], wanted, order_by=order, max_results=20):
        parent = client().get_run(run.data.tags["mlflow.parentRunId"])
        if any(each.dataset.digest == dataset for each in parent.inputs.dataset_inputs):
            return run.info.run_id
    return ""


def fetched(stage: str, dataset: str, name: str, to: Path) -> Path | None:
    """An artifact of the run that `newest` finds, downloaded into a folder; None where there is none."""
    run_id = newest(stage, dataset)
    if not run_id or not _has(run_id, name):
        return None
    return Path(client().download_artifacts(run_id, name, str(to)))


def last(name: str, stage: str, artifact: str, to: Path) -> bool:
    """Download an artifact of the newest finished run of a stage in the experiment to a file; False where none has it.

    A run that took the stage from the cache has the artifacts of the run that computed it.
    """
    found = _finished(name, f"tags.`headstart.stage` = '{stage}'")
    for run in found:
        same = run.data.tags["headstart.digest"] == found[0].data.tags["headstart.digest"]
        if same and _has(run.info.run_id, artifact):
            with TemporaryDirectory() as folder:
                shutil.copyfile(client().download_artifacts(run.info.run_id, artifact, folder), to)
            return True
    return False


def table(run_id: str, name: str) -> pd.DataFrame | None:
    """A Parquet file among a run's artifacts; None where there is none."""
    if not _has(run_id, name):
        return None
    with TemporaryDirectory() as folder:
        return pd.read_parquet(client().download_artifacts(run_id, name, folder))


def skipped(name: str) -> int:
    """How many of the newest looks at a recipe's data have ended without training, before any that has trained."""
    decisions = [run.data.tags[RETRAIN] for run in _finished(name, f"tags.`{RETRAIN}` != ''")]
    return decisions.index("train") if "train" in decisions else len(decisions)


def _finished(name: str, which: str) -> "list[MlflowRun]":
    """The newest thousand finished runs of an experiment, the newest first; none where there is no such experiment."""
    experiment = client().get_experiment_by_name(name)
    if experiment is None:
        return []
    wanted, order = f"{which} and attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
    return list(client().search_runs([experiment.experiment_id], wanted, order_by=order, max_results=1000))


def _has(run_id: str, artifact: str) -> bool:
    return artifact in {file.path for file in client().list_artifacts(run_id)}


def link(artifact: str) -> str:
    """The page of an artifact of the running stage on the tracking server; "" where there is no server."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith("http"):
        return ""
    return f"{server.rstrip('/')}/#/experiments/{current().experiment}/runs/{stage_run_id()}/artifacts/{artifact}"


def log_curve(name: str, values: dict[int, float]) -> None:
    """One metric of the parent run over the steps that are given, such as numbers of training images."""
    from mlflow.entities import Metric

    client().log_batch(current().id, metrics=[Metric(name, float(v), 0, step) for step, v in values.items()])


def log_trial(
    name: str,
    tags: dict[str, str],
    params: dict[str, Any],
    metrics: dict[str, float],
    series: dict[str, dict[int, float]],
    span: tuple[int, int],
) -> None:
    """A run under the stage that is running, over already, in three calls; outside a run it does nothing.

    `series`: metrics over steps. `span`: when it began and ended, milliseconds since 1970.
    """
    from mlflow.entities import Metric, Param

    if not (parent := _stage.get()):
        return
    began, ended = span
    tags = {"mlflow.runName": name, "mlflow.parentRunId": parent} | tags
    run_id = _begin(current().experiment, tags, began)
    points = [(key, value, 0) for key, value in metrics.items()]
    points += [(key, value, step) for key, values in series.items() for step, value in values.items()]
    client().log_batch(
        run_id,
        metrics=[Metric(key, float(value), ended, step) for key, value, step in points],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client().set_terminated(run_id, "FINISHED", ended)


def log_dataset(dataset: DatasetRef) -> None:
    """Name the data set, with its digest and number of images, as the input of the parent run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = Dataset(
        name=current().name,
        digest=dataset.digest,
        source_type="local",
        source=f'{{"uri": "{home() / dataset.path}"}}',
        profile=str(dataset.counts).replace("'", '"'),
    )
    client().log_inputs(current().id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])


def artifact_uri(run_id: str, path: str) -> str:
    """Where an artifact of a run is."""
    return f"{client().get_run(run_id).info.artifact_uri}/{path}"


def stage_run_id() -> str:
    """The MLflow run of the stage that is running."""
    found = _stage.get()
    if found is None:
        raise RuntimeError("Expected to be inside a stage")
    return found


def _experiment(name: str) -> str:
    from mlflow.exceptions import MlflowException

    if found := client().get_experiment_by_name(name):
        return found.experiment_id
    where = None if _remote() else (home() / "artifacts" / name).as_uri()
    try:
        return client().create_experiment(name, artifact_location=where)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client().get_experiment_by_name(name).experiment_id  # another run was faster, or this one asked twice


def _begin(experiment: str, tags: dict[str, str], began: int | None = None) -> str:
    """A new run, and one alone, also where the first answer was lost and MLflow's client asked again."""
    request = uuid4().hex
    run_id = client().create_run(experiment, began, tags | {"headstart.request": request}).info.run_id
    if _remote():
        for other in client().search_runs([experiment], f"tags.`headstart.request` = '{request}'"):
            if other.info.run_id != run_id:
                client().delete_run(other.info.run_id)
    return run_id


def _remote() -> bool:
    """Whether MLflow is asked through a server."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")


def _log(run_id: str, metrics: dict[str, float] | None = None, params: dict[str, str] | None = None) -> None:
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    client().log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, 0) for key, value in (metrics or {}).items()],
        params=[Param(key, value) for key, value in (params or {}).items()],
    )


def _flat(values: Any, prefix: str = "") -> dict[str, str]:
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    if isinstance(values, dict) and (values or not prefix):
        return {k: v for key, part in values.items() for k, v in _flat(part, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: str(values)[:500]}
