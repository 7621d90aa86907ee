"""The current run and the current stage."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from tasks.records import StageLog
from tasks.services.tracking import epochs, outbox
from tasks.services.tracking.client import client

#: Tags of a run that begin so have the checksum of the table whose name follows.
CHECKSUM = "headstart.crc32."
#: MLflow's tag of a run with its description, Markdown.
DESCRIPTION = "mlflow.note.content"

active_run: ContextVar["Run | None"] = ContextVar("run", default=None)
active_stage: ContextVar["str | None"] = ContextVar("stage", default=None)
active_notes: ContextVar["outbox.Notes | None"] = ContextVar("notes", default=None)
active_epochs: ContextVar["epochs.Epochs | None"] = ContextVar("epochs", default=None)


@dataclass
class Run:
    """The parent MLflow run of a flow run, and the time that its stages took."""

    id: str
    experiment: str
    name: str
    #: Tags that say where it comes from, for its nested runs too.
    origin: dict[str, str]
    stages: dict[str, StageLog] = field(default_factory=dict)
    #: SHA-256 of files among its artifacts, by name: those that the seal of its version covers.
    sent: dict[str, str] = field(default_factory=dict)
    #: What computes the rows of a table again that are lost, by the table's name and the digest of its result.
    fills: dict[str, dict[str, Callable[[], None]]] = field(default_factory=dict)


def current() -> Run:
    """The current parent run."""
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
    """The cache key of the running stage's result; empty outside a run."""
    run_id = active_stage.get()
    return client().get_run(run_id).data.tags["headstart.digest"] if run_id else ""
