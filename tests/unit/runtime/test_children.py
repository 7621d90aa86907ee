"""A working folder full of files that libraries look for, and a process that a command starts in it."""

import json
import os
import subprocess
import sys

import helpers
import pytest

from tasks.runtime import home

SETTINGS = """
import json
from prefect.settings import get_current_settings
found = get_current_settings()
print(json.dumps([str(found.logging.config_path), found.api.url, found.server.ui.enabled]))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs Python code with the environment of a command, in a folder of somebody else."""
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")})
    monkeypatch.chdir(tmp_path)
    os.environ["PYTHONPATH"] = str(tmp_path / "site")
    home.configure(tmp_path / "home")

    def python(code):
        done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip()[-200:]

    return python


@pytest.mark.parametrize("broken", [False, True])
def test_prefect_reads_no_settings_from_files_of_the_working_folder(run, tmp_path, broken):
    profile = '[profiles.p]\nPREFECT_LOGGING_SETTINGS_PATH = "log.yml"\n'
    for name, text in {
        ".env": "PREFECT_LOGGING_SETTINGS_PATH=log.yml\nPREFECT_PROFILES_PATH=p.toml\n",
        "prefect.toml": 'profiles_path = "p.toml"\n[logging]\nconfig_path = "log.yml"\n',
        "pyproject.toml": '[tool.prefect.api]\nurl = "http://elsewhere/api"\n',
        "p.toml": f'active = "p"\n{profile}',
    }.items():
        (tmp_path / name).write_bytes(b"[broken\xff" if broken else text.encode())
    # The home's own profile counts.
    own = 'active = "mine"\n[profiles.mine]\nPREFECT_SERVER_UI_ENABLED = "false"\n'
    (tmp_path / "home/prefect/profiles.toml").write_text(own)
    assert json.loads(run(SETTINGS)) == [str(tmp_path / "home/prefect/logging.yml"), None, False]


def test_what_upgrades_a_database_puts_no_folder_on_pythons_path(run):
    code = """
import sys
from alembic.config import Config
from alembic.script import ScriptDirectory
before, config = list(sys.path), Config()
config.set_main_option("script_location", ".")
config.set_main_option("prepend_sys_path", ".")
ScriptDirectory.from_config(config)
print(sys.path == before)
"""
    assert run(code) == "True"


def test_the_machines_own_start_of_python_still_runs(run, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text('import os\nos.environ["OF_THE_MACHINE"] = "yes"\n')
    assert run('import os; print(os.environ.get("OF_THE_MACHINE"))') == "yes"


def test_figures_look_the_same_everywhere(run, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    code = "from tasks.reports import figures; figures.learning_rate([1e-3, 1e-2], [2, 1], 1e-2, figures.Path('f.png'))"
    assert run(code) == ""


def test_a_flow_that_prefect_loads_by_its_module_is_ours_and_not_the_folders(run, tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise ImportError('somebody else')")
    (tmp_path / "theirs.py").write_text("flow = 'theirs'")
    code = """
from prefect.utilities.importtools import import_object as load
print(load("flows.promote.promote").name, load("theirs.flow"))
"""
    assert run(code) == "promote theirs"


def test_a_workers_run_keeps_nothing_in_a_folder_that_is_deleted_with_it(tmp_path):
    (tmp_path / "abcprefect").mkdir()
    env = helpers.outside() | {"TMPDIR": str(tmp_path), "PREFECT__FLOW_RUN_ID": "one"}
    call = [sys.executable, "-P", "-c", "import flows.retrain"]
    done = subprocess.run(call, env=env, cwd=tmp_path / "abcprefect", capture_output=True)
    assert done.returncode
    assert "Expected HEADSTART_HOME in the environment of the worker" in done.stderr.decode()
    assert not any((tmp_path / "abcprefect").iterdir())


def test_the_process_of_a_workers_run_keeps_everything_in_the_home(tmp_path):
    """A worker starts it in an empty folder of its own, with the worker's environment."""
    code = """
import os
import prefect  # as its engine has before it loads a flow
import flows.retrain
from prefect.settings import get_current_settings
print(os.environ["MLFLOW_TRACKING_URI"], get_current_settings().results.local_storage_path)
"""
    env = helpers.outside() | {"HEADSTART_HOME": str(tmp_path / "home"), "PREFECT__FLOW_RUN_ID": "one"}
    (tmp_path / "worker").mkdir()
    done = subprocess.run([sys.executable, "-P", "-c", code], env=env, cwd=tmp_path / "worker", capture_output=True)
    there = f"sqlite:///{tmp_path}/home/mlflow.db {tmp_path}/home/prefect/results"
    assert done.stdout.decode().strip() == there, done.stderr.decode()
    assert not any((tmp_path / "worker").iterdir())
