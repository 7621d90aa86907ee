"""A day in the life, as the README tells it: the lines of its block, in their order, beside `headstart serve`."""

import base64
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import helpers
import numpy as np
import pandas as pd
import psutil
import pytest
import warm
from documents import block

BIN = Path(sys.executable).parent
DAY = block("README.md", "headstart rollback")
LINES = [shlex.split(line, comments=True)[3:] for line in DAY.splitlines() if line.startswith("uv run headstart")]

#: What the photos show. The second pair comes later, and some of it is filed in the wrong folder.
FIRST = {"cat": (200, 60, 50), "dog": (50, 70, 200)}
LATER = {"cat": (60, 190, 70), "dog": (210, 200, 60)}
WRONG = 0.35


def line(*words: str) -> list[str]:
    """The line of the day that begins so, without `uv run headstart`."""
    (found,) = (each for each in LINES if tuple(each[: len(words)]) == words)
    return found


def _command(folder: Path, *words: str) -> str:
    """What a command says that ends well."""
    answer = warm.run(*words, env=helpers.outside(), cwd=folder)
    assert answer.code == 0, answer.err
    return answer.out + answer.err


class Channel:
    """A chat channel's webhook: what it was told."""

    def __init__(self) -> None:
        told = self.told = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, words: str) -> str:
        for _ in range(120):
            if found := [text for text in self.told if words in text]:
                return found[0]
            time.sleep(0.5)
        raise AssertionError(self.told)


class Served:
    """A process of `headstart serve`, and what its Prefect server says of runs."""

    def __init__(self, folder: Path, words: list[str], recipe: str, **env: str) -> None:
        self.folder, self.home, self.recipe = folder, folder / ".headstart", recipe
        # Not 4200, which may be somebody's: the command takes another port where that one is taken.
        self.process = subprocess.Popen(
            [BIN / "headstart", *words],
            cwd=folder,
            env=helpers.outside() | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | env,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.said = []
        for said in self.process.stderr:
            self.said.append(said.strip())
            if f"watch/{recipe} is served" in said:
                break
        self.api = f"{self.said[0].split()[1].removesuffix('/deployments')}/api"
        self.secret = Path(self.said[1].split("see ")[1])
        # Read on, as a process whose pipe is full waits for ever.
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self) -> None:
        with self.process.stderr as lines:
            for said in lines:
                self.said.append(said.strip())

    def says(self, words: str) -> None:
        """Wait until it has said so."""
        for _ in range(240):
            if any(words in said for said in self.said):
                return
            time.sleep(0.5)
        raise AssertionError(self.said)

    def server(self) -> int:
        """The number of its server's process."""
        children = psutil.Process(self.process.pid).children()
        (found,) = (each.pid for each in children if "flows.deployments.locked_server" in each.cmdline())
        return found

    def ask(self, path: str, body: dict | None = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        password = json.loads(self.secret.read_text())["password"]
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(password.encode()).decode()}",
        }
        return json.loads(helpers.answer(urllib.request.Request(f"{self.api}/{path}", data, headers)))

    def runs(self) -> list[dict]:
        """Runs of `retrain` whose time has come, the oldest first."""
        body = {"deployments": {"name": {"any_": [self.recipe]}}, "flows": {"name": {"any_": ["retrain"]}}}
        found = [run for run in self.ask("flow_runs/filter", body) if run["state"]["name"] != "Scheduled"]
        return sorted(found, key=lambda run: run["created"])

    def until(self, count: int, seconds: int = 300) -> list[dict]:
        """The runs once there are so many and all have ended."""
        for _ in range(seconds):
            found = self.runs()
            if len(found) >= count and all(run["end_time"] for run in found):
                return found
            time.sleep(1)
        raise AssertionError(self.runs())

    def looks(self, more: int) -> None:
        """Wait until the source has been looked at so many times more."""
        body = {"flows": {"name": {"any_": ["watch"]}}}

        def over() -> int:
            return sum(bool(run["end_time"]) for run in self.ask("flow_runs/filter", body))

        before = over()
        for _ in range(120):
            if over() >= before + more:
                return
            time.sleep(0.5)
        raise AssertionError(over())

    def watch(self, on: bool) -> None:
        """Stop looking at the source, or go on, as a person does on Prefect's pages."""
        deployment = self.ask(f"deployments/name/watch/{self.recipe}")
        self.ask(f"deployments/{deployment['id']}/{'resume' if on else 'pause'}_deployment", {})

    def soon(self) -> None:
        """Give `retrain` a schedule that begins soon, as a person does on Prefect's pages.

        Prefect looks once a minute which runs come next.
        """
        first = datetime.now(UTC) + timedelta(seconds=65)
        deployment = self.ask(f"deployments/name/retrain/{self.recipe}")
        schedule = {"schedule": {"interval": 86_400, "anchor_date": first.isoformat()}, "active": True}
        self.ask(f"deployments/{deployment['id']}/schedules", [schedule])

    def command(self, *words: str) -> str:
        return _command(self.folder, *words)

    def versions(self) -> dict[str, dict]:
        return {row["version"]: row for row in json.loads(self.command("models", self.recipe, "--json"))}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.reading.join()


