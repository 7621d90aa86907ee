"""Commands in processes that are forked off one which has imported all libraries and opened nothing.

A process of its own spends some ten seconds of processor time on imports; such a one begins at once. It has streams,
signals and an end like any other. Not for a command that looks for the server of `headstart serve`, such as `notify`:
Prefect has read its settings by then.
"""

import atexit
import faulthandler
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from helpers import Answer

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


def forked(do: Callable[..., None], *args: Any) -> BaseProcess:
    """A process, not begun yet, that calls a function in the environment of this one."""
    process: BaseProcess = context().Process(target=_as_here, args=(dict(os.environ), do, args))
    return process


def _as_here(env: dict[str, str], do: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(env)
    do(*args)


def command(words: list[str], env: dict[str, str], folder: Path, out: Path, err: Path, code: str = "") -> BaseProcess:
    """Start `headstart` with these words, or Python with this code; its streams go to files.

    `env` must hold `HEADSTART_HOME`.
    """
    process: BaseProcess = context().Process(target=_run, args=(words, env, folder, out, err, code))
    process.start()
    return process


class Command:
    """`headstart` with these words, begun in a folder; it does not outlive the test that calls `end`.

    Where neither `--home` nor `HEADSTART_HOME` names another one, the home is that of the folder.
    """

    def __init__(self, *words: str, env: dict[str, str], cwd: Path, code: str = "") -> None:
        streams = Path(tempfile.mkdtemp(prefix="headstart-streams-"))
        self.out, self.err = streams / "out", streams / "err"
        for file in (self.out, self.err):
            file.touch()
        named = words[words.index("--home") + 1] if "--home" in words else env.get("HEADSTART_HOME", ".headstart")
        self.process = command(list(words), env | {"HEADSTART_HOME": str(cwd / named)}, cwd, self.out, self.err, code)

    def until(self, begin: str) -> str:
        """Wait for the message that begins so; returns what was said by then."""
        while True:
            alive, said = self.process.is_alive(), self.err.read_text()
            if any(line.startswith(begin) for line in said.splitlines()):
                return said
            assert alive, said
            time.sleep(0.05)

    def own_server(self) -> list[psutil.Process]:
        """Wait until it has started Prefect's server; the processes of that."""
        while True:
            children = psutil.Process(self.process.pid).children()
            if found := [child for child in children if "flows.deployments.locked_server" in child.cmdline()]:
                return found
            assert self.process.is_alive(), self.err.read_text()
            time.sleep(0.1)

    def answer(self) -> Answer:
        """What it has left behind, once it has ended."""
        self.process.join(300)
        if self.process.exitcode is None:
            self.send(signal.SIGUSR1)  # where its threads are
            time.sleep(1)
        assert self.process.exitcode is not None, self.err.read_text()
        return Answer(self.process.exitcode, self.out.read_text(), self.err.read_text())

    def send(self, number: int) -> None:
        """A signal to the process."""
        os.kill(self.process.pid or 0, number)

    def end(self) -> None:
        """End it if it has not ended."""
        if self.process.is_alive():
            self.send(signal.SIGTERM)
        self.process.join()
        shutil.rmtree(self.out.parent)


def run(*words: str, env: dict[str, str], cwd: Path, code: str = "") -> Answer:
    """What a command has left behind, or `python -c CODE` with these words."""
    begun = Command(*words, env=env, cwd=cwd, code=code)
    try:
        return begun.answer()
    finally:
        begun.end()


def _run(words: list[str], env: dict[str, str], folder: Path, out: Path, err: Path, code: str = "") -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, file in ((1, out), (2, err)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    faulthandler.register(signal.SIGUSR1, file=os.fdopen(os.dup(2), "w"), all_threads=True)
    sys.argv = ["-c" if code else "headstart", *words]
    if words[:1] == ["serve"]:  # it tells Prefect where the server is before Prefect is imported
        os.execve(Path(sys.executable).with_name("headstart"), sys.argv, env)

    from prefect.context import refresh_global_settings_context

    from flows.cli import app
    from tasks.runtime import home

    ends: object = 0
    try:
        home.configure()
        refresh_global_settings_context()
        if code:
            exec(code, {"__name__": "__main__"})
        else:
            app.main()
    except SystemExit as ended:
        ends = ended.code
    finally:
        # As an interpreter ends: threads first, which still need the servers that the second line stops.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    sys.exit(ends)
