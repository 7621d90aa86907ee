"""Photographs the pages of MLflow, Prefect and Great Expectations after each kind of run, for a person to look at.

uv run python -m tests.acceptance.pages FOLDER

A first run, a cached one, one that was killed, and a retraining on new photos, all with servers of their own; FOLDER
then has a picture of each page. The documents show some of them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.shown import BIN, ROOT, ended

sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import window
from helpers import answer, free_port

from tests.benchmarks.strangers.sets import shapes

#: What MLflow's pages remember of a person who has chosen "Model training" and closed the assistant.
MLFLOW_SHOWS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
#: Shapes a class.
EACH = 200
RECIPE = """name = "shapes"
[source]
kind = "folder"
options = {{ path = "{photos}" }}
[backbone]
kind = "efficientnet_lite"
[ladder]
start_at = "probe"
stop_at = "blocks"
[retrain]
min_new = 20
force_after = 1
"""


@contextmanager
def _server(*words: str, health: str, env: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    command = [str(BIN / words[0]), *words[1:]]
    process = subprocess.Popen(command, env=env, start_new_session=True, stdout=quiet, stderr=quiet)
    try:
        answer(health)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _photos(folder: Path, first: int, last: int) -> None:
    """The shapes from one number to another, of each class."""
    for place, (label, _, photo) in enumerate(shapes(folder)):
        if first <= place % EACH < last:
            (folder / label).mkdir(parents=True, exist_ok=True)
            photo.save(folder / label / f"{place % EACH:03}.png")


def main(to: Path) -> None:
    """Make the runs and take the pictures."""
    folder = Path(tempfile.mkdtemp(prefix="headstart-pages-"))
    home, mlflow, prefect = folder / "home", free_port(), free_port()
    _photos(folder / "photos", 0, 30)
    (folder / "shapes.toml").write_text(RECIPE.format(photos=folder / "photos"))
    own = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    at = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}", "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api"}
    env = own | at | {"HEADSTART_HOME": str(home), "PREFECT_HOME": str(folder / "prefect")}
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (
        _server("mlflow", "server", f"--port={mlflow}", *store, health=f"{at['MLFLOW_TRACKING_URI']}/health", env=own),
        _server("prefect", "server", "start", f"--port={prefect}", health=f"{at['PREFECT_API_URL']}/health", env=env),
    ):
        run = [str(BIN / "headstart")]
        for words in (["train", "shapes.toml"], ["train", "shapes.toml"]):
            print(ended([*run, *words], cwd=folder, env=env).err[-300:])
        killed = subprocess.Popen([*run, "train", "shapes.toml", "--set", "seed=1"], cwd=folder, env=env)
        time.sleep(25)
        killed.kill()
        killed.wait()
        _photos(folder / "photos", 30, 60)
        for _ in range(2):  # one look finds no reason; the next trains all the same, as the recipe says
            print(ended([*run, "retrain", "shapes.toml"], cwd=folder, env=env).out[-300:])
        pool = [str(BIN / "prefect"), "work-pool", "create", "headstart", "--type", "process"]
        print(ended(pool, cwd=folder, env=env).err[-300:])
        print(ended([*run, "deploy", "shapes.toml", "--cron", "0 3 * * *"], cwd=folder, env=env).err[-300:])
        _photograph(to, at, home)
    shutil.rmtree(folder)


def _photograph(to: Path, at: dict[str, str], home: Path) -> None:
    from mlflow import MlflowClient
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    client, server = MlflowClient(at["MLFLOW_TRACKING_URI"]), at["MLFLOW_TRACKING_URI"]
    experiment = client.get_experiment_by_name("shapes").experiment_id
    parents = "tags.`headstart.flow` != ''"
    runs = client.search_runs([experiment], parents, order_by=["attributes.start_time ASC"])
    names = ("first", "cached", "killed", "no-reason", "reason", "retrained")
    pages = {"experiment": f"{server}/#/experiments/{experiment}/runs"}
    for name, run in zip(names, runs, strict=True):
        pages[f"run-{name}"] = f"{server}/#/experiments/{experiment}/runs/{run.info.run_id}"
    version = client.get_model_version_by_alias("shapes", "champion")
    pages["version"] = f"{server}/#/models/shapes/versions/{version.version}"
    model = client.get_run(runs[0].info.run_id).outputs.model_outputs[0].model_id
    pages["model"] = f"{server}/#/experiments/{experiment}/models/{model}"
    both = ",".join(f'"{run.info.run_id}"' for run in (runs[0], runs[-1]))
    pages["comparison"] = f'{server}/#/compare-runs?runs=[{both}]&experiments=["{experiment}"]'
    pages = {f"mlflow-{name}": page for name, page in pages.items()}
    web = at["PREFECT_API_URL"].removesuffix("/api")
    with temporary_settings({PREFECT_API_URL: at["PREFECT_API_URL"]}), get_client(sync_client=True) as prefect:
        pages["prefect-dashboard"] = f"{web}/dashboard"
        started = sorted(prefect.read_flow_runs(limit=50), key=lambda run: run.expected_start_time)
        whole = [run for run in started if not run.parent_task_run_id and run.name.startswith(("train", "retrain"))]
        for name, run in zip(names[:-1], whole, strict=True):
            pages[f"prefect-run-{name}"] = f"{web}/runs/flow-run/{run.id}"
        (promote,) = [each for each in prefect.read_deployments() if each.entrypoint == "flows.promote.promote"]
        pages["prefect-form"] = f"{web}/deployments/deployment/{promote.id}/run"
    pages["data-docs"] = (home / "gx/uncommitted/data_docs/local_site/index.html").as_uri()
    to.mkdir(parents=True, exist_ok=True)
    with window(1440) as driver:
        driver.get(server)
        for name, value in MLFLOW_SHOWS.items():
            driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", name, value)
        for name, page in pages.items():
            driver.get("about:blank")
            driver.get(page)
            time.sleep(6)  # pages of servers draw themselves
            driver.save_screenshot(str(to / f"{name}.png"))
            print(name, page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