def arrive(folder: Path, kinds: dict[str, tuple[int, int, int]], each: int, wrong: float = 0.0, name: str = "") -> None:
    """Photos of cats and dogs come into their folders, a share of them into the other one; the name tells the truth."""
    random = np.random.default_rng(5)
    for number, (label, colour) in enumerate(kinds.items()):
        other = next(each for each in kinds if each != label)
        misfiled = set(random.choice(each, int(each * wrong), replace=False))
        for i in range(each):
            to = folder / (other if i in misfiled else label)
            to.mkdir(parents=True, exist_ok=True)
            helpers.photo(colour, 10_000 * number + i + len(name) * 1000).save(to / f"{name}{label} {i}.jpg")


@pytest.fixture(scope="module")
def channel():
    found = Channel()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def day(tmp_path_factory, channel):
    """The morning: a first model, which a person has made the champion; `headstart serve` is up."""
    folder = tmp_path_factory.mktemp("day")
    arrive(folder / "photos", FIRST, 24)
    extra = "[promotion]\napproval = true\n[retrain]\nmin_new = 20\nsettle = 4\n"
    extra += '[ladder]\nstop_at = "head"\n[transfer_check]\nenabled = false'
    (folder / "pets.toml").write_text(helpers.recipe("photos", "pets", extra))
    for words in (line("train"), line("promote", "pets", "1")):
        _command(folder, *words)
    hook = f"http://127.0.0.1:{channel.server.server_port}/"
    served = Served(folder, [word.replace("60", "8") for word in line("serve")], "pets", HEADSTART_WEBHOOK=hook)
    yield served
    served.end()


@pytest.fixture
def unwatched(day):
    """Each look at the source is a process of some seconds, which a test without new photos does not need."""
    day.watch(False)
    yield
    day.watch(True)


def _status(address: str, headers: dict[str, str], data: bytes | None = None) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def test_other_users_and_other_sites_are_not_let_in(day):
    everything = f"{day.api}/flows/count"
    body = {"Content-Type": "application/json"}
    assert _status(everything, body, b"{}") == 401
    assert _status(everything, body | {"Authorization": "Basic aGVhZHN0YXJ0Og=="}, b"{}") == 401
    assert _status(f"{day.api}/health", {"Host": "elsewhere.example"}) == 400
    asked = urllib.request.Request(f"{day.api}/health", headers={"Origin": "http://elsewhere.example"})
    assert urllib.request.urlopen(asked, timeout=30).headers["Access-Control-Allow-Origin"] is None
    assert stat.S_IMODE(day.secret.stat().st_mode) == 0o600
    assert json.loads(day.secret.read_text())["password"] not in "\n".join(day.said)
    command = Path(f"/proc/{day.process.pid}/cmdline").read_text()
    assert json.loads(day.secret.read_text())["password"] not in command


def test_200_new_photos_start_one_run_and_the_gates_are_undecided(day, channel):
    assert day.runs() == []
    arrive(day.folder / "photos", LATER, 100, WRONG, "new ")
    (run,) = day.until(1)
    day.looks(2)
    assert [each["id"] for each in day.runs()] == [run["id"]]
    assert (run["parameters"]["why"], run["state"]["type"]) == ("new data", "COMPLETED")
    assert day.versions()["2"]["gate"] == "undecided"
    assert "undecided about version 2" in channel.until("undecided")


@pytest.mark.usefixtures("unwatched")
def test_labels_are_fixed_and_the_schedule_trains_on_them(day):
    day.command(*line("labels", "suspects"))
    table = day.folder / "label_suspects.csv"
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    truth = rows["uri"].str.extract(r"/(?:new )?(cat|dog) \d+\.jpg$")[0]
    wrong = rows["label"] != truth
    assert (wrong & (rows["suspect"] == "yes")).sum() >= 0.6 * wrong.sum() > 40
    rows.assign(corrected=truth.where(wrong, "")).to_csv(table, index=False)
    day.command(*line("labels", "apply"))
    day.soon()
    run = day.until(2)[-1]
    assert (run["parameters"]["why"], run["state"]["type"]) == ("the schedule", "COMPLETED")
    third = day.versions()["3"]
    assert (third["gate"], third["aliases"]) == ("promote", "challenger")


