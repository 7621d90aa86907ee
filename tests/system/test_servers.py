"""Runs on shared servers: several at once, a server that is away for a while or for good, and answers that are lost.

PostgreSQL, MLflow with authentication and proxied artifacts, Prefect: set up as in infra/compose.yaml, without Docker.
"""

import base64
import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib import request

import helpers
import pytest
import servers
import warm
from documents import block

if servers.POSTGRES is None:
    pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)", allow_module_level=True)

#: A run of few stages.
BRIEF = """
[split]
salt = "{salt}"
[ladder]
start_at = "head"
stop_at = "head"
[extract]
engine = "tensorflow"
[audit]
enabled = false
[transfer_check]
enabled = false
"""
STAGES = ("ingest", "validate", "preprocess", "extract", "audit", "train_head", "choose", "transfer_check", "calibrate")
STAGES += ("evaluate", "gate", "register", "publish")


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos, recipes and the home that all runs of this file share."""
    found = tmp_path_factory.mktemp("runs")
    helpers.photos(found / "photos")
    return found


@pytest.fixture
def client(there, monkeypatch):
    from mlflow import MlflowClient

    for name, value in there.client.items():
        if name != "PREFECT_API_URL":
            monkeypatch.setenv(name, value)
    return MlflowClient(there.client["MLFLOW_TRACKING_URI"])


@pytest.fixture
def start(there, folder):
    """`headstart train` of a recipe, in a process of its own that does not outlive the test."""
    started = []

    def train(name, salt="servers", **env):
        (folder / f"{name}.toml").write_text(helpers.recipe(folder / "photos", name, BRIEF.format(salt=salt)))
        words = ("train", f"{name}.toml", "--json", "--home", "home")
        started.append(warm.Command(*words, env=helpers.outside() | there.client | env, cwd=folder))
        return started[-1]

    yield train
    for command in started:
        command.end()


def _runs(client, name):
    """The newest parent run of an experiment, and its stages' runs."""
    experiment = client.get_experiment_by_name(name).experiment_id
    parent = client.search_runs([experiment], "tags.`headstart.flow` = 'train'")[0]
    return parent, client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")


def _prefect(there, path, **values):
    """What the Prefect server answers to a POST."""
    user = base64.b64encode(there.secrets["PREFECT_AUTH"].encode()).decode()
    headers = {"Authorization": f"Basic {user}", "Content-Type": "application/json"}
    url = f"{there.client['PREFECT_API_URL']}/{path}"
    with request.urlopen(request.Request(url, json.dumps(values).encode(), headers)) as answer:
        return json.load(answer)


@pytest.mark.parametrize("role", ["mlflow", "mlflow_users", "prefect"])
def test_a_role_reaches_its_own_database_alone(there, role):
    import psycopg

    where = {"host": there.tools["PGHOST"], "port": there.tools["PGPORT"], "user": role}
    where["password"] = there.secrets[f"{role.upper()}_DB_PASSWORD"]
    with psycopg.connect(dbname=role, **where) as connection:
        (rights,) = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert not rights
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()[0] > 1
    for other in {"mlflow", "mlflow_users", "prefect", "postgres", "template1"} - {role}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(dbname=other, **where)


