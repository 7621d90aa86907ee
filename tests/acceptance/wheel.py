"""Shows that the wheel works in a new environment, in a folder that has files of the names of its packages.

uv run python -m tests.acceptance.wheel [NUMBER …]
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from tests.acceptance.shown import ROOT, Shown, ended, main

sys.path.insert(0, str(ROOT / "tests" / "support"))

#: What lies in the folder; importing it is what must not happen.
STRANGERS = ("flows", "tasks", "mlflow", "prefect")
#: Seconds that a run of the server's or a worker's may take.
PATIENCE = 240


@cache
def _environment() -> Path:
    """The programs of a new environment with the wheel."""
    folder = Path(tempfile.mkdtemp(prefix="headstart-wheel-"))
    subprocess.run(["uv", "build", "--wheel", "--out-dir", str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(["uv", "venv", "--python", sys.executable, str(folder / "env")], check=True, capture_output=True)
    python = folder / "env" / "bin" / "python"
    install = ["uv", "pip", "install", "--python", str(python), str(wheel), "pytest"]
    subprocess.run(install, check=True, capture_output=True, cwd=folder)
    return python.parent


@cache
def _folder() -> Path:
    """A folder with photos, a recipe, and packages of somebody else."""
    import helpers

    folder = Path(tempfile.mkdtemp(prefix="headstart-strangers-"))
    for name in STRANGERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('a file of somebody else')\n")
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos"), "colours", ""))
    return folder


def _own(**others: str) -> dict[str, str]:
    """The environment of a person who has set nothing."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {"HEADSTART_HOME": str(_folder() / "home")} | others


def _runs(flow: str) -> int:
    """Finished runs of a flow in MLflow."""
    query = (
        "select count(*) from runs join tags on tags.run_uuid = runs.run_uuid "
        "where runs.status = 'FINISHED' and tags.key = 'headstart.flow' and tags.value = ?"
    )
    with closing(sqlite3.connect(_folder() / "home" / "mlflow.db")) as database:
        return int(database.execute(query, (flow,)).fetchone()[0])


@contextmanager
def _beside(*words: str, env: dict[str, str]):
    """A program that runs as long as the block; its output."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(words, cwd=_folder(), env=env, stdout=out, stderr=out)
        try:
            yield out
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _until(flow: str, more_than: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while _runs(flow) <= more_than and time.monotonic() < deadline:
        time.sleep(1)
    return _runs(flow) > more_than


def train() -> Shown:
    """train, and predict with what it made."""
    headstart = str(_environment() / "headstart")
    done = ended([headstart, "train", "r.toml"], cwd=_folder(), env=_own())
    photo = next((_folder() / "photos").rglob("*.png"))
    said = ended([headstart, "predict", "colours@champion", str(photo)], cwd=_folder(), env=_own())
    return (
        done.code == said.code == 0,
        f"{done.seconds:.0f} s, exit codes {done.code} and {said.code} {done.err[-300:]}",
    )


def serve() -> Shown:
    """serve: a run that new data have started ends well, in a process of its own."""
    headstart, before = str(_environment() / "headstart"), _runs("retrain")
    with _beside(headstart, "serve", "r.toml", env=_own()) as out:
        deadline = time.monotonic() + PATIENCE
        while "retrain/colours is served" not in _text(out) and time.monotonic() < deadline:
            time.sleep(1)
        asked = ended([headstart, "notify", "r.toml"], cwd=_folder(), env=_own())
        held = asked.code == 0 and _until("retrain", before)
        return held, "a run of retrain" if held else f"none: {asked.err[-200:]} {_text(out)[-300:]}"


def worker() -> Shown:
    """deploy: the run of a work pool's worker ends well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = _own(PREFECT_API_URL=f"http://127.0.0.1:{port}/api", PREFECT_HOME=str(_folder() / "prefect"))
    headstart, prefect = str(_environment() / "headstart"), [str(_environment() / "python"), "-P", "-m", "prefect"]
    before, said = _runs("retrain"), []
    with _beside(*prefect, "server", "start", "--port", str(port), env=env):
        deadline = time.monotonic() + PATIENCE
        create = [*prefect, "work-pool", "create", "headstart", "--type", "process"]
        while ended(create, cwd=_folder(), env=env).code and time.monotonic() < deadline:
            time.sleep(1)
        said.append(ended([headstart, "deploy", "r.toml"], cwd=_folder(), env=env))
        # As a person starts it: its own module path has the folder.
        with _beside(str(_environment() / "prefect"), "worker", "start", "--pool", "headstart", env=env) as out:
            run = [*prefect, "deployment", "run", "retrain/colours"]
            said.append(ended(run, cwd=_folder(), env=env))
            held = all(each.code == 0 for each in said) and _until("retrain", before)
            return held, "a run of retrain" if held else f"none: {said[-1].err[-200:]} {_text(out)[-500:]}"


def plugin() -> Shown:
    """A package with a head, installed: it is listed, passes its contract, and is trained."""
    package = Path(tempfile.mkdtemp(prefix="headstart-plugin-"))
    (package / "pyproject.toml").write_text(
        '[project]\nname = "their-heads"\nversion = "1.0"\n[project.entry-points."headstart.heads"]\n'
        'centred = "their_heads.centred"\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    (package / "their_heads").mkdir()
    (package / "their_heads" / "__init__.py").write_text("")
    (package / "their_heads" / "centred.py").write_text(
        '"""A linear head on normalised features."""\n\n\ndef build(shape, classes, *, scale: float = 1.0):\n'
        '    """Logits."""\n    import keras\n\n    features = keras.Input(shape)\n'
        "    values = keras.layers.LayerNormalization()(keras.layers.Flatten()(features))\n"
        '    logits = keras.layers.Dense(classes, name="logits")(keras.layers.Rescaling(scale)(values))\n'
        '    return keras.Model(features, logits, name="head")\n'
    )
    python, headstart = str(_environment() / "python"), str(_environment() / "headstart")
    install = ["uv", "pip", "install", "--python", python, str(package)]
    steps = {
        "install": ended(install, cwd=package),
        "heads": ended([headstart, "heads"], cwd=_folder(), env=_own()),
        "contract": ended([python, "-P", "-m", "pytest", "-q", "--headstart-plugins"], cwd=package, env=_own()),
        "train": ended([headstart, "train", "r.toml", "--set", "head.kind=centred"], cwd=_folder(), env=_own()),
    }
    held = all(step.code == 0 for step in steps.values()) and "their-heads 1.0" in steps["heads"].out
    return held, ", ".join(f"{name} {step.code}" for name, step in steps.items()) + steps["train"].err[-200:] * (
        not held
    )


def _text(out) -> str:
    out.seek(0)
    return str(out.read())


if __name__ == "__main__":
    main([train, serve, worker, plugin])