@pytest.mark.usefixtures("unwatched")
def test_a_person_approves_and_takes_a_bad_version_back(day):
    day.command(*line("promote", "pets", "3"))
    assert day.versions()["3"]["aliases"] == "champion"
    day.command(*line("rollback"))
    after = day.versions()
    assert (after["1"]["aliases"], after["3"]["aliases"]) == ("champion", "previous")


@pytest.mark.usefixtures("unwatched")
def test_an_announcement_starts_one_run_which_says_why_it_trains_nothing(day):
    before = len(day.runs())
    # A process that begins with nothing, as Prefect reads where the home's server is when it is imported.
    words, env = [BIN / "headstart", "notify", "pets.toml"], helpers.outside()
    done = subprocess.run(words, cwd=day.folder, env=env, capture_output=True, text=True, timeout=300)
    assert "the data of pets have changed" in done.stdout, done.stderr
    run = day.until(before + 1)[-1]
    assert (run["parameters"]["why"], run["state"]["type"]) == ("new data was announced", "COMPLETED")
    assert len(day.versions()) == 3


def test_a_run_that_fails_is_told(day, channel):
    shutil.move(day.folder / "photos", day.folder / "elsewhere")
    assert "found no folder" in channel.until("of watch has failed")
    day.looks(2)
    assert len([text for text in channel.told if "of watch" in text]) == 1


#: On another machine, whose process nobody sees: an MLflow run and a Prefect run that has sent one heartbeat.
SILENT = """
import sys
from datetime import timedelta
from pathlib import Path
from tasks.runtime.home import configure
configure(Path(sys.argv[1]))
import json, time
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events import RelatedResource, emit_event
from prefect.states import Running
from flows.deployments import alerts
from tasks.runtime import processes
from tasks.services import tracking
from tasks.services.orchestration import recovery
from tasks.services.tracking import runs
from tasks.services.tracking.client import begin_run, experiment_id

alerts.watch_over()
for seconds in (10, 10):
    name = alerts.watch_over(timedelta(seconds=seconds))
elsewhere = "elsewhere/000000000000/11111111-2222/4026531836/7/7"

@flow(name="train")
def train(): ...

with get_client(sync_client=True) as client:
    (automation,) = client.read_automations_by_name(name)
    run = client.create_flow_run(train, state=Running(), tags=[elsewhere], name="train elsewhere")
    tags = {"mlflow.runName": "train elsewhere", runs.PROCESS: elsewhere, runs.FLOW_RUN: str(run.id)}
    kept = begin_run(experiment_id("elsewhere"), tags)
    before = recovery.repair()
    flow_of = RelatedResource({"prefect.resource.id": f"prefect.flow.{run.flow_id}", "prefect.resource.role": "flow",
                               "prefect.resource.name": "train"})
    emit_event("prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{run.id}"}, related=[flow_of])
    for _ in range(120):
        if client.read_flow_run(run.id).state.is_crashed():
            break
        time.sleep(0.5)
    after = recovery.repair()
    state, status = client.read_flow_run(run.id).state.type, tracking.client().get_run(kept).info.status
    print(json.dumps([before, after, state, status]))
"""


def test_a_run_of_another_machine_is_closed_once_it_is_silent(day):
    told = json.loads(day.secret.read_text())
    env = helpers.outside() | {"PREFECT_API_URL": day.api, "PREFECT_API_AUTH_STRING": told["password"]}
    done = subprocess.run([sys.executable, "-c", SILENT, day.home], env=env, capture_output=True, text=True)
    before, after, state, status = json.loads((done.stdout.splitlines() or [done.stderr])[-1])
    assert (state, status) == ("CRASHED", "KILLED")
    assert [line for line in before if "elsewhere" in line] == []
    assert [line for line in after if "The MLflow run train elsewhere is closed" in line]


def test_its_server_is_started_again_and_waited_for(day):
    os.kill(day.server(), signal.SIGKILL)
    day.says("has ended (exit code -9); it is started again")
    day.says("answers again")
    day.looks(2)
    os.kill(day.server(), signal.SIGSTOP)
    day.says("does not answer; it is waited for")
    os.kill(day.server(), signal.SIGCONT)
    day.looks(1)


def test_it_takes_its_server_along(day):
    assert day.said[2].startswith("MLflow: mlflow ui --backend-store-uri sqlite:///")
    os.kill(day.server(), signal.SIGKILL)  # nobody answers, which must not keep it waiting
    day.end()
    assert not day.secret.exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{day.api}/health", timeout=5)
