"""Where a run keeps its state, and the environment that its libraries read before they are imported."""

import os
import re
import shutil
import sys
import tomllib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.runtime.children import sitecustomize
from tasks.runtime.errors import DependencyError, UsageError, brief, few, without_secrets

# OpenVINO's converter reports its use over the network, from a forked process; only CI=true switches that off. Without
# this package it sends nothing.
loaded: dict[str, Any] = sys.modules
loaded.setdefault("openvino_telemetry", None)

DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A profile need not say it.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    # A busy machine needs more than Prefect's 20 seconds; Prefect then started a second server and left the first one.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The clients of MLflow and Prefect wait about four minutes for a server, twice as long after each try. Prefect's
    # default is one minute.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # TensorFlow does not use oneDNN's kernels without AVX-512; with AVX2 they train 1.6 times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "LANCE_LOG": "error",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The package versions that a model needs are given; the project that trained it is not part of it.
    "MLFLOW_UV_AUTO_DETECT": "false",
}

#: Variables that name a server or a database: what a sound one begins with, and examples.
ADDRESSES = {
    "PREFECT_API_URL": (re.compile("https?://"), "http://HOST:4200/api"),
    # Folders are a store that MLflow keeps for those alone who ask for it.
    "MLFLOW_TRACKING_URI": (
        re.compile(r"sqlite(\+\w+)?:///.|(?!sqlite|file:)[a-z][\w+.-]*://[^/]|databricks", re.IGNORECASE),
        "sqlite:///FILE, http://HOST:PORT, https://HOST:PORT or postgresql://USER:PASSWORD@HOST/NAME",
    ),
}
#: What every command writes to: folders and files of the home folder.
FOLDERS, DATABASES = ("logs", "prefect"), ("mlflow.db", "prefect/prefect.db")
#: Bytes with which a disk counts as full: a journal of SQLite needs as much. And those without which no run starts.
FULL, START = 1_000_000, 20_000_000


def expanded(path: str | Path) -> Path:
    """A person's path, with their own folder for `~`; as it is where there is no such person, which `Path` raises for.

    Raises `UsageError` for one that the system does not look at, as it is too long.
    """
    found = Path(os.path.expanduser(path))  # noqa: PTH111
    try:
        found.exists()
    except OSError as error:
        raise UsageError(f"Expected a path, found {few([path], 1)}: {error.strerror}.") from None
    return found


def home() -> Path:
    """The folder of all state: `HEADSTART_HOME`, else `.headstart` in the current folder. Always absolute."""
    return Path(os.environ.get("HEADSTART_HOME") or ".headstart").absolute()


def store_limit() -> int | None:
    """Bytes that the store may hold: `HEADSTART_STORE_LIMIT`, such as `20GB`; None without a limit.

    Raises `DependencyError` for another text.
    """
    text = os.environ.get("HEADSTART_STORE_LIMIT", "").strip()
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if not found or not float(found[1]):
        raise DependencyError(
            f"HEADSTART_STORE_LIMIT: expected a size such as 20GB or 1.5TB, found {text!r}. Correct this variable of "
            "the environment, or unset it."
        )
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))


def configure(folder: Path | None = None) -> Path:
    """Set environment variables for MLflow, Prefect and other libraries; the user's own values win.

    Must run before any of them is imported. Returns the home folder, created. Raises `DependencyError` if it cannot be
    written, and for an address or a limit that cannot be one.
    """
    if folder is not None:
        os.environ["HEADSTART_HOME"] = str(folder.absolute())
    root = _writable(home())
    _clean()
    store_limit()
    defaults = DEFAULTS | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(root / "prefect" / "results"),
        # A process reads the results of other runs: a stage is found by its digest, whichever run computed it.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Else Prefect looks for its path in files of the working folder.
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(Path(os.environ["PREFECT_HOME"]) / "profiles.toml"))
    _check_profiles(Path(os.environ["PREFECT_PROFILES_PATH"]))
    return root


