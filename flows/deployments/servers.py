"""Servers for `headstart serve`. Nothing here imports Prefect, which reads its server's address when it is imported."""

import _thread
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from flows.deployments import own_server
from tasks.runtime import databases, processes, progress
from tasks.runtime.errors import DependencyError, without_secrets

#: Seconds that a Prefect server may take to answer, to end, and to be without an answer before it is ended.
ANSWERS, ENDS, HANGS = 3, 2, 30
#: How often in a row a server is started again, and after how many seconds it counts as running well.
TRIES, WELL = 5, 600


class OwnServer:
    """The process of our own Prefect server, started again, with the same address and password, whenever it ends."""

    def __init__(self, port: int) -> None:
        # Open from the first start to the last end: whoever else listened there would be told the password.
        self._listener = own_server.listening(port)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Why it is not started again any more.
        self.error: DependencyError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._over, self._starting = threading.Event(), threading.Lock()
        self._answered = 0.0
        self._silent = False

    def start(self) -> None:
        """Start it, and wait until it answers. Raises `DependencyError` if it does not."""
        with self._starting:
            if self._over.is_set():
                return
            self._process = process = own_server.started(self._listener)
        deadline = time.monotonic() + own_server.STARTS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DependencyError(f"Expected a Prefect server at {self.address}, but it stopped: see the log.")
            if self._answers():
                return
            self._over.wait(0.5)
        raise DependencyError(
            f"Expected a Prefect server at {self.address} within {own_server.STARTS} seconds, found none."
        )

    def watch(self) -> None:
        """Start it again whenever it has ended or has not answered for `HANGS` seconds, until it is stopped.

        Once it has ended `TRIES` times in a row, `error` says so, and the main thread is interrupted.
        """
        failures, began = 0, time.monotonic()
        while not self._over.wait(1.0):
            if not (trouble := self._trouble()):
                continue
            failures = 1 if time.monotonic() - began > WELL else failures + 1
            if failures > TRIES:
                self.error = DependencyError(
                    f"The Prefect server at {self.address} {trouble}, {failures} times in a row. See the log; it "
                    "may lack memory or space on the disk (headstart doctor)."
                )
                _thread.interrupt_main()
                return
            progress.say(f"The Prefect server at {self.address} {trouble}; it is started again.")
            self._over.wait(2.0**failures - 2)
            began = time.monotonic()
            self._end()
            with suppress(DependencyError):
                self.start()
                progress.say(f"The Prefect server at {self.address} answers again.")

    def stop(self) -> None:
        """End it for good."""
        with self._starting:
            self._over.set()
        self._end()
        self._listener.close()

    def owns(self, process: psutil.Process) -> bool:
        """Whether a process is the server's."""
        own = self._process.pid if self._process else 0
        return own in (process.pid, *(parent.pid for parent in process.parents()))

    def _trouble(self) -> str:
        """What is wrong with it; "" if nothing is, or not for long."""
        code = self._process.poll() if self._process else 0
        if code is not None:
            return f"has ended (exit code {code})"
        if self._answers():
            return ""
        silence = time.monotonic() - self._answered
        if not self._silent and silence >= 2 * ANSWERS:
            progress.say(f"The Prefect server at {self.address} does not answer; it is waited for.")
            self._silent = True
        return "has not answered for too long" if silence >= HANGS else ""

    def _answers(self) -> bool:
        if not own_server.answers(self.address, ANSWERS):
            return False
        self._answered, self._silent = time.monotonic(), False
        return True

    def _end(self) -> None:
        """End its process, by force if that takes longer than `ENDS` seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(ENDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def prefect() -> Iterator[tuple[str, Path | None, OwnServer | None]]:
    """The address of the environment's Prefect server; without one, start a server that runs as long as the block.

    Beside it the file with the password of a server that was started here, and that server.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        yield address.removesuffix("/api"), None, None
        return
    with own_server.only():
        yield from _started()


def _started() -> Iterator[tuple[str, Path | None, OwnServer | None]]:
    server = OwnServer(4200)
    password = own_server.lock(server.address)
    os.environ[processes.PARENT] = processes.own()
    os.environ["PREFECT_API_URL"] = os.environ["PREFECT_UI_API_URL"] = f"{server.address}/api"
    try:
        with databases.opening(databases.PREFECT):
            server.start()
        threading.Thread(target=server.watch, name="own server", daemon=True).start()
        with own_server.announced(server.address, password) as file:
            yield server.address, file, server
    except KeyboardInterrupt:
        if server.error:
            raise server.error from None
        raise
    finally:
        server.stop()


def tracking_address() -> str:
    """The address of MLflow's pages, or the command that shows them."""
    where = without_secrets(os.environ["MLFLOW_TRACKING_URI"])
    return where if where.startswith("http") else f"mlflow ui --backend-store-uri {where}"
