"""The Prefect server that a command starts for itself: its password, and where other commands of its home find it.

Every user of a machine reaches its loopback addresses, and so does each page in a browser. The API of such a server
runs code, so it asks for a password, another one at each start, and answers pages of its own address alone
(https://docs.prefect.io/v3/advanced/security-settings).
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.runtime import processes
from tasks.runtime.home import home


def lock(address: str = "http://127.0.0.1") -> str:
    """Make servers that this process starts from now on ask for a new password, which its clients know; returns it.

    `address`: the one whose pages a browser may let ask the API. Must run before Prefect reads the environment.
    """
    password = f"headstart:{secrets.token_urlsafe(32)}"
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = password
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = address
    return password


@contextmanager
def announced(address: str, password: str) -> Iterator[Path]:
    """Inside, other commands of this home find the server: by a file that only the owner can read, which it yields."""
    file = _file()
    file.unlink(missing_ok=True)
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
