"""What the Prefect server tells people by itself: automations that call a webhook.

https://docs.prefect.io/v3/concepts/automations. The address is a secret: it comes from the environment and lies in a
block of the server, encrypted.
"""

import json
from datetime import timedelta
from urllib.parse import urlsplit

from prefect.automations import AutomationCore, EventTrigger
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook

from tasks.runtime.errors import UsageError
from tasks.services.orchestration import events

#: Environment variable with the address that is called, as of a Slack, Mattermost or Teams channel.
VARIABLE = "HEADSTART_WEBHOOK"
BLOCK = "headstart-alerts"
FLOWS = ("retrain", "score", "promote", "rollback")
FAILED = (
    "Headstart: the run {{ event.payload.run }} of {{ event.resource.name }} has failed. {{ event.payload.message }}"
)


def install(address: str) -> list[str]:
    """Have the server of PREFECT_API_URL call the address when a served run fails, or a verdict is undecided.

    Done again, it replaces what it made before. Returns the names of the automations. Raises `UsageError` where the
    address is none of http or https.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(
            f"Expected {VARIABLE} to hold an address that begins with https:// or http://, found another text."
        )
    hook = Webhook(url=address, headers={"Content-Type": "application/json"})
    block = hook.save(BLOCK, overwrite=True)
    made = [_failed(), _blind(), _crashed(), _undecided()]
    with get_client(sync_client=True) as client:
        for name, trigger, text in made:
            for old in client.read_automations_by_name(name):
                client.delete_automation(old.id)
            action = CallWebhook(block_document_id=block, payload=json.dumps({"text": text}))
            client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[action]))
    return [name for name, *_ in made]


def _failed() -> tuple[str, EventTrigger, str]:
    trigger = EventTrigger(expect={events.FAILED}, match=_runs(*FLOWS))
    return "headstart: a run has failed", trigger, FAILED


def _blind() -> tuple[str, EventTrigger, str]:
    """Watching fails again at each look, so each deployment of it is told of once an hour."""
    trigger = EventTrigger(
        expect={events.FAILED}, match=_runs("watch"), for_each={"prefect.resource.id"}, within=timedelta(hours=1)
    )
    text = f"{FAILED} New data start no training until it can look again. This is said once an hour."
    return "headstart: watching has failed", trigger, text


def _runs(*flows: str) -> dict[str, list[str]]:
    return {"prefect.resource.id": [f"{events.RUN}{name}.*" for name in flows]}


def _crashed() -> tuple[str, EventTrigger, str]:
    """Of a process that is gone only Prefect tells, of a scheduled run after 15 minutes (see `arrivals.failed`)."""
    trigger = EventTrigger(
        expect={"prefect.flow-run.Crashed"},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": [*FLOWS, "watch"]},
    )
    return "headstart: a run has crashed", trigger, "Headstart: the run {{ flow_run.name }} has crashed."


def _undecided() -> tuple[str, EventTrigger, str]:
    trigger = EventTrigger(expect={events.UNDECIDED}, match={"prefect.resource.id": f"{events.RESOURCE}*"})
    text = (
        "Headstart: the gates of {{ event.resource.name }} are undecided about version {{ event.payload.version }}. "
        "{{ event.payload.reason }}"
    )
    return "headstart: a verdict is undecided", trigger, text
