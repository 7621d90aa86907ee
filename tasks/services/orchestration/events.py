"""Events that Headstart sends to a Prefect server."""

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import Event, RelatedResource, Resource, emit_event
from prefect.events.clients import get_events_client
from prefect.utilities.asyncutils import run_coro_as_sync

from tasks.runtime.errors import without_secrets

#: Events: a recipe's data have changed; its gates could not decide. And the resource that they are about.
EVENT, UNDECIDED, RESOURCE = "headstart.data", "headstart.undecided", "headstart.recipe."
#: Event: a run has failed. And the prefix of its resource, before the flow's name and the deployment's id.
FAILED, RUN = "headstart.failed", "headstart.run."
#: Event: another version has become the champion. And the prefix of its resource, before the model's name.
MOVED, MODEL = "headstart.champion", "headstart.model."


def announce(recipe: str, why: str) -> None:
    """Emit the event that the recipe's deployment waits for."""
    _emit(Event(event=EVENT, resource=Resource(_resource(recipe)), payload={"recipe": recipe, "why": why}))


def failed(flow: Flow[..., Any], run: FlowRun, state: State) -> None:
    """A flow's `on_failure`: emit the event that alerts wait for.

    Prefect acts on its own event of a scheduled run's failure 15 minutes late: it waits for the event of the run's
    scheduling, which was never emitted.
    """
    resource = {"prefect.resource.id": f"{RUN}{flow.name}.{run.deployment_id}", "prefect.resource.name": flow.name}
    payload = {"run": run.name, "message": without_secrets(state.message or "")}
    places = {"flow-run": run.id, "flow": run.flow_id, "deployment": run.deployment_id}
    related = [
        RelatedResource({"prefect.resource.id": f"prefect.{role}.{place}", "prefect.resource.role": role})
        for role, place in places.items()
        if place
    ]
    _emit(Event(event=FAILED, resource=Resource(resource), related=related, payload=payload))


def undecided(recipe: str, version: str, reason: str) -> None:
    """Emit the event that alerts wait for (`flows/deployments/alerts.py`), from inside a flow run."""
    emit_event(UNDECIDED, _resource(recipe), payload={"version": version, "reason": reason})


def moved(model: str, version: str, why: str) -> None:
    """Emit the event that a version has become the champion, from inside a flow run: deployments may wait for it."""
    resource = {"prefect.resource.id": f"{MODEL}{model}", "prefect.resource.name": model}
    emit_event(MOVED, resource, payload={"version": version, "why": why})


def _emit(event: Event) -> None:
    """Returns once the server has it."""

    async def emit() -> None:
        async with get_events_client(checkpoint_every=1) as client:
            await client.emit(event)

    run_coro_as_sync(emit())


def _resource(recipe: str) -> dict[str, str]:
    return {"prefect.resource.id": f"{RESOURCE}{recipe}", "prefect.resource.name": recipe}
