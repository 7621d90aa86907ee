"""What lies around a command: other people's files in the working folder, other servers, pipes, a second command."""

import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import helpers
import pytest

COMMAND = str(Path(sys.executable).with_name("headstart"))
MINE = 'raise SystemExit("a file of the working folder was run")'


@pytest.fixture
def working(tmp_path):
    """A folder with files of other programs, with names that Python and Prefect look for."""
    folder = tmp_path / "working"
    for package in ("flows", "tasks", "mlflow"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(MINE)
    for module in ("queue", "secrets", "train", "utils"):
        (folder / f"{module}.py").write_text(MINE)
    (folder / ".env").write_text("DATABASE=abc\nserver=x\napi=y\nHOME=/elsewhere\nlogging=loud\n")
    (folder / "prefect.toml").write_text('[logging]\nlevel = "WARNING"\n')
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
        process = _start(working, "check", "r.toml", "--json", PREFECT_API_URL=address)
        _, err = process.communicate(timeout=100)
        server.shutdown()
    assert process.returncode == 3
    assert address in err
    assert "Traceback" not in err


def test_a_reader_that_has_gone_is_no_error_and_a_full_device_is(working):
    with _start(working, "backbones") as gone:
        gone.stdout.close()
        assert "rror" not in gone.stderr.read()
    with Path("/dev/full").open("w") as full:
        env = helpers.outside() | {"HEADSTART_HOME": str(working.parent / "home")}
        done = subprocess.run([COMMAND, "heads", "--json"], env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
