"""Servers for `headstart serve`. Nothing here imports Prefect, which reads its server's address when it is imported."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.runtime import own_server, processes
from tasks.runtime.errors import DependencyError, without_secrets

#: Seconds that a Prefect server may take to start.
STARTS = 120


@contextmanager
def prefect() -> Iterator[tuple[str, Path | None]]:
    """The address of the environment's Prefect server; without one, start a server that runs as long as the block.

    Beside it the file with the password of a server that was started here.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        yield address.removesuffix("/api"), None
        return
    port = _free(4200) or _free(0)
    address = f"http://127.0.0.1:{port}"
    password = own_server.lock(address)
    os.environ[processes.PARENT] = processes.own()
    os.environ["PREFECT_API_URL"] = os.environ["PREFECT_UI_API_URL"] = f"{address}/api"
    command = [sys.executable, "-m", "flows.deployments.locked_server", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own command
        try:
            _wait(f"{address}/api/health", process)
            with own_server.announced(address, password) as file:
                yield address, file
        finally:
            process.terminate()


def tracking_address() -> str:
    """The address of MLflow's pages, or the command that shows them."""
    where = without_secrets(os.environ["MLFLOW_TRACKING_URI"])
    return where if where.startswith("http") else f"mlflow ui --backend-store-uri {where}"


def _free(port: int) -> int:
    """The port if it is free, else 0; for 0, any free port."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(2 * STARTS):
        if process.poll() is not None:
            raise DependencyError(f"Expected a Prefect server at {address}, but it stopped: see the log.")
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - our own address
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise DependencyError(f"Expected a Prefect server at {address} within {STARTS} seconds, found none.")
