"""Wait once: a Prefect server of our own starts in another process while this one imports what the run needs.

The server takes about 10 seconds, TensorFlow and Great Expectations 10 to 20, MLflow 4. A run with nothing new needs
neither TensorFlow nor Great Expectations and loads neither.
"""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from prefect import tags

from tasks import corrections, processes, progress, recovery, tracking
from tasks.errors import DependencyError
from tasks.ingest import ingest
from tasks.settings import Recipe

#: Seconds that a Prefect server may take to start.
STARTS = 120
LIBRARIES = ("tensorflow", "great_expectations")


@contextmanager
def up(recipe: Recipe | None = None) -> Iterator[None]:
    """Inside, the server answers and the libraries are loaded; runs that are begun carry this process' name.

    What processes that were killed have left behind is closed first.
    """
    os.environ[processes.PARENT] = processes.own()
    server = None if os.environ.get("PREFECT_API_URL") else _server()
    try:
        if recipe and not ingest.cached(recipe.source, recipe.split, recipe.images, corrections.of(recipe.name)):
            for name in LIBRARIES:
                import_module(name)
        tracking.client()
    finally:
        if server:
            server.join()
    for sentence in recovery.repair():
        progress.say(sentence)
    with tags(processes.own()):
        yield


def _server() -> threading.Thread:
    """Prefect's own server for runs without one, started ahead of the client that would wait for it."""
    from prefect.server.api.server import SubprocessASGIServer

    thread = threading.Thread(target=SubprocessASGIServer().start, name="prefect server")
    thread.start()
    return thread


@contextmanager
def server() -> Iterator[str]:
    """The address of the Prefect server of the environment; without one, of one that is there as long as the block."""
    if address := os.environ.get("PREFECT_API_URL"):
        yield address.removesuffix("/api")
        return
    port = next(port for port in (4200, 0) if (port := _free(port)))
    address = f"http://127.0.0.1:{port}"
    os.environ[processes.PARENT] = processes.own()
    words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own words
        try:
            _wait(f"{address}/api/health", process)
            os.environ["PREFECT_API_URL"] = f"{address}/api"
            yield address
        finally:
            process.terminate()


def tracking_address() -> str:
    """Where MLflow's pages are, or what shows them."""
    where = os.environ["MLFLOW_TRACKING_URI"]
    return where if where.startswith("http") else f"mlflow ui --backend-store-uri {where}"


def _free(port: int) -> int:
    """The port, or any where it is 0; 0 where it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(2 * STARTS):
        if process.poll() is not None:
            raise DependencyError(f"Expected a Prefect server at {address}, found that it ended: see the log.")
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - our own
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise DependencyError(f"Expected a Prefect server at {address} within {STARTS} seconds, found none.")
