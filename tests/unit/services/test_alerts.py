"""What an alert sends is JSON, whatever stands in the message of a run."""

import json

import pytest
from prefect.client.orchestration import get_client
from prefect.server.utilities.user_templates import render_user_template_sync, validate_user_template

from flows.deployments import alerts


@pytest.mark.parametrize(
    "message",
    [
        "plain",
        'a "quoted" word',
        "two\nlines\r\n",
        "C:\\photos\\u0041",
        "ü 猫 \u2028",
        "{{ 7 * 7 }} {% raw %}",
        "</script>&'",
    ],
)
def test_the_body_of_an_alert_is_json_with_the_message_as_it_is(message):
    event = {
        "payload": {"run": message, "message": message, "version": "3", "reason": message},
        "resource": {"name": message},
    }
    for _, _, text in (alerts._failed(), alerts._watch_failed(), alerts._crashed(), alerts._undecided()):
        template = alerts.payload(text)
        validate_user_template(template)
        body = json.loads(render_user_template_sync(template, {"event": event, "flow_run": {"name": message}}))
        assert list(body) == ["text"]
        assert message in body["text"]


def test_without_an_address_the_server_calls_nobody_any_more_and_forgets_the_one_it_had(server):
    def kept():
        with get_client(sync_client=True) as client:
            blocks = client.read_block_documents()
            return [one.name for one in client.read_automations()], [one.name for one in blocks]

    made = alerts.install("https://example.org/hook")
    automations, blocks = kept()
    assert len(made) == 4 and set(made) <= set(automations) and alerts.BLOCK in blocks
    assert alerts.install(None) == alerts.install("") == []
    automations, blocks = kept()
    assert not set(made) & set(automations) and alerts.BLOCK not in blocks
