"""Runs for new data: one per burst of new files, none while a waiting run will include them.

A variable of the Prefect server, shared by all watchers, holds the source's listing digest of when the last run was
started, and which run that is: if its process dies or the machine fails, another one is started for the same files.
"""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable

from tasks.runtime.errors import DataError, UsageError
from tasks.services.orchestration.pages import every

WAITING = [StateType.SCHEDULED, StateType.PENDING]
#: How many runs are started for the same files, each after the one before came to nothing: after 1, 4, 16, 64 minutes.
ATTEMPTS, PAUSE = 5, timedelta(minutes=1)
#: What would fail again.
LASTING = (DataError.__name__, UsageError.__name__)


def settled(listing: Callable[[], str], seconds: float) -> str:
    """The digest of the listing, once it has not changed for `seconds`."""
    found = listing()
    while True:
        time.sleep(seconds)
        if (now := listing()) == found:
            return found
        found = now


def handled(recipe: str) -> str:
    """Digest of the source's listing when a run was last started for it; "" if none was, or if that came to nothing."""
    kept = _kept(recipe)
    attempt = kept.get("attempt", ATTEMPTS)
    again = attempt < ATTEMPTS and _came_to_nothing(kept["run"], PAUSE * 4 ** (attempt - 1))
    return "" if again else kept.get("fingerprint", "")


def start(recipe: str, deployment: str, listing_digest: str, why: str) -> str:
    """Start one run of the deployment for the source's current content; returns what was done, and why.

    Raises `UsageError` if the server has no such deployment.
    """
    waiting, kept = _waiting(deployment), _kept(recipe)
    attempt = kept.get("attempt", 0) + 1 if kept.get("fingerprint") == listing_digest else 1
    if waiting:
        run = waiting[0]
        message = f"{run.name} is already waiting and will include the new data"
    else:
        run = run_deployment(
            deployment,
            parameters={"why": why},
            timeout=0,
            as_subflow=False,
            # The run before it, as files may come back to what they were.
            idempotency_key=f"{recipe} {listing_digest} {attempt} {kept.get('run', '')}",
        )
        message = f"{run.name} was started: {why}{' (the run before came to nothing)' if attempt > 1 else ''}"
    handled_by = {"recipe": recipe, "fingerprint": listing_digest, "run": str(run.id), "attempt": attempt}
    Variable.set(_variable(recipe), json.dumps(handled_by), overwrite=True)
    return message


def _kept(recipe: str) -> dict[str, Any]:
    """What the variable holds; nothing if there is none."""
    found: dict[str, Any] = json.loads(str(Variable.get(_variable(recipe), default="{}")))
    return found


def _came_to_nothing(run: str, pause: timedelta) -> bool:
    """Whether a run has ended so long ago because its process died or the machine failed, which may be over."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run)).state
        except ObjectNotFound:  # somebody has deleted it
            return False
    if state is None or datetime.now(UTC) - state.timestamp < pause:
        return False
    # Prefect's message has the name of the error's class.
    return state.is_crashed() or (state.is_failed() and not any(name in (state.message or "") for name in LASTING))


def _waiting(deployment: str) -> list[FlowRun]:
    """Runs of the deployment that are due and have not started, the newest first."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            raise UsageError(
                f"Expected the deployment {deployment} on the Prefect server, found none. Create it with headstart "
                "serve RECIPE or prefect deploy --all."
            ) from None
        waiting = filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[found.id]),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=WAITING)),
        )
        # Runs of a schedule are listed long before their time.
        runs = every(client.read_flow_runs, flow_run_filter=waiting, sort=FlowRunSort.ID_DESC)
        return [run for run in runs if not run.auto_scheduled]


def _variable(recipe: str) -> str:
    """Prefect takes lower-case letters, digits and underscores."""
    return f"headstart_watch_{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
