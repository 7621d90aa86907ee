"""One home folder and one Prefect server for the whole run of the tests."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helpers
import pytest
import warm
from helpers import Answer
from xdist.scheduler import LoadScopeScheduling

from tasks.runtime.home import configure

# Here and not in a fixture: MLflow and Prefect read the environment when a test module imports them.
for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_LOCAL_STORAGE_PATH"):
    os.environ.pop(name, None)
# Each of the two processes would start a thread for each core for every small product, which wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
HOME = configure(Path(tempfile.mkdtemp(prefix="headstart-tests-")))


#: Files that take long, the longest first: one of them at the end would keep one process busy and the others idle.
LONG = (
    "serve",
    "servers",
    "readme",
    "recovery",
    "train",
    "endings",
    "cli",
    "compare",
    "resume",
    "tune",
    "promotion",
    "drift",
)


#: What stays in one process: their tests share what a fixture has made in minutes.
TOGETHER = ("tests/flows/", "tests/system/", "tests/plugins/test_backend.py")


class ByRoom(LoadScopeScheduling):
    """Files of `TOGETHER` go to one process each, every other test to whichever is idle.

    xdist's own `loadgroup` says the same by markers, which pytest 9.2 does not hand on to it.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith(TOGETHER) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByRoom:
    return ByRoom(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is in `system/` is left out unless it is asked for."""
    if item.path.is_relative_to(Path(__file__).parent / "system"):
        item.add_marker(pytest.mark.system)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def home() -> Iterator[Path]:
    """The state of every test that does not ask for a folder of its own."""
    yield HOME
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What has been told to the person who waits."""
    from rich.console import Console

    from tasks.runtime import progress

    lines = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=lines, width=1000))
    return lines.getvalue


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    """The address of one ephemeral Prefect server for all flows that run inside the test process."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield PREFECT_API_URL.value()


def _environment(server: str, values: dict[str, str | None]) -> dict[str, str]:
    given = helpers.outside() | {"PREFECT_API_URL": server} | values
    return {name: value for name, value in given.items() if value is not None}


@pytest.fixture(scope="session")
def cold(home: Path, server: str) -> Callable[..., Answer]:
    """As `headstart`, in a process that begins with nothing, as for a user: for what imports do."""

    def run(*words: str, cwd: Path | None = None, **values: str | None) -> Answer:
        command, env = [str(Path(sys.executable).with_name("headstart")), *words], _environment(server, values)
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=600)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def headstart(home: Path, server: str) -> Callable[..., Answer]:
    """Run the command in a process of its own, on the Prefect server of the tests.

    Where `PREFECT_API_URL` is None it starts one of its own, as for a new user.
    """

    def run(*words: str, cwd: Path | None = None, **values: str | None) -> Answer:
        return warm.run(*words, env=_environment(server, values), cwd=cwd or Path.cwd())

    return run


@pytest.fixture(scope="session")
def command(home: Path, server: str) -> Callable[..., Answer]:
    """Run the command inside the test process, in the home of the tests: no process is started, no library loaded.

    What belongs to a process (streams, signals, what is loaded) is tested by `headstart`.
    """
    from typer.testing import CliRunner

    from flows.cli.app import app

    def run(*words: str, **values: str) -> Answer:
        # What a command sets is put back; `--home` sets the first.
        env = {"HEADSTART_HOME": os.environ["HEADSTART_HOME"], "PREFECT_API_URL": server} | values
        done = CliRunner(env=env).invoke(app, list(words))
        return Answer(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def three_layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Settings of a backbone of three layers out of a file, for flows that ask about something else."""
    from tiny_networks import backbone

    file = backbone(tmp_path_factory.mktemp("backbone") / "three_layers.keras")
    return "backbone.kind=file", f"backbone.weights={file}"


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 photos in three classes, with four broken files among them; read only."""
    folder = helpers.photos(tmp_path_factory.mktemp("photos") / "my photos")
    whole = (folder / "red" / "red 0.png").read_bytes()
    (folder / "red" / "empty.png").write_bytes(b"")
    (folder / "red" / "text.jpg").write_text("not a photo")
    (folder / "green" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "blue" / "notes.txt").write_text("a stray file")
    return folder
