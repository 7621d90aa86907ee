"""What lies around a command: other people's files in the working folder, other servers, pipes, a second command."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import helpers
import psutil
import pytest
import warm

from flows.deployments import own_server, servers
from tasks.runtime.errors import DependencyError

COMMAND = str(Path(sys.executable).with_name("headstart"))
MINE = 'raise SystemExit("a file of the working folder was run")'


@pytest.fixture
def working(tmp_path):
    """A folder with files of other programs, with names that Python and Prefect look for."""
    folder = tmp_path / "working"
    for package in ("flows", "tasks", "mlflow"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(MINE)
    for module in ("aiosqlite", "queue", "secrets", "train", "utils"):
        (folder / f"{module}.py").write_text(MINE)
    (folder / ".env").write_text("DATABASE=abc\nserver=x\nPREFECT_LOGGING_SETTINGS_PATH=log.yml\nlogging=loud\n")
    (folder / "prefect.toml").write_text('profiles_path = "p.toml"\n[logging]\nconfig_path = "log.yml"\n')
    (folder / "pyproject.toml").write_text('[tool.prefect.api]\nurl = "http://127.0.0.1:9/api"\n')
    (folder / "p.toml").write_text(
        'active = "p"\n[profiles.p]\nPREFECT_LOGGING_SETTINGS_PATH = "log.yml"\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    run = f'{{"()": "subprocess.Popen", "args": ["touch", "{folder}/run"]}}'
    (folder / "log.yml").write_text(f"version: 1\nhandlers: {{x: {run}}}\n")
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(tmp_path / "photos")))
    return folder


def _start(folder, *words, **values):
    env = helpers.outside() | {"HEADSTART_HOME": str(folder.parent / "home")} | values
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([COMMAND, *words], cwd=folder, env=env, **streams)


def test_two_first_commands_at_once_in_a_folder_full_of_other_peoples_files(working):
    before = sorted(working.rglob("*"))
    both = [_start(working, "check", "r.toml", "--json") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1])["classes"] == ["blue", "green", "red"]
        assert "Traceback" not in err
    assert sorted(working.rglob("*")) == before


def test_a_server_that_is_not_prefects_is_named_at_once(working):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *words):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api"
        env = helpers.outside() | {"PREFECT_API_URL": address}
        found = warm.run("check", "r.toml", "--json", "--home", "../home", env=env, cwd=working)
        server.shutdown()
    assert found.code == 3
    assert address in found.err
    assert "Traceback" not in found.err


def test_a_reader_that_has_gone_is_no_error_and_a_full_device_is(working):
    with _start(working, "backbones") as gone:
        gone.stdout.close()
        assert "rror" not in gone.stderr.read()
    with Path("/dev/full").open("w") as full:
        env = helpers.outside() | {"HEADSTART_HOME": str(working.parent / "home")}
        done = subprocess.run([COMMAND, "heads", "--json"], env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="only root mounts a disk")
@pytest.mark.parametrize(
    ("disk", "filled", "found"),
    [("ro,size=1m", 0, "Read-only file system"), ("size=64k", 65536, "is full: 0.0 MB are free")],
)
def test_a_disk_that_is_full_or_read_only_is_one_sentence(tmp_path, disk, filled, found):
    home = tmp_path / "home"
    home.mkdir()
    mount = f"mount -t tmpfs -o {disk} none {home} && head -c {filled} /dev/zero > {home}/x; exec {COMMAND} models"
    env = helpers.outside() | {"HEADSTART_HOME": str(home)}
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 3, done.stderr
    assert str(home) in said
    assert found in said
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "signals", [(signal.SIGHUP,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)]
)
def test_a_closed_terminal_and_interrupts_end_a_run_and_leave_no_server(working, signals):
    run = warm.Command("check", "r.toml", "--home", "../home", env=helpers.outside(), cwd=working)
    left = run.own_server()
    run.until("ingest")
    for number in signals:
        with suppress(ProcessLookupError):
            # To all processes of the terminal, as its driver, `timeout` and systemd do.
            os.killpg(run.process.pid, number)
        time.sleep(1.2)
    run.process.join(20)
    _, alive = psutil.wait_procs(left, timeout=20)
    said = run.err.read_text()
    run.end()
    assert (run.process.exitcode, alive) == (130, []), said


def test_the_server_of_a_killed_command_ends_too_and_nobody_could_listen_in_its_place(working):
    run = warm.Command("check", "r.toml", "--home", "../home", env=helpers.outside(), cwd=working)
    left = run.own_server()
    (port,) = {
        each.laddr.port
        for each in psutil.Process(run.process.pid).net_connections()
        if each.status == psutil.CONN_LISTEN
    }
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    run.send(signal.SIGKILL)
    _, alive = psutil.wait_procs(left, timeout=20)
    run.end()
    assert not alive


@pytest.fixture
def interruptible():
    """A shell has what it starts in the background ignore this signal, and children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_server_that_ends_again_and_again_is_given_up(monkeypatch):
    monkeypatch.setattr(servers, "TRIES", 1)
    ends = [sys.executable, "-S", "-c", "raise SystemExit(7)"]
    monkeypatch.setattr(own_server, "started", lambda listener: subprocess.Popen(ends))
    server = servers.OwnServer(0)
    with pytest.raises(DependencyError, match="but it stopped"):
        server.start()
    with pytest.raises(KeyboardInterrupt):
        server.watch()
    server.stop()
    assert "has ended (exit code 7), 2 times in a row" in str(server.error)


def test_a_server_that_is_stopped_is_not_started_again():
    server = servers.OwnServer(0)
    server.stop()
    server.start()
    server.watch()
    assert server._process is None
