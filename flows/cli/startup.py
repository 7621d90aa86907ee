"""Wait only once: our own Prefect server starts in another process while this one imports what the run needs.

The server takes about 10 seconds, TensorFlow and Great Expectations 10 to 20, MLflow 4. A run with nothing new needs
neither TensorFlow nor Great Expectations and loads neither.
"""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from prefect import tags

from tasks.data import corrections
from tasks.runtime import processes, progress
from tasks.services import tracking
from tasks.services.orchestration import recovery
from tasks.settings import Recipe
from tasks.stages.data.ingest import ingest

LIBRARIES = ("tensorflow", "great_expectations")


@contextmanager
def up(recipe: Recipe | None = None) -> Iterator[None]:
    """Inside, the server answers and the libraries are loaded; new runs carry this process' name.

    First it cleans up after processes that were killed.
    """
    os.environ[processes.PARENT] = processes.own()
    server = None if os.environ.get("PREFECT_API_URL") else _server()
    try:
        if recipe and not ingest.cached(
            recipe.source, recipe.split, recipe.images, corrections.from_corrections(recipe.name)
        ):
            for name in LIBRARIES:
                import_module(name)
        tracking.client()
    finally:
        if server:
            server.join()
    for sentence in recovery.repair():
        progress.say(sentence)
    gc.freeze()  # existing objects stay: collections can skip them
    gc.set_threshold(700)  # Python's default, which flows/cli/app.py has raised
    with tags(processes.own()):
        yield


def _server() -> threading.Thread:
    """Prefect's own server for runs without one, started before the client, which would wait for it."""
    from prefect.server.api.server import SubprocessASGIServer

    thread = threading.Thread(target=SubprocessASGIServer().start, name="prefect server")
    thread.start()
    return thread
