"""No secret is in what is shown or kept, wherever it stands in a text."""

import logging

import pytest

from flows.deployments import servers
from tasks.runtime.errors import without_secrets
from tasks.services import health, tracking
from tasks.services.orchestration import monitoring


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("http://ada:hidden@h:1/a", "http://h:1/a"),
        ("http://ada:hid@d/en@h:1/a", "http://h:1/a"),
        ("postgresql://ada:hid/den@h/db", "postgresql://h/db"),
        ("postgresql://ada:hid?den#x@h/db", "postgresql://h/db"),
        ("see https://ghp_hidden@h/a, then", "see https://h/a, then"),
        ("s3://key:hidden@bucket/a?versionId=3", "s3://bucket/a"),
        ("https://h/a?X-Amz-Signature=hidden&x=1", "https://h/a"),
        ("https://h/a?email=ada@h&token=hidden", "https://h/a"),
        ("url: /api/2.0/runs?token=hidden (Caused by", "url: /api/2.0/runs (Caused by"),
        ("connect(host='h', password='hidden')", "connect(host='h', password='***')"),
        ("aws_secret_access_key = hidden", "aws_secret_access_key = ***"),
        ('{"password": "hidden", "user": 1}', '{"password": "***", "user": 1}'),
        ("Authorization: Basic aGlkZGVu", "Authorization: Basic ***"),
        ("'authorization': 'Bearer hidden.x'", "'authorization': 'Bearer ***'"),
        ("ada:hidden@h/db", "h/db"),
        ("http://h/photos/me@home/1.jpg", "http://h/photos/me@home/1.jpg"),
        ("http://[::1]:80/me@home", "http://[::1]:80/me@home"),
        ("s3://bucket/me@home/1.jpg", "s3://bucket/me@home/1.jpg"),
        ("Expected a photo, found what? See a?b.png.", "Expected a photo, found what? See a?b.png."),
        ("Unexpected token: 3", "Unexpected token: 3"),
    ],
)
def test_a_text_has_no_secret_and_says_the_rest(said, shown):
    assert without_secrets(said) == shown


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "abcdef/ghi+jkl",
    "AWS_SESSION_TOKEN": "session-token-1",
    "PREFECT_API_AUTH_STRING": "ada:of-prefect",
    "MLFLOW_TRACKING_PASSWORD": "it's of mlflow",
    "MLFLOW_TRACKING_URI": "https://ada:of%20the%20address@h/mlflow",
    "HEADSTART_WEBHOOK": "https://hooks.example.org/T0/B0/secret",
}


@pytest.mark.parametrize("secret", [*list(SECRETS.values())[:2], "of-prefect", "it's of mlflow", "of the address"])
def test_what_the_environment_holds_is_in_no_text(monkeypatch, secret):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert secret not in without_secrets(f"refused ({secret!s}), see {secret}")


def test_short_and_public_values_of_the_environment_stay(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pets")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "parallel")
    assert without_secrets("pets in parallel") == "pets in parallel"


@pytest.mark.parametrize("address", ["https://ada:hid/d@en@h/mlflow", "postgresql://ada:hid/d@en@h/db"])
def test_no_command_shows_or_keeps_the_password_of_a_server(monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(health, "_status", lambda *asked: 200)
    monkeypatch.setattr("tasks.services.tracking.log.current", lambda: tracking.Run("1", "2", "pets", {}))
    for text in (str(health._tracking()), servers.tracking_address(), tracking.page("report.html")):
        assert not any(part in text for part in ("ada", "hid", "en@"))


def test_a_runs_log_has_no_secret_not_even_in_a_trace():
    try:
        raise ValueError("http://ada:hidden@h/a")
    except ValueError as error:
        trace = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.INFO, "x", 1, "asked %s", ("http://ada:hidden@h/b",), trace)
    text = monitoring._Bare(monitoring.LINE).format(record)
    assert "http://h/a" in text
    assert "http://h/b" in text
    # The line of the code itself is in the trace, too.
    assert "hidden" not in text
