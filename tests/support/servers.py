"""The servers of infra/compose.yaml as processes on this machine: PostgreSQL, MLflow and Prefect, without Docker.

Commands and environments are read from compose.yaml; hosts, ports and secrets are this machine's.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib import request

import helpers
import yaml

INFRA = Path(__file__).parents[2] / "infra"
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
#: Debian keeps initdb and postgres out of the way.
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
POSTGRES = Path(found).resolve().parent if (found := shutil.which("initdb")) else DEBIAN[-1] if DEBIAN else None
SECRETS = ("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "MLFLOW_USERS_DB_PASSWORD", "PREFECT_DB_PASSWORD")
SECRETS += ("S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_PASSWORD", "MLFLOW_SECRET_KEY")
KEEP = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "VIRTUAL_ENV")


def database_errors(log: str) -> list[str]:
    """Lines in which a database complains."""
    names = "database is locked|OperationalError|IntegrityError|InterfaceError|deadlock|too many clients"
    return [line for line in log.splitlines() if re.search(names, line, re.IGNORECASE)]


@dataclass
class Server:
    """A server that can be stopped and started again, and the address at which it says that it is well."""

    command: list[str]
    env: dict[str, str]
    health: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, cwd=self.log.parent, stdout=log, stderr=log, start_new_session=True
            )
        helpers.answer(self.health)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server with all of its processes; nothing answers afterwards."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, number)
        if self.process:
            self.process.wait(60)


@dataclass(frozen=True)
class Servers:
    """All of them, and the environments of a run that uses them, of MLflow's administrator and of backups."""

    mlflow: Server
    prefect: Server
    client: dict[str, str]
    administrator: dict[str, str] = field(repr=False)
    tools: dict[str, str] = field(repr=False)
    where: dict[str, str]
    secrets: dict[str, str] = field(repr=False)

    def run(self, command: list[str], env: dict[str, str]) -> str:
        """What a command prints that ends well in this environment, which has nothing of ours besides."""
        done = subprocess.run(command, env=helpers.outside() | env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """PostgreSQL, an object store, MLflow and Prefect, set up anew in a folder."""
    own = {name: secrets.token_hex(16) for name in SECRETS} | {"PREFECT_AUTH": f"headstart:{secrets.token_hex(16)}"}
    with ExitStack() as stack:
        there = stack.enter_context(_postgres(own))
        own["S3_ENDPOINT"] = stack.enter_context(_store(folder))
        servers = {name: _server(name, folder, own, there) for name in ("mlflow", "prefect")}
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
        at = {
            "MLFLOW_TRACKING_URI": servers["mlflow"].health.removesuffix("/health"),
            "PREFECT_API_URL": servers["prefect"].health.removesuffix("/health"),
        }
        administrator = environment("accounts", own) | at
        found = Servers(
            **servers,
            client=environment("worker", own) | at,
            administrator=administrator,
            tools=environment("backup", own) | there,
            where=there,
            secrets=own,
        )
        found.run([sys.executable, str(INFRA / "accounts.py")], administrator)
        yield found


def _server(name: str, folder: Path, own: dict[str, str], there: dict[str, str]) -> Server:
    """A service of compose.yaml on this machine."""
    service, port = COMPOSE["services"][name], helpers.free_port()
    words = [re.sub(r"--port=\d+", f"--port={port}", word) for word in service["command"]]
    words = [word.replace("--host=0.0.0.0", "--host=127.0.0.1").replace("--workers=2", "--workers=1") for word in words]
    (folder / name).mkdir()
    env = {key: os.environ[key] for key in KEEP if key in os.environ} | environment(name, own) | there
    env |= {"MLFLOW_AUTH_CONFIG_PATH": str(INFRA / "basic_auth.ini"), "PREFECT_HOME": str(folder / name)}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    health = f"http://127.0.0.1:{port}{'/api' if name == 'prefect' else ''}/health"
    return Server([str(BIN / words[0]), *words[1:]], env, health, folder / name / "log")


def environment(name: str, own: dict[str, str]) -> dict[str, str]:
    """The environment of a service, with its variables filled in as Compose does."""

    def filled(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if kind == ":?" and name not in own:
            raise AssertionError(f"{name} is a secret that this test does not know")
        return own.get(name, text or "")

    variables = COMPOSE["services"][name]["environment"]
    return {key: re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", filled, value) for key, value in variables.items()}


@contextmanager
def _postgres(own: dict[str, str]) -> Iterator[dict[str, str]]:
    """A PostgreSQL of an unprivileged user, as it refuses root, with our databases; yields where it is."""
    assert POSTGRES
    port, folder = helpers.free_port(), Path(tempfile.mkdtemp(prefix="headstart-postgres-"))
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    (folder / "password").write_text(own["POSTGRES_PASSWORD"])
    for path in (folder, folder / "password"):
        if user:
            shutil.chown(path, "postgres", "postgres")
    there = {"PGHOST": "127.0.0.1", "PGPORT": str(port)}
    options = ["-A", "scram-sha-256", "-U", "postgres", f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": "/", **user}
    subprocess.run([str(POSTGRES / "initdb"), "-D", str(folder / "data"), *options], check=True, **quiet)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen([str(POSTGRES / "postgres"), "-D", str(folder / "data"), *words], **quiet)
    try:
        ready = [str(POSTGRES / "pg_isready"), "-t", "30", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(120):
            if subprocess.run(ready, stdout=subprocess.DEVNULL).returncode == 0:
                break
            helpers.time.sleep(0.25)
        env = helpers.outside() | environment("postgres", own) | there | {"PGPASSWORD": own["POSTGRES_PASSWORD"]}
        subprocess.run([str(INFRA / "databases.sh")], env=env, check=True)
        yield there
    finally:
        process.send_signal(signal.SIGINT)  # ends the connections too
        process.wait(60)
        shutil.rmtree(folder)


@contextmanager
def _store(folder: Path) -> Iterator[str]:
    """An object store with the bucket that MLflow's server writes to; yields its address."""
    address = f"http://127.0.0.1:{(port := helpers.free_port())}"
    with (folder / "store.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=helpers.outside())
    try:
        helpers.answer(address)
        request.urlopen(request.Request(f"{address}/mlflow", method="PUT")).close()
        yield address
    finally:
        process.terminate()
        process.wait()