def test_the_account_of_a_worker_trains_and_administers_nothing(there, client):
    import requests
    from mlflow import MlflowClient

    address = there.client["MLFLOW_TRACKING_URI"]
    assert not {"MLFLOW_ADMIN_PASSWORD", "S3_SECRET_KEY"} & {
        name for name, value in there.secrets.items() if value in there.client.values()
    }
    # Made by another account, as by the one of before an upgrade.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            patch.setenv(name, there.administrator[name])
        experiment = MlflowClient(address).create_experiment("others")
        MlflowClient(address).create_registered_model("others")
    run = client.create_run(experiment).info
    client.log_text(run.run_id, "a file", "a/file.txt")
    assert [file.path for file in client.list_artifacts(run.run_id, "a")] == ["a/file.txt"]
    client.set_registered_model_tag("others", "tag", "text")
    client.delete_registered_model_tag("others", "tag")

    own, his = (
        tuple(env[f"MLFLOW_TRACKING_{name}"] for name in ("USERNAME", "PASSWORD"))
        for env in (there.client, there.administrator)
    )
    # As in an installation of 0.1.0, whose one account was the administrator's.
    values = {"username": own[0], "is_admin": True}
    requests.patch(f"{address}/api/2.0/mlflow/users/update-admin", json=values, auth=his, timeout=30).raise_for_status()
    there.run([sys.executable, str(servers.INFRA / "accounts.py")], there.administrator)
    for method, path, values in (
        ("POST", "2.0/mlflow/users/create", {"username": "eve", "password": "a password of hers"}),
        ("PATCH", "2.0/mlflow/users/update-admin", {"username": "headstart", "is_admin": True}),
        ("PATCH", "2.0/mlflow/users/update-password", {"username": "admin", "password": "a password of hers"}),
        ("DELETE", "2.0/mlflow/users/delete", {"username": "admin"}),
        ("POST", "3.0/mlflow/roles/create", {"workspace": "default", "name": "hers"}),
        ("POST", "2.0/mlflow/webhooks", {"name": "hers", "url": "https://example.org/"}),
    ):
        answer = requests.request(method, f"{address}/api/{path}", json=values, auth=own, timeout=30)
        assert (path, answer.status_code) == (path, 403)


