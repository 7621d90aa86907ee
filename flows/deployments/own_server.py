"""The Prefect server that a command starts for itself: its password, and where other commands of its home find it.

Every user of a machine reaches its loopback addresses, and so does each page in a browser. The API of such a server
runs code, so it asks for a password, another one at each start, and answers pages of its own address alone
(https://docs.prefect.io/v3/advanced/security-settings). Who answers at its address learns the password. So the
command that starts it listens there from the first moment until its own end, and hands that socket to the server.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.runtime import processes
from tasks.runtime.errors import DependencyError, UsageError
from tasks.runtime.home import home

#: Seconds that a Prefect server may take to start.
STARTS = 120


def lock(address: str = "http://127.0.0.1") -> str:
    """Make servers that this process starts from now on ask for a new password, which its clients know; returns it.

    `address`: the one whose pages a browser may let ask the API. Must run before Prefect reads the environment.
    """
    password = f"headstart:{secrets.token_urlsafe(32)}"
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = password
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = address
    return password


def listening(port: int = 0) -> socket.socket:
    """A socket that listens on the loopback address: at this port, or at any free one where it is taken or 0."""
    for wanted in (port, 0):
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", wanted), backlog=128)
    raise DependencyError("Expected a free port of 127.0.0.1 for the Prefect server, found none.")


def started(listener: socket.socket, env: Mapping[str, str] = os.environ) -> subprocess.Popen[bytes]:
    """Start the server of this socket. It ends with this process, however that ends.

    In a session of its own, as Ctrl-C and the like go to all processes of a terminal: a run that ends still needs it.
    """
    command = [sys.executable, "-m", "flows.deployments.locked_server", str(listener.fileno())]
    handed = [listener.fileno()]
    return subprocess.Popen(  # noqa: S603 - our own
        command, env=env, stdin=_life(), pass_fds=handed, start_new_session=True
    )


def answers(address: str, seconds: float) -> bool:
    """Whether the server of this address answers within so many seconds; before it works, its socket lets one wait."""
    try:
        urllib.request.urlopen(f"{address}/api/health", timeout=seconds).close()  # noqa: S310 - our own
    except OSError:
        return False
    return True


@cache
def _life() -> int:
    """The end of a pipe whose other end is open as long as this process lives."""
    return os.pipe()[0]


@contextmanager
def only() -> Iterator[None]:
    """Inside, this process alone serves this home. Raises `UsageError` where another one does."""
    file = _file()
    lock = FileLock(f"{file}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        where = ""
        with suppress(OSError, ValueError, KeyError):
            where = f" at {json.loads(file.read_text(encoding='utf-8'))['address']}"
        raise UsageError(
            f"Expected no other headstart serve with the home {home()}, found one{where}. End it first, name all "
            "recipes in one command, or take another home (--home)."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def announced(address: str, password: str) -> Iterator[Path]:
    """Inside, other commands of this home find the server: by a file that only the owner can read, which it yields."""
    file = _file()
    file.unlink(missing_ok=True)  # of one that was killed
    text = json.dumps({"address": address, "password": password, "process": processes.own()})
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(text, encoding="utf-8")
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def find() -> bool:
    """Use the server that `headstart serve` has started for this home, if there is one and none is named."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    with suppress(OSError, ValueError, KeyError):
        found = json.loads(_file().read_text(encoding="utf-8"))
        if not processes.gone(found["process"]):
            os.environ["PREFECT_API_URL"] = f"{found['address']}/api"
            os.environ["PREFECT_API_AUTH_STRING"] = found["password"]
            return True
    return False


def _file() -> Path:
    return home() / "prefect" / "server.json"
