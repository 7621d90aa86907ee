"""Wait only once: our own Prefect server starts in another process while this one imports what the run needs.

The server takes about 10 seconds, TensorFlow and Great Expectations 10 to 20, MLflow 4. A run with nothing new needs
neither TensorFlow nor Great Expectations and loads neither.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING

import httpx
from prefect import tags
from prefect.settings import PREFECT_API_URL

from flows.deployments import own_server
from tasks.data import corrections
from tasks.runtime import databases, home, processes, progress
from tasks.runtime.errors import DependencyError
from tasks.services import tracking
from tasks.services.orchestration import recovery
from tasks.settings import Recipe
from tasks.stages.data.ingest import ingest

if TYPE_CHECKING:
    from flows.deployments.temporary_server import TemporaryServer

LIBRARIES = ("tensorflow", "great_expectations")


@contextmanager
def up(recipe: Recipe | None = None) -> Iterator[None]:
    """Inside, the server answers and the libraries are loaded; new runs carry this process' name.

    First it cleans up after processes that were killed. Raises `DependencyError` if the disk has no room for a run.
    """
    if full := home.full(home.START):
        raise DependencyError(full)
    os.environ[processes.PARENT] = processes.own()
    with _own_database():
        _start(recipe)
    for sentence in recovery.repair():
        progress.say(sentence)
    gc.freeze()  # existing objects stay: collections can skip them
    gc.set_threshold(700)  # Python's default, which flows/cli/app.py has raised
    with tags(processes.own()):
        yield


def _own_database() -> AbstractContextManager[None]:
    """Around the start of Prefect's own server, which makes and upgrades its database."""
    return nullcontext() if PREFECT_API_URL.value() else databases.opening(databases.PREFECT)


def _start(recipe: Recipe | None) -> None:
    """Start or find the servers, and load the libraries beside that."""
    server = None if _answers() else _server()
    try:
        if recipe and not ingest.cached(
            recipe.source, recipe.images, recipe.labels, corrections.from_corrections(recipe.name)
        ):
            for name in LIBRARIES:
                import_module(name)
        tracking.client()
        if server:
            server.wait()
    except BaseException:
        if server:
            server.give_up()
        raise


def _answers() -> bool:
    """Whether a Prefect server is named. Raises `DependencyError` if what answers there is something else."""
    api = str(PREFECT_API_URL.value() or "")
    if not api:
        return False
    try:
        found = httpx.get(f"{api.rstrip('/')}/health", timeout=10)
    except httpx.HTTPError:
        return True  # Prefect's client says so in its own words
    if found.status_code in (404, 405) or "html" in found.headers.get("content-type", ""):
        raise DependencyError(
            f"Expected a Prefect server at {api}, found another one that answers {found.status_code}. Set "
            "PREFECT_API_URL to the address that ends in /api, or unset it."
        )
    return True


def _server() -> "TemporaryServer":
    """Prefect's own server for runs without one, started before the client, which would wait for it."""
    from prefect.context import refresh_global_settings_context

    from flows.deployments.temporary_server import TemporaryServer

    own_server.lock()
    refresh_global_settings_context()
    server = TemporaryServer()
    server.begin()
    return server