def test_prefect_takes_the_work_pool_of_kubernetes(there):
    line = block("infra/README.md", "prefect work-pool").replace("create headstart", "create kubernetes")
    words = [str(servers.BIN / "prefect"), *line.split()[1:]]
    env = helpers.outside() | there.client
    done = subprocess.run(words, cwd=servers.INFRA.parent, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (pool,) = _prefect(there, "work_pools/filter", work_pools={"name": {"any_": ["kubernetes"]}})
    assert pool["base_job_template"]["variables"]["properties"]["gpus"]["default"] == 0


def test_both_servers_are_away_for_a_while_in_the_middle_of_a_run(there, start, client):
    run = start("away")
    run.until("extract")
    for server in (there.mlflow, there.prefect):
        server.stop()
    for server in (there.mlflow, there.prefect):
        server.start()
    answer = run.answer()
    assert answer.code == 0, answer.err
    assert (
        f"The MLflow server at {there.client['MLFLOW_TRACKING_URI']} does not answer; it is asked again" in answer.err
    )
    assert answer.json["aliases"] == ["champion"]

    parent, stages = _runs(client, "away")
    assert {run.info.status for run in (parent, *stages)} == {"FINISHED"}
    assert Counter(run.info.run_name for run in stages) == Counter(STAGES)
    assert {f"{name}.seconds" for name in STAGES} < set(parent.data.metrics)
    of = {run.info.run_name: run.info.run_id for run in stages}
    losses = client.get_metric_history(of["train_head"], "loss")
    assert sorted(each.step for each in losses) == list(range(len(losses)))
    assert losses
    assert "confusion_matrix.png" in {file.path for file in client.list_artifacts(of["evaluate"])}

    own = {"flow_runs": {"name": {"any_": ["train away"]}}}
    assert [run["state_type"] for run in _prefect(there, "flow_runs/filter", **own)] == ["COMPLETED"]
    for _ in range(60):  # the states of tasks come as events
        tasks = _prefect(there, "task_runs/filter", **own)
        if {run["state_type"] for run in tasks} == {"COMPLETED"} and len(tasks) == len(STAGES):
            break
        time.sleep(0.5)
    assert Counter(run["state_type"] for run in tasks) == {"COMPLETED": len(STAGES)}


def test_a_server_that_stays_away_ends_the_run_and_what_was_computed_is_kept(there, start, client):
    away = start("gone", salt="gone", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    away.until("extract")
    while "train_head" not in {run.info.run_name for run in _runs(client, "gone")[1]}:
        assert away.process.is_alive()
        time.sleep(0.1)
    there.mlflow.stop()  # the head is being trained
    stopped = away.answer()
    there.mlflow.start()
    assert (stopped.code, stopped.out) == (3, "")
    said = stopped.err
    assert f"Expected the MLflow server at {there.client['MLFLOW_TRACKING_URI']} to answer" in said
    assert "same command again: it continues where this one stopped" in " ".join(said.split())
    assert "Traceback" not in said
    assert "train_head" not in said

    again = start("gone", salt="gone").answer()
    assert again.code == 0, again.err
    cached = {name for name, stage in again.json["stages"].items() if stage["cached"]}
    assert {"ingest", "validate", "preprocess", "extract", "audit", "train_head"} == cached
    assert again.json["aliases"] == ["champion"]
    _, stages = _runs(client, "gone")
    of = {run.info.run_name: run.info.run_id for run in stages}
    assert sorted(of) == sorted(STAGES)
    assert client.get_metric_history(of["train_head"], "loss")  # which its first run could not log


def test_the_same_recipe_twice_at_once_on_postgresql(there, folder, start, client):
    logs = (there.mlflow.log, there.prefect.log)
    before = [len(log.read_text()) for log in logs]
    for answer in [run.answer() for run in (start("twin"), start("twin"))]:
        assert answer.code == 0, answer.err
    for log, since in zip(logs, before, strict=True):
        complaints = servers.database_errors(log.read_text()[since:])
        # Prefect's server logs a trace where two clients create a limit at once, and answers the second that it exists.
        assert not [line for line in complaints if "uq_concurrency_limit_v2__name" not in line]
    for log in (folder / "home" / "logs").glob("*.log"):
        assert not servers.database_errors(log.read_text())

    versions = {version.version for version in client.search_model_versions("name = 'twin'")}
    aliases = client.get_registered_model("twin").aliases
    assert len(versions) in (1, 2)  # the second takes the first's from the cache where that was faster
    assert aliases["champion"] in versions
    assert set(aliases.values()) == versions
    run, stages = _runs(client, "twin")
    assert {run.info.artifact_uri.partition(":")[0] for run in stages} == {"mlflow-artifacts"}
    with request.urlopen(f"{there.secrets['S3_ENDPOINT']}/mlflow?list-type=2&max-keys=1000") as answer:
        stored = answer.read().decode()
    assert f"{run.info.run_id}/artifacts/report.html" in stored


REGISTER = """
import tiny_versions
print(tiny_versions.register("lost"))
"""


def test_what_was_asked_for_twice_since_the_answer_was_lost_is_there_once(there, folder, client):
    with _losing(there.client["MLFLOW_TRACKING_URI"]) as (address, lost):
        env = (
            helpers.outside() | there.client | {"MLFLOW_TRACKING_URI": address, "HEADSTART_HOME": str(folder / "home")}
        )
        done = warm.run(env=env, cwd=folder, code=REGISTER)
    assert done.code == 0, done.err
    assert set(lost) == {
        "experiments/create",
        "runs/create",
        "logged-models",
        "registered-models/create",
        "model-versions/create",
    }
    experiment = client.get_experiment_by_name("lost").experiment_id
    runs = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == ["register", "train lost"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_logged_models([experiment])) == 1
    version = done.out.split()[-1]
    assert [each.version for each in client.search_model_versions("name = 'lost'")] == [version]
    assert client.get_registered_model("lost").aliases == {"challenger": version}


@contextmanager
def _losing(address):
    """A way to a server on which each request that makes something is answered at the second time of asking only."""
    asked = Counter()

    class Way(BaseHTTPRequestHandler):
        def _pass_on(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            with closing(http.client.HTTPConnection(address.removeprefix("http://"))) as server:
                server.request(self.command, self.path, body, headers)
                answer = server.getresponse()
                data, path = answer.read(), self.path.partition("/mlflow/")[2]
            if self.command == "POST" and (path.endswith("/create") or path == "logged-models"):
                asked[path] += 1
                if asked[path] % 2:
                    self.close_connection = True
                    return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", ""))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Way) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
