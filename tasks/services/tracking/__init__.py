"""MLflow for runs: a parent run for each flow run, a nested run for each stage, data sets and models.

Every call names its run, since MLflow's own stack of active runs is one per thread. MLflow's client waits for a server
that is down (`tasks/runtime/outages.py`) and sends requests without an answer again. Requests that create something are
written so that it exists only once; the others may be sent twice.
"""

from tasks.services.tracking.client import client, every
from tasks.services.tracking.context import (
    Run,
    current,
    stage_digest,
    stage_run_id,
)
from tasks.services.tracking.history import (
    LOOK,
    RETRAIN,
    SINCE,
    artifact_uri,
    decided,
    fetched,
    last,
    looks,
    newest,
    results,
    skipped,
    table,
)
from tasks.services.tracking.log import (
    dataset_name,
    describe,
    log_curve,
    log_dataset,
    log_drawn,
    log_epochs,
    log_file,
    log_files,
    log_losses,
    log_result,
    log_series,
    log_table,
    log_tag,
    log_to_run,
    log_trial,
    log_trials,
    page,
    write_table,
)
from tasks.services.tracking.runs import FLOW_RUN, PROCESS, close_dead, finish_stage, run, stage

__all__ = [
    "FLOW_RUN",
    "LOOK",
    "PROCESS",
    "RETRAIN",
    "SINCE",
    "Run",
    "artifact_uri",
    "client",
    "close_dead",
    "current",
    "dataset_name",
    "decided",
    "describe",
    "every",
    "fetched",
    "finish_stage",
    "last",
    "log_curve",
    "log_dataset",
    "log_drawn",
    "log_epochs",
    "log_file",
    "log_files",
    "log_losses",
    "log_result",
    "log_series",
    "log_table",
    "log_tag",
    "log_to_run",
    "log_trial",
    "log_trials",
    "looks",
    "newest",
    "page",
    "results",
    "run",
    "skipped",
    "stage",
    "stage_digest",
    "stage_run_id",
    "table",
    "write_table",
]
