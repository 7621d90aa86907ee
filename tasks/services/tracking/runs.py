"""MLflow for runs: a parent run for each flow run, a nested run for each stage, data sets and models.

Every call names its run, since MLflow's own stack of active runs is one per thread. MLflow's client waits for a server
that is down (`tasks/runtime/outages.py`) and sends requests without an answer again. Requests that create something are
written so that it exists only once; the others may be sent twice.
"""

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.records import StageLog
from tasks.runtime import git, outages, processes
from tasks.runtime.errors import HeadstartError, brief, settings_without_secrets, without_secrets
from tasks.runtime.escapes import markdown
from tasks.services.tracking import context, log, outbox
from tasks.services.tracking.client import LONGEST, begin_run, client, every, experiment_id, flat, log_batch
from tasks.services.tracking.context import DESCRIPTION, Run, current
from tasks.services.tracking.epochs import Epochs

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

#: Artifact of a parent run: all settings, JSON.
RECIPE = "recipe.json"
#: Tags of a parent run: the process that works on it (`tasks/runtime/processes.py`), and the Prefect run of it.
PROCESS, FLOW_RUN = "headstart.process", "headstart.flow_run"


@contextmanager
def run(name: str, flow: str, settings: dict[str, Any], flow_run: str | None = None) -> Iterator[Run]:
    """A parent run in the experiment `name`, ended as FINISHED or FAILED; its parameters are the flat settings.

    `flow_run`: the Prefect run that it belongs to.
    """
    experiment, what = experiment_id(name), f"The flow {flow} of {name}"
    origin = _origin(flow, name)
    tags = origin | {
        "mlflow.runName": f"{flow} {name}",
        DESCRIPTION: markdown(f"{what} has not ended yet."),
        "headstart.flow": flow,
        "headstart.python": platform.python_version(),
        PROCESS: processes.own(),
        FLOW_RUN: flow_run or "",
    }
    current = Run(begin_run(experiment, tags), experiment, name, origin)
    settings = settings_without_secrets(settings)
    log_batch(current.id, params=flat(settings))
    recipe = json.dumps(settings, indent=1, default=str)
    client().log_text(current.id, recipe, RECIPE)
    current.sent[RECIPE] = sha256(recipe.encode()).hexdigest()
    token = context.active_run.set(current)
    try:
        with _ended(current.id), _told(current.id, what):
            yield current
    finally:
        context.active_run.reset(token)


@contextmanager
def _told(run_id: str, what: str) -> Iterator[None]:
    """If it fails, the description of the run says so, and why."""
    try:
        yield
    except BaseException as error:
        if outages.server(error) != "MLflow":
            why = brief(error) if isinstance(error, Exception) else f"it was ended ({type(error).__name__})"
            if isinstance(error, HeadstartError):
                why = str(error)[:LONGEST]
            client().set_tag(run_id, DESCRIPTION, markdown(without_secrets(f"{what} failed: {why}")))
        raise


def _origin(flow: str, name: str) -> dict[str, str]:
    """MLflow's tags of where a run comes from; its user and the rest are added to those of every run."""
    found = {"mlflow.source.name": f"headstart {flow} {name}", "mlflow.source.type": "LOCAL"}
    commit, _, changes = git.commit(Path.cwd()).partition(" ")
    if commit:
        found |= {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changes)).lower()}
    return found


@contextmanager
def stage(name: str, digest: str, settings: dict[str, Any]) -> Iterator[str]:
    """A nested run named after the stage, which gets the stage's logs at its end. Yields the run's id."""
    parent = current()
    tags = parent.origin | {
        "mlflow.runName": name,
        "mlflow.parentRunId": parent.id,
        "headstart.stage": name,
        "headstart.digest": digest,
    }
    run_id = begin_run(parent.experiment, tags)
    log_batch(run_id, params=flat(settings_without_secrets(settings)))
    with TemporaryDirectory() as drawn:
        own = outbox.Notes(Path(drawn))
        sender = Epochs(run_id)
        tokens = context.active_stage.set(run_id), context.active_notes.set(own), context.active_epochs.set(sender)

        def last() -> None:
            sender.end()
            own.save(digest)  # the stage's result is kept already: who is killed now must not lose what goes with it
            log.send(run_id, digest, own)

        try:
            with _ended(run_id, last):
                yield run_id
        except BaseException as error:
            if outages.server(error) == "MLflow":
                own.save(digest)
            raise
        finally:
            context.active_stage.reset(tokens[0])
            context.active_notes.reset(tokens[1])
            context.active_epochs.reset(tokens[2])


@contextmanager
def _ended(run_id: str, last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """End a run as FINISHED or FAILED, after `last`. If the server is down, do not wait for it again."""
    try:
        try:
            yield
        except BaseException as error:
            if outages.server(error) != "MLflow":
                last()
            raise
        last()
    except BaseException as error:
        if outages.server(error) != "MLflow":
            client().set_terminated(run_id, "FAILED")
        raise
    client().set_terminated(run_id, "FINISHED")


def close_dead(gone: Callable[[str, str], bool]) -> dict[str, str]:
    """End runs that are `gone`, and their stages' runs; returns their names by Prefect run.

    `gone`: whether a run has ended, by its process and its Prefect run, which may be "".
    """
    experiments = [each.experiment_id for each in every(client().search_experiments)]
    closed = {}
    for parent in _running(experiments, f"tags.`{PROCESS}` != ''"):
        if not gone(parent.data.tags[PROCESS], parent.data.tags.get(FLOW_RUN, "")):
            continue
        own = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        stages = _running([parent.info.experiment_id], own)
        trials = [
            trial
            for each in stages
            for trial in _running([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{each.info.run_id}'")
        ]
        for each in (*trials, *stages, parent):
            client().set_tag(each.info.run_id, "headstart.crashed", "true")
            client().set_terminated(each.info.run_id, "KILLED")
        client().set_tag(parent.info.run_id, DESCRIPTION, "Its process was killed. A later command has closed the run.")
        closed[parent.data.tags.get(FLOW_RUN) or parent.info.run_id] = parent.data.tags["mlflow.runName"]
    return closed


def _running(experiments: list[str], which: str) -> "list[MlflowRun]":
    query = f"attributes.status = 'RUNNING' and {which}"
    return list(every(client().search_runs, experiments, query)) if experiments else []


def finish_stage(name: str, log: StageLog, numbers: dict[str, float]) -> None:
    """Write a stage's seconds, whether it was cached, and its record's numbers to its run and the parent's."""
    current().stages[name] = log
    run_id = context.active_stage.get() or current().id
    client().set_tag(run_id, "headstart.cached", str(log.cached).lower())
    log_batch(run_id, metrics=numbers | {"seconds": log.seconds})
    log_batch(
        current().id, metrics={f"{name}.{key}": value for key, value in (numbers | {"seconds": log.seconds}).items()}
    )