def _check_profiles(file: Path) -> None:
    """Raise `DependencyError` for a file of profiles on which Prefect ends without its name."""
    if not os.path.lexists(file):
        return
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8")).get("profiles", {})
        tables = isinstance(profiles, dict) and all(isinstance(each, dict) for each in profiles.values())
        why = "" if tables else "profiles that are no tables"
    except OSError as error:
        why = str(error.strerror)
    except (ValueError, RecursionError) as error:
        why = brief(error)
    if why:
        raise DependencyError(
            f"{file}: expected Prefect's profiles as TOML, found a mistake: {why}. Correct the file, or move it away: "
            "commands do without."
        )


def wrong_setting(error: BaseException) -> str:
    """The message for the user if a value among Prefect's settings has stopped it; else ""."""
    found: Any = error
    if type(error).__name__ != "ValidationError" or not found.title.endswith("Settings"):
        return ""
    first = found.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return (
        f"Prefect's {found.title}, {where}: {first['msg']}, found {first['input']!r}. Correct the "
        f"variable PREFECT_… of the environment, or the profile in {os.environ.get('PREFECT_PROFILES_PATH')}."
    )


def _writable(root: Path) -> Path:
    """The home folder, created and tried."""
    if odd := sorted(set("?#%") & set(str(root))):
        # The databases' addresses are URLs that hold this path.
        raise DependencyError(
            f"HEADSTART_HOME or --home: expected a path without {' '.join(odd)}, found {root}. Name another folder."
        )
    for folder in (root, *(root / name for name in FOLDERS)):
        probe = folder / f".{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _closed(folder, error.strerror) from None
    for file in (root / name for name in DATABASES):
        if file.exists() and not (file.is_file() and os.access(file, os.R_OK | os.W_OK)):
            raise _closed(file, "no file, or not yours")
    return root


def _closed(path: Path, why: str | None) -> DependencyError:
    return DependencyError(
        f"Expected all state to be kept in {home()}, but {path} cannot be written: {why}. Correct that, or name "
        "another folder with HEADSTART_HOME or --home."
    )


def full(least: int = FULL) -> str:
    """The message for the user if the home folder's disk has fewer bytes left: libraries say so in many ways. Or ""."""
    with suppress(OSError):
        free = shutil.disk_usage(home()).free
        if free < least:
            return (
                f"The disk of {home()} is full: {free / 1e6:.1f} MB are free, {least / 1e6:.0f} MB are needed. Free "
                "some space, or name a home folder on another disk, and run the same command again: it continues where "
                "this one stopped."
            )
    return ""


def _clean() -> None:
    """Take out of the environment what other programs have set and what would break a run."""
    for name, (sound, expected) in ADDRESSES.items():
        address = os.environ.get(name)
        if address is not None and not address.strip():
            del os.environ[name]
        elif address and not sound.match(address):
            raise DependencyError(
                f"{name}: expected an address such as {expected}, found {without_secrets(address)!r}. Correct this "
                "variable of the environment, or unset it."
            )
    # Only for TensorFlow's own Keras 2, which is not installed here.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    backend = os.environ.get("KERAS_BACKEND")
    if backend and (not backend.isidentifier() or find_spec(backend) is None):
        os.environ["KERAS_BACKEND"] = "tensorflow"
    # What lies in the working folder, such as queue.py or prefect.toml, is not what child processes import or read.
    os.environ["PYTHONSAFEPATH"] = "1"
    sitecustomize.ignore_the_working_folder()
    first = str(Path(sitecustomize.__file__).parent)
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", first)]
    os.environ["PYTHONPATH"] = os.pathsep.join([first, *others])
    # A proxy does not know the servers of this machine.
    if any(name.lower().endswith("_proxy") for name in os.environ):
        for name in ("NO_PROXY", "no_proxy"):
            listed = [host for host in os.environ.get(name, "").split(",") if host.strip()]
            os.environ[name] = ",".join(dict.fromkeys([*listed, "localhost", "127.0.0.1", "::1"]))
