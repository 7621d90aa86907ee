"""Runs on shared servers: three at once, and one whose MLflow server is stopped for a minute."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.acceptance.shown import BIN, ROOT, Shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them

import helpers
import servers

RECIPE = '[ladder]\nstart_at = "head"\nstop_at = "head"'
MINUTE = 60


@contextmanager
def _there() -> Iterator[tuple[servers.Servers, Path, "MlflowClient"]]:
    folder = Path(tempfile.mkdtemp(prefix="headstart-servers-"))
    helpers.photos(folder / "photos")
    (folder / "servers").mkdir()
    with servers.running(folder / "servers") as there, patch.dict(os.environ, _mlflow(there)):
        from mlflow import MlflowClient

        yield there, folder, MlflowClient(there.client["MLFLOW_TRACKING_URI"])


def _mlflow(there: servers.Servers) -> dict[str, str]:
    """What a client of its MLflow server has in its environment."""
    return {name: value for name, value in there.client.items() if name.startswith("MLFLOW_")}


def _start(there: servers.Servers, folder: Path, name: str) -> "subprocess.Popen[str]":
    (folder / f"{name}.toml").write_text(helpers.recipe(folder / "photos", name, RECIPE))
    words = [str(BIN / "headstart"), "train", f"{name}.toml", "--json", "--home", f"home-{name}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=folder, env=helpers.outside() | there.client, **pipes)  # type: ignore[call-overload, no-any-return]


def at_once() -> Shown:
    """Three runs at once, two of them of one recipe: all complete, no database complains, aliases are right."""
    with _there() as (there, folder, client):
        started = [_start(there, folder, name) for name in ("one", "one", "two")]
        codes = [(process.communicate(timeout=900), process.returncode)[1] for process in started]
        logs = [there.mlflow.log, there.prefect.log, *folder.glob("home-*/logs/**/*.log")]
        complaints = [line for log in logs for line in servers.database_errors(log.read_text())]
        aliases = {name: dict(client.get_registered_model(name).aliases) for name in ("one", "two")}
        known = {name: {each.version for each in client.search_model_versions(f"name = '{name}'")} for name in aliases}
    right = all("champion" in aliases[name] and set(aliases[name].values()) <= known[name] for name in aliases)
    held = codes == [0, 0, 0] and not complaints and right
    return held, f"exit codes {codes}, {len(complaints)} complaints {complaints[:1]}, aliases {aliases}"


def minute() -> Shown:
    """MLflow stopped for 60 s in the middle of a run and started again: the run completes with all metrics."""
    with _there() as (there, folder, client):
        undisturbed = _start(there, folder, "undisturbed")
        undisturbed.communicate(timeout=600)
        process = _start(there, folder, "disturbed")
        assert process.stderr
        for line in process.stderr:
            if line.startswith("preprocess"):
                break
        there.mlflow.stop()
        time.sleep(MINUTE)
        there.mlflow.start()
        out, _ = process.communicate(timeout=900)
        found = [_logged(client, name) for name in ("undisturbed", "disturbed")]
    same = found[0] == found[1]
    held = process.returncode == 0 and bool(json.loads(out)["aliases"]) and same
    return held, f"exit code {process.returncode}, {len(found[1])} metrics and files, the same as undisturbed: {same}"


def _logged(client: "MlflowClient", name: str) -> list[tuple[str, str, int]]:
    """Stage, metric and how many values of it; and stage and files; of the experiment's runs."""
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    found = []
    for run in runs:
        label = run.data.tags.get("headstart.stage", "")
        keys = [key for key in run.data.metrics if not key.startswith("system/") and "per_second" not in key]
        found += [(label, key, len(client.get_metric_history(run.info.run_id, key))) for key in keys]
        found += [(label, file.path, 0) for file in client.list_artifacts(run.info.run_id)]
    return sorted(found)
