"""The password of our own Prefect server, and how other commands of its home find it."""

import json
import os
import socket
import stat

import pytest

from flows.deployments import own_server
from tasks.runtime.errors import UsageError


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A home of its own, and an environment that is put back."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    (tmp_path / "prefect").mkdir()
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "*")


def test_each_start_has_another_password_for_its_own_pages_alone(alone):
    first, second = own_server.lock("http://127.0.0.1:4201"), own_server.lock("http://127.0.0.1:4202")
    assert first != second
    assert len(second) > 40
    assert os.environ["PREFECT_SERVER_API_AUTH_STRING"] == os.environ["PREFECT_API_AUTH_STRING"] == second
    assert os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4202"


def test_a_server_that_runs_is_found_and_one_that_has_ended_is_not(alone):
    assert not own_server.find()
    with own_server.announced("http://127.0.0.1:4201", "headstart:secret") as file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        left = file.read_text()
        assert own_server.find()
        assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
        assert os.environ["PREFECT_API_AUTH_STRING"] == "headstart:secret"
    assert not file.exists()
    os.environ["PREFECT_API_URL"] = ""
    place, number, start = json.loads(left)["process"].rsplit("/", 2)
    file.write_text(json.dumps(json.loads(left) | {"process": f"{place}/{number}/{int(start) - 9}"}))
    assert not own_server.find()


def test_a_server_that_the_environment_names_is_not_replaced(alone):
    os.environ["PREFECT_API_URL"] = "http://elsewhere/api"
    with own_server.announced("http://127.0.0.1:4201", "headstart:secret"):
        assert own_server.find()
    assert os.environ["PREFECT_API_URL"] == "http://elsewhere/api"
    assert os.environ["PREFECT_API_AUTH_STRING"] == ""


def test_nobody_else_can_listen_at_an_address_that_is_kept_for_a_server():
    with own_server.listening() as kept:
        taken = kept.getsockname()
        with pytest.raises(OSError, match="in use"):
            socket.create_server(taken)
        with own_server.listening(taken[1]) as other:
            assert other.getsockname()[1] not in (0, taken[1])


def test_one_process_serves_a_home(alone):
    with own_server.only(), own_server.announced("http://127.0.0.1:4201", "headstart:secret") as file:
        with pytest.raises(UsageError, match=r"no other headstart serve .* found one at http://127.0.0.1:4201"):
            own_server.only().__enter__()
        assert file.exists()
    with own_server.only():
        pass
