"""What works on this machine: for `headstart doctor`."""

import os
import shutil
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing, suppress
from importlib import metadata
from typing import Any

from tasks.networks import backend
from tasks.runtime import databases, plugins
from tasks.runtime.errors import DependencyError, without_secrets
from tasks.runtime.home import home
from tasks.runtime.processes import has_gpu
from tasks.services import packages

LIBRARIES = ("tensorflow", "keras", "mlflow", "prefect", "great-expectations", "tensorflow-datasets", "pylance")
#: A run of ELPV writes about 0.9 GB; below this a run is likely to fail half-way.
MIN_FREE_GB = 2.0
#: What a server answers only to those whom it knows, and what to do where it answers everybody.
ASKED = {
    "PREFECT_API_URL": (
        "/flows/count",
        b"{}",
        "who reaches it can run code on this machine. Set PREFECT_SERVER_API_AUTH_STRING there and "
        "PREFECT_API_AUTH_STRING here.",
    ),
    "MLFLOW_TRACKING_URI": (
        "/api/2.0/mlflow/experiments/search",
        b'{"max_results": 1}',
        "who reaches it can replace models. Start it with --app-name basic-auth.",
    ),
}


def checks() -> list[dict[str, Any]]:
    """One row per check: what, ok, details. Imports none of the heavy libraries."""
    servers = [_tracking(), _searches(), _orchestration()]
    return [*_versions(), _backends(), *_weights(), *servers, *_keys(), _disk(), _processors()]


def _versions() -> list[dict[str, Any]]:
    wrong = packages.unmet()
    rows = [_row(f"{name} installed", *_version(name)) for name in LIBRARIES]
    return [*rows, _row("versions of packages", not wrong, "; ".join(wrong) or "as Headstart needs them")]


def _version(name: str) -> tuple[bool, str]:
    try:
        return True, metadata.version(name)
    except metadata.PackageNotFoundError:
        return False, f"not installed: pip install {name}"


def _backends() -> dict[str, Any]:
    found = {name: _version(name) for name in backend.NAMES}
    here = [f"{name} {version}" for name, (ok, version) in found.items() if ok]
    absent = [f"{name}: pip install 'headstart[{name}]'" for name, (ok, _) in found.items() if not ok]
    return _row("backends of Keras", True, "; ".join([", ".join(here), *absent]))


def _weights() -> list[dict[str, Any]]:
    """One row per backbone plugin; missing are weights that a package should contain, not those downloaded later."""
    rows = []
    for name in plugins.names("backbones"):
        choices = [choice for choice in plugins.load("backbones", name).choices() if choice.parameters]
        here = [choice for choice in choices if choice.weights.startswith("here")]
        missing = [choice.weights for choice in choices if choice.packaged and choice not in here]
        if choices:
            details = "; ".join(missing) or f"{len(here)} of {len(choices)} here"
            rows.append(_row(f"weights of {name}", not missing, details))
    return rows


def _tracking() -> dict[str, Any]:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith("http"):
        return _row("MLflow server", *_server("MLFLOW_TRACKING_URI"))
    if not uri.startswith("sqlite"):
        return _row("MLflow database", True, f"{without_secrets(uri)}, not asked")
    file = databases.file_of(uri)
    if told := databases.complaint(databases.MLFLOW, file):
        return _row("MLflow database", False, told)
    if not file.exists():
        return _row("MLflow database", True, f"{uri}, created by the first run")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            runs = database.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.Error as error:
        return _row("MLflow database", False, f"{uri}: {error}")
    return _row("MLflow database", True, f"{uri}, {runs} runs")


def _searches() -> dict[str, Any]:
    told = databases.complaint(databases.OPTUNA)
    there = str(databases.OPTUNA.file) if databases.OPTUNA.file.exists() else "created by the first search"
    return _row("Optuna database", not told, told or there)


def _orchestration() -> dict[str, Any]:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        if told := databases.complaint(databases.PREFECT):
            return _row("Prefect server", False, told)
        return _row("Prefect server", True, "PREFECT_API_URL is not set: each command starts its own, about 11 s")
    return _row("Prefect server", *_server("PREFECT_API_URL"))


def _server(variable: str) -> tuple[bool, str]:
    shown = without_secrets(os.environ[variable])
    try:
        ok = _status(variable, "/health") == 200
    except (OSError, ValueError) as error:
        return False, f"{shown}: {without_secrets(str(error))}. Start the server, or unset the variable."
    return ok, f"{shown} - {told}" if (told := _open(variable)) else shown


def open_servers() -> list[str]:
    """A sentence for each server of the environment that answers without a password."""
    return [told for variable in ASKED if (told := _open(variable))]


def _open(variable: str) -> str:
    """The sentence on one server; "" if it asks for a password, does not answer, or is none."""
    question, body, advice = ASKED[variable]
    if os.environ.get(variable, "").startswith("http"):
        with suppress(OSError, ValueError):
            if _status(variable, question, body) == 200:
                return f"The server of {variable} asks for no password: {advice}"
    return ""


def _status(variable: str, path: str, body: bytes | None = None) -> int:
    """What a server answers to a request without credentials. Raises `OSError` if it does not answer."""
    address = without_secrets(os.environ[variable]).rstrip("/")
    request = urllib.request.Request(f"{address}{path}", body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - the user's own setting
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _keys() -> list[dict[str, Any]]:
    """A row where versions are signed, or have to be."""
    if not any(map(os.environ.get, ("HEADSTART_SIGNING_KEY", "HEADSTART_VERIFY_KEY"))):  # spares imports
        return []
    from tasks.services.registry import signing

    try:
        private, public = signing.keys()
    except DependencyError as error:
        return [_row("keys", False, str(error))]
    signs = f"versions are signed with {private}" if private else "no key to sign with"
    return [_row("keys", True, f"{signs}; checked with {', '.join(map(str, public)) or 'none'}")]


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(home()).free / 1e9
    return _row("disk", free >= MIN_FREE_GB, f"{free:.1f} GB free at {home()}")


def _processors() -> dict[str, Any]:
    gpu = "an NVIDIA driver" if has_gpu() else "no NVIDIA driver"
    return _row("processors", True, f"{os.cpu_count()} cores, {gpu}")


def _row(what: str, ok: bool, details: str) -> dict[str, Any]:
    return {"check": what, "ok": ok, "details": details}
