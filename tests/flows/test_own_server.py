"""The server of `headstart serve` when it cannot be kept up."""

import sys

import pytest

from flows.deployments import servers
from tasks.runtime.errors import DependencyError


def test_a_server_that_ends_again_and_again_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(servers, "TRIES", 1)
    server = servers.OwnServer(9)
    server._command = [sys.executable, "-S", "-c", "raise SystemExit(7)"]
    with pytest.raises(DependencyError, match="but it stopped"):
        server.start()
    with pytest.raises(KeyboardInterrupt):
        server.watch()
    assert "has ended (exit code 7), 2 times in a row" in str(server.error)


def test_a_server_that_is_stopped_is_not_started_again():
    server = servers.OwnServer(9)
    server.stop()
    server.start()
    server.watch()
    assert server._process is None
