"""What a process that was killed leaves behind is closed: its runs in MLflow and Prefect, and its Prefect server.

Each run carries the name of its process (`tasks/runtime/processes.py`). A run that is under way by its own word while
its process is gone has crashed. Its finished stages stay in the cache, and the same command goes on from there.
Prefect's slots are let go with its run, locks of a database with the process.
"""

import os
from contextlib import suppress
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks.runtime import processes
from tasks.runtime.processes import PARENT
from tasks.services import tracking

UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
PAGE = 200


def repair() -> list[str]:
    """Close what is left of dead processes of this machine; a sentence for each run and server."""
    said = []
    for server in servers_left():
        with suppress(psutil.NoSuchProcess):
            server.terminate()
            said.append(f"The Prefect server of a process that was killed has been ended (process {server.pid}).")
    dead = tracking.close_dead(processes.gone)
    said += [f"The MLflow run {name} is closed as killed: its process is gone." for name in dead.values()]
    with get_client(sync_client=True) as client:
        for run in _under_way(client):
            if str(run.id) in dead or any(map(processes.gone, run.tags)):
                _close(client, run)
                said.append(f"The Prefect run {run.name} is closed as crashed: its process is gone.")
    return said


def _under_way(client: SyncPrefectClient) -> list[FlowRun]:
    wanted = filters.FlowRunFilter(state=_in(filters.FlowRunFilterState, filters.FlowRunFilterStateType))
    found: list[FlowRun] = []
    while len(page := _page(client, wanted, len(found))) == PAGE:
        found += page
    return found + page


def _page(client: SyncPrefectClient, wanted: filters.FlowRunFilter, offset: int) -> list[FlowRun]:
    return client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset)


def _close(client: SyncPrefectClient, run: FlowRun) -> None:
    state = Crashed(message="The process was killed. The same command goes on from the stages that were done.")
    within = filters.TaskRunFilter(
        flow_run_id=filters.TaskRunFilterFlowRunId(any_=[run.id]),
        state=_in(filters.TaskRunFilterState, filters.TaskRunFilterStateType),
    )
    with suppress(ObjectNotFound):  # deleted meanwhile
        for task in client.read_task_runs(task_run_filter=within, sort=TaskRunSort.ID_DESC, limit=PAGE):
            client.set_task_run_state(task.id, state, force=True)
        client.set_flow_run_state(run.id, state, force=True)


def _in(of_state: Any, of_type: Any) -> Any:
    return of_state(type=of_type(any_=UNDER_WAY))


def servers_left() -> list[psutil.Process]:
    """Prefect servers of this home folder whose starter was ended before it could end them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "prefect.server.api.server:create_app" not in (process.info["cmdline"] or []):
            continue
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("PREFECT_HOME") == os.environ.get("PREFECT_HOME") and processes.gone(
            environment.get(PARENT, "")
        ):
            found.append(process)
    return found
