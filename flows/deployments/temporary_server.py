"""The Prefect server of a command that finds none; Prefect's clients look for it by its class."""

import os
import socket
import subprocess
import threading
import time
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from flows.deployments import own_server


class TemporaryServer(SubprocessASGIServer):
    """As Prefect's, but listening before its process begins: whoever else listened there would be told the password."""

    _listener: socket.socket
    _process: subprocess.Popen[Any] | None = None
    _ready: threading.Event
    _given_up = False

    def begin(self) -> None:
        """Start it in a thread."""
        self._ready = threading.Event()
        threading.Thread(target=self._begin, name="prefect server", daemon=True).start()

    def wait(self) -> None:
        """Wait until it answers, or cannot be started: who asks it then is told why."""
        self._ready.wait()

    def give_up(self) -> None:
        """End it at once, whether it answers yet or not."""
        self._given_up = True
        if self._process:
            self._process.kill()

    def _begin(self) -> None:
        try:
            self.start()
        finally:
            self._ready.set()

    def find_available_port(self) -> int:
        """Listen at any free port, and tell it."""
        self._listener = own_server.listening()
        port: int = self._listener.getsockname()[1]
        return port

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        light = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
        given = get_current_settings().to_environment_variables(exclude_unset=True)
        self._process = process = own_server.started(self._listener, os.environ | light | given)
        if self._given_up:
            process.kill()
        deadline = time.monotonic() + own_server.STARTS
        # Prefect's own wait is for a port that refuses.
        while process.poll() is None and not own_server.answers(self.address, 1) and time.monotonic() < deadline:
            time.sleep(0.1)
        return process

    def stop(self) -> None:
        """End it for good."""
        super().stop()
        self._listener.close()
