"""What the Prefect server does by itself: it calls a webhook, and closes runs whose process has gone silent.

https://docs.prefect.io/v3/concepts/automations. The webhook's address is a secret: it comes from the environment and is
stored, encrypted, in a block of the server.
"""

from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.exceptions import ObjectNotFound

from tasks.runtime.errors import UsageError
from tasks.services.orchestration import events

#: Environment variable with the webhook's address, such as that of a Slack, Mattermost or Teams channel.
VARIABLE = "HEADSTART_WEBHOOK"
BLOCK = "headstart-alerts"
FLOWS = ("retrain", "score", "promote", "rollback")
FAILED = (
    "Headstart: the run {{ event.payload.run }} of {{ event.resource.name }} has failed. {{ event.payload.message }}"
)
#: Flows whose runs are closed when they are silent. Not `promote`: it is suspended until a person has answered.
WATCHED = ("train", "retrain", "compare", "score", "watch", "rollback")
#: How long a run may be silent: three heartbeats, which Prefect sends every three minutes
#: (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`), and more than a client waits for a server that is away.
SILENCE = timedelta(minutes=10)


def watch_over(silence: timedelta = SILENCE) -> str:
    """Make the server of PREFECT_API_URL mark a run as crashed once it has sent no heartbeat for so long.

    Its process, its container or its machine may be gone, which nobody else can tell from outside
    (https://docs.prefect.io/v3/advanced/detect-zombie-flows). An automation of the same kind is kept, since it knows
    who has been heard already. Returns its name. A run that has ended stays as it is, even if its last event is late.
    """
    ended = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{each.value.capitalize()}" for each in ended)},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(WATCHED)},
        for_each={"prefect.resource.id"},
        within=silence,
    )
    message = f"Nothing was heard of its process for {silence.total_seconds() / 60:.0f} minutes."
    action = ChangeFlowRunState(state=StateType.CRASHED, message=message)
    wanted = AutomationCore(name="headstart: a run has gone silent", trigger=trigger, actions=[action])
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(wanted.name)
        for old in there:
            if _kind(old) != _kind(wanted):
                client.delete_automation(old.id)
        if not any(_kind(old) == _kind(wanted) for old in there):
            client.create_automation(wanted)
    return wanted.name


def _kind(automation: AutomationCore) -> dict[str, object]:
    return automation.model_dump(mode="json", include={"trigger", "actions"})


def install(address: str | None) -> list[str]:
    """Make the server of PREFECT_API_URL call the address when a served run fails or a verdict is undecided.

    Calling it again replaces the automations that it made before. Without an address it deletes them, and the address
    that the server keeps. Returns their names; none without an address. Raises `UsageError` for an address that is not
    http or https.
    """
    if not address:
        _remove()
        return []
    if urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(
            f"Expected {VARIABLE} to hold an address that starts with https:// or http://, found other text."
        )
    hook = Webhook(url=address, headers={"Content-Type": "application/json"})
    block = hook.save(BLOCK, overwrite=True)
    made = _made()
    with get_client(sync_client=True) as client:
        _delete(client)
        for name, trigger, text in made:
            action = CallWebhook(block_document_id=block, payload=payload(text))
            client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[action]))
    return [name for name, *_ in made]


def _remove() -> None:
    with get_client(sync_client=True) as client:
        _delete(client)
        with suppress(ObjectNotFound):
            client.delete_block_document(client.read_block_document_by_name(BLOCK, "webhook").id)


def _made() -> list[tuple[str, EventTrigger, str]]:
    return [_failed(), _watch_failed(), _crashed(), _undecided()]


def _delete(client: SyncPrefectClient) -> None:
    for name, *_ in _made():
        for old in client.read_automations_by_name(name):
            client.delete_automation(old.id)


def payload(text: str) -> str:
    """The template of a JSON body whose `text` is that of a template, whatever comes to stand in it."""
    return f'{{"text": {{% filter tojson %}}{text}{{% endfilter %}}}}'


def _failed() -> tuple[str, EventTrigger, str]:
    trigger = EventTrigger(expect={events.FAILED}, match=_runs(*FLOWS))
    return "headstart: a run has failed", trigger, FAILED


def _watch_failed() -> tuple[str, EventTrigger, str]:
    """Watching fails again at each check, so each of its deployments is reported at most once an hour."""
    trigger = EventTrigger(
        expect={events.FAILED}, match=_runs("watch"), for_each={"prefect.resource.id"}, within=timedelta(hours=1)
    )
    text = f"{FAILED} New data will not start training until watching works again. This alert comes once an hour."
    return "headstart: watching has failed", trigger, text


def _runs(*flows: str) -> dict[str, list[str]]:
    return {"prefect.resource.id": [f"{events.RUN}{name}.*" for name in flows]}


def _crashed() -> tuple[str, EventTrigger, str]:
    """Only Prefect reports a process that is gone; for a scheduled run after 15 minutes (see `events.failed`)."""
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
