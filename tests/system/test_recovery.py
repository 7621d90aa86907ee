"""A process that is killed leaves no run under way, no server and no lost work: the next command sees to it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import helpers
import psutil
import pytest
import warm


def _killed_in(stage: str, recipe: Path, home: Path) -> tuple[list[str], dict[str, str]]:
    """Train until the stage has begun, then end the process as a crash would.

    The stages that were done, and the environment of the command's own Prefect server, which has ended too.
    """
    run = warm.Command("train", str(recipe), "--home", str(home), env=helpers.outside(), cwd=recipe.parent)
    said, servers = run.until(stage), run.own_server()
    environment = servers[0].environ()
    time.sleep(0.5)
    run.send(signal.SIGKILL)
    run.end()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive
    return [line.split()[0] for line in said.splitlines()], environment


@pytest.fixture
def hung(crashed):
    """A process that looks like the server that Prefect starts for a flow, after the death of the flow's process."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(600)", "prefect.server.api.server:create_app"]
    with subprocess.Popen(command, env=crashed[2]) as process:
        yield process
        process.kill()


UNDER_WAY = """
import sys
from pathlib import Path
from tasks.runtime.home import configure
configure(Path(sys.argv[1]))
import json
from prefect.client.orchestration import get_client
from tasks.services import tracking
from tasks.services.orchestration import recovery
from tasks.services.tracking import runs as tracked
with get_client(sync_client=True) as client:
    prefect = [run.name for run in recovery._under_way(client)]
experiments = [each.experiment_id for each in tracking.client().search_experiments()]
runs = tracked._running(experiments, "tags.`mlflow.runName` != ''")
print(json.dumps([prefect, [run.info.run_name for run in runs]]))
"""


#: What MLflow's pages of killed runs show.
KILLED = """
import sys
from pathlib import Path
from tasks.runtime.home import configure
configure(Path(sys.argv[1]))
import json
from tasks.services import tracking
api = tracking.client()
(experiment,) = [each.experiment_id for each in api.search_experiments() if each.name == "crash"]
pages = []
for run in api.search_runs([experiment], "tags.`headstart.flow` != '' and attributes.status = 'KILLED'"):
    stages = api.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    pages.append({
        "status": run.info.status,
        "description": run.data.tags["mlflow.note.content"],
        "inputs": sorted(each.dataset.name for each in run.inputs.dataset_inputs),
        "stages": {each.info.run_name: each.info.status for each in stages},
    })
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    extra = '[ladder]\nstop_at = "head"\n[transfer_check]\nenabled = false'
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos"), "crash", extra))
    return folder, *_killed_in("probe", folder / "r.toml", folder / "home")


def test_the_next_command_closes_what_was_left_and_goes_on(crashed, hung):
    folder, done, _ = crashed
    assert done[-1] == "probe"
    env = helpers.outside() | {"HEADSTART_HOME": str(folder / "home")}
    answer = warm.run("doctor", "--repair", env=env, cwd=folder)
    assert "The MLflow run train crash is closed as killed" in answer.err
    assert "The Prefect run train crash is closed as crashed" in answer.err
    assert f"(process {hung.pid})" in answer.err
    hung.wait(20)
    (page,) = warm.run(str(folder / "home"), env=env, cwd=folder, code=KILLED).json
    assert page["status"] == "KILLED"
    assert "was killed" in page["description"]
    assert page["inputs"] == ["crash: test", "crash: train", "crash: validation"]
    assert page["stages"] and set(page["stages"].values()) <= {"FINISHED", "KILLED"}
    again = warm.run("train", "r.toml", "--json", env=env, cwd=folder)
    assert again.code == 0, again.err
    assert "closed" not in again.err
    stages = again.json["stages"]
    assert [name for name in done if not stages[name]["cached"]] == []
    assert not stages["evaluate"]["cached"]
    shown = warm.run(str(folder / "home"), env=env, cwd=folder, code=UNDER_WAY)
    assert shown.json == [[], []], shown.err
