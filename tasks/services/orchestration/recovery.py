"""Clean up after a killed process: close its runs in MLflow and Prefect, and stop its Prefect server.

Each run carries the name of its process (`tasks/runtime/processes.py`). A run that is marked as running although its
process is gone has crashed. Its finished stages stay in the cache, and the same command continues from there. Whether a
process of another machine is gone cannot be seen from here; the Prefect server closes its run once it has been silent
for too long (`flows/deployments/alerts.py`), and the run in MLflow is then closed here.
"""

import os
from contextlib import suppress
from typing import Any
from uuid import UUID

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
from tasks.services.orchestration.pages import every

UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
#: What the command line of a server that Headstart has started holds: Prefect's own, and `locked_server`.
SERVERS = {"prefect.server.api.server:create_app", "flows.deployments.locked_server"}


def repair() -> list[str]:
    """Close what dead processes of this machine left behind; returns a sentence for each run and server."""
    messages = []
    for server in servers_left():
        with suppress(psutil.NoSuchProcess):
            server.terminate()
            messages.append(f"The Prefect server of a killed process has been stopped (process {server.pid}).")
    with get_client(sync_client=True) as client:
        dead = tracking.close_dead(lambda process, run: processes.gone(process) or _ended(client, run))
        messages += [f"The MLflow run {name} is closed as killed: its process is gone." for name in dead.values()]
        for run in _under_way(client):
            if str(run.id) in dead or any(map(processes.gone, run.tags)):
                _close(client, run)
                messages.append(f"The Prefect run {run.name} is closed as crashed: its process is gone.")
    processes.forget()
    return messages


def _ended(client: SyncPrefectClient, run: str) -> bool:
    """Whether the Prefect server knows the run and has closed it; a run of MLflow ends before its run of Prefect."""
    with suppress(ObjectNotFound, ValueError):
        state = client.read_flow_run(UUID(run)).state
        return state is not None and state.is_final()
    return False


def _under_way(client: SyncPrefectClient) -> list[FlowRun]:
    query = filters.FlowRunFilter(state=_in(filters.FlowRunFilterState, filters.FlowRunFilterStateType))
    return list(every(client.read_flow_runs, flow_run_filter=query, sort=FlowRunSort.ID_DESC))


def _close(client: SyncPrefectClient, run: FlowRun) -> None:
    state = Crashed(message="The process was killed. The same command continues after the finished stages.")
    within = filters.TaskRunFilter(
        flow_run_id=filters.TaskRunFilterFlowRunId(any_=[run.id]),
        state=_in(filters.TaskRunFilterState, filters.TaskRunFilterStateType),
    )
    with suppress(ObjectNotFound):  # deleted in the meantime
        for task in list(every(client.read_task_runs, task_run_filter=within, sort=TaskRunSort.ID_DESC)):
            client.set_task_run_state(task.id, state, force=True)
        client.set_flow_run_state(run.id, state, force=True)


def _in(of_state: Any, of_type: Any) -> Any:
    return of_state(type=of_type(any_=UNDER_WAY))


def servers_left() -> list[psutil.Process]:
    """Prefect servers of this home folder whose parent process ended before it could stop them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if not SERVERS & set(process.info["cmdline"] or []):
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
