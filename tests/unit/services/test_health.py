"""What `doctor` says of servers."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tasks.services import health


@pytest.fixture
def answers():
    """A server that gives a status to each request, and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self):
            self.send_response(200 if self.path.endswith("/health") else self.server.status)
            self.end_headers()

        def log_message(self, *words):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("status", "told"), [(200, True), (401, False)])
def test_a_server_that_answers_everybody_is_named_without_its_password(answers, status, told, monkeypatch):
    answers.status = status
    for variable, path in (("PREFECT_API_URL", "/api"), ("MLFLOW_TRACKING_URI", "")):
        monkeypatch.setenv(variable, f"http://me:hidden@127.0.0.1:{answers.server_port}{path}")
    assert len(health.open_servers()) == (2 if told else 0)
    for row in health.checks():
        if "server" in row["check"]:
            assert row["ok"]
            assert ("asks for no password" in row["details"]) == told
            assert "hidden" not in row["details"]


def test_keys_are_looked_at_where_there_are_any(tmp_path, monkeypatch):
    assert health._keys() == []
    monkeypatch.setenv("HEADSTART_VERIFY_KEY", str(tmp_path / "absent.pem"))
    (row,) = health._keys()
    assert not row["ok"]
    assert "absent.pem" in row["details"]
