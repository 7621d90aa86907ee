"""Commands in processes that are forked off one which has imported all libraries and opened nothing.

A process of its own spends some ten seconds of processor time on imports; such a one begins at once. It has streams,
signals and an end like any other.
"""

import atexit
import multiprocessing
import os
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

LIBRARIES = (
    "tensorflow",
    "keras",
    "great_expectations",
    "mlflow.pyfunc",
    "mlflow.artifacts",
    "prefect.server",
    "lance",
)
STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store")
OWN = ("flows.train", "flows.retrain", "flows.promote", "flows.score", "flows.cli.app", "flows.cli.startup")


def context() -> Any:
    """Multiprocessing's context whose processes are forked off a warm one."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["warm", *LIBRARIES, *STORES, *OWN])
    return found


def command(words: list[str], env: dict[str, str], folder: Path, out: Path, err: Path) -> BaseProcess:
    """Start `headstart` with these words; its streams go to files. `env` must hold `HEADSTART_HOME`."""
    process: BaseProcess = context().Process(target=_run, args=(words, env, folder, out, err))
    process.start()
    return process


def _run(words: list[str], env: dict[str, str], folder: Path, out: Path, err: Path) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, file in ((1, out), (2, err)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["headstart", *words]

    from prefect.context import refresh_global_settings_context

    from flows.cli import app
    from tasks.runtime import home

    code: object = 0
    try:
        home.configure()
        refresh_global_settings_context()
        app.main()
    except SystemExit as ended:
        code = ended.code
    finally:
        # As an interpreter ends: threads first, which still need the servers that the second line stops.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    sys.exit(code)
