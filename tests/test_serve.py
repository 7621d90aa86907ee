"""`headstart serve` in one process: new files and an announcement lead to one run each, with nothing else running."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import helpers
import pytest

BIN = Path(sys.executable).parent


class Served:
    """A process of `headstart serve`, and what its Prefect server says of runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        text = '[retrain]\nmin_new = 10\nsettle = 4\n[ladder]\nstop_at = "knn"'
        (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos"), "served", text))
        words = [BIN / "headstart", "serve", "r.toml", "--watch", "8", "--home", self.home]
        path = {"PATH": f"{BIN}:/usr/bin:/bin"}
        # Not 4200, which may be somebody's: the command takes another port where that one is taken.
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=helpers.outside() | path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        said = []
        for line in self.process.stderr:
            said.append(line.strip())
            if "watch/served is served" in line:
                break
        self.said = said
        self.api = f"{said[0].split()[1].removesuffix('/deployments')}/api"

    def runs(self) -> list[dict]:
        """Runs of `retrain` that were not only scheduled, the oldest first."""
        body = {"deployments": {"name": {"any_": ["served"]}}, "flows": {"name": {"any_": ["retrain"]}}}
        request = urllib.request.Request(
            f"{self.api}/flow_runs/filter", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return sorted(json.load(reply), key=lambda run: run["created"])

    def until(self, count: int, seconds: int = 240) -> list[dict]:
        """The runs once there are so many and all have ended."""
        for _ in range(seconds):
            found = self.runs()
            if len(found) >= count and all(run["end_time"] for run in found):
                return found
            time.sleep(1)
        raise AssertionError(self.runs())

    def command(self, *words: str) -> str:
        env = helpers.outside() | {"PREFECT_API_URL": self.api}
        command = [BIN / "headstart", *words, "--home", self.home]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    found = Served(tmp_path_factory.mktemp("serve"))
    yield found
    if found.process.poll() is None:
        found.process.send_signal(signal.SIGTERM)
        found.process.wait(60)


def test_a_source_that_was_never_looked_at_is_trained_on(served):
    (run,) = served.until(1)
    assert (run["state"]["type"], run["parameters"]["why"]) == ("COMPLETED", "new data")
    (version,) = json.loads(served.command("models", "served", "--json"))
    assert version["aliases"] == "champion"
    assert served.said[1].startswith("MLflow: mlflow ui --backend-store-uri sqlite:///")


def test_a_burst_of_files_leads_to_one_run(served):
    before = len(served.until(1))
    for number in range(20):
        helpers.photo(helpers.COLOURS["red"], 900 + number).save(served.folder / "photos" / "red" / f"new {number}.png")
        time.sleep(0.2)
    found = served.until(before + 1)
    time.sleep(20)  # two more looks
    assert [run["id"] for run in served.until(before + 1)] == [run["id"] for run in found]
    assert found[-1]["parameters"]["why"] == "new data"
    assert found[-1]["state"]["type"] == "COMPLETED"


def test_an_announcement_leads_to_one_run(served):
    before = len(served.until(1))
    assert "the data of served have changed" in served.command("notify", "r.toml")
    found = served.until(before + 1)
    assert len(found) == before + 1
    assert found[-1]["parameters"]["why"] == "new data was announced"
    assert found[-1]["state"]["type"] == "COMPLETED"


def test_it_takes_its_server_along(served):
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) is not None
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{served.api}/health", timeout=5)
