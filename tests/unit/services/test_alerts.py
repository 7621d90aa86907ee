"""What an alert sends is JSON, whatever stands in the message of a run."""

import json

import pytest
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
