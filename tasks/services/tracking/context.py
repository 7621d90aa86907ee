"""The run and the stage that the code runs under."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from tasks.records import StageLog
from tasks.services.tracking import outbox
from tasks.services.tracking.client import client

active_run: ContextVar["Run | None"] = ContextVar("run", default=None)
active_stage: ContextVar["str | None"] = ContextVar("stage", default=None)
active_notes: ContextVar["outbox.Notes | None"] = ContextVar("notes", default=None)


@dataclass
class Run:
    """The parent MLflow run of a flow run, and what its stages took."""

    id: str
    experiment: str
    name: str
    stages: dict[str, StageLog] = field(default_factory=dict)


def current() -> Run:
    """The parent run that the code runs under."""
    found = active_run.get()
    if found is None:
        raise RuntimeError("A stage runs inside a flow: `with tracking.run(...)`")
    return found


def stage_run_id() -> str:
    """The MLflow run of the stage that is running."""
    found = active_stage.get()
    if found is None:
        raise RuntimeError("Expected to be inside a stage")
    return found


def stage_digest() -> str:
    """What the result of the stage that is running is kept under; empty outside a run."""
    run_id = active_stage.get()
    return client().get_run(run_id).data.tags["headstart.digest"] if run_id else ""
