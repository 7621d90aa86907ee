"""The command, as a user runs it: answers, exit codes, messages, and what it does not load."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import helpers
import pandas as pd
import psutil
import pytest
import warm
import yaml
from helpers import outside
from PIL import Image

from tasks.services import tracking
from tasks.services.registry import versions
from tasks.services.tracking.client import experiment_id


@pytest.fixture(scope="module")
def trained(cold, home, tmp_path_factory):
    """A model trained by the command from a manifest, in a process of its own."""
    folder = tmp_path_factory.mktemp("cli")
    files = sorted(helpers.photos(folder / "photos", classes=("red", "blue")).rglob("*.png"))
    table = pd.DataFrame(
        {
            "image": [str(f.relative_to(folder)) for f in files],
            "label": [f.parent.name for f in files],
            "camera": ["left", "left", "right"] * (len(files) // 3),
        }
    )
    table.to_csv(folder / "labels.csv", index=False)
    extra = (
        "[slices]\nmin_images = 2\n[transfer_check]\nenabled = false\n[gates.min_metric]\nat_least = { accuracy = 0.6 }"
    )
    text = helpers.recipe(folder, "redness", extra)
    text = text.replace('kind = "folder"', 'kind = "manifest"').replace(f'"{folder}"', f'"{folder}/labels.csv"')
    (folder / "r.toml").write_text(text)
    return folder, cold("train", str(folder / "r.toml"), "--json", "--home", str(home))


def test_a_manifest_trains_and_the_answer_is_one_json_object(trained):
    _, answer = trained
    assert answer.code == 0, answer.err
    assert len(answer.out.strip().splitlines()) == 1
    assert answer.json["aliases"] == ["champion"]
    assert answer.json["images"]["rejected"] == 0
    assert Path(answer.json["data_docs"].removeprefix("file://")).is_file()
    assert Path(answer.json["report"].removeprefix("file://")).is_file()
    # Third parties are quiet: what is left on standard error is ours.
    assert [line.split()[0] for line in answer.err.strip().splitlines()] == list(answer.json["stages"])


def test_the_answer_and_the_report_tell_of_slices(trained):
    _, answer = trained
    found = answer.json["slices"]
    assert found["judged"] >= 4
    assert found["worst"]["column"] in ("camera", "brightness", "sharpness")
    assert found["worst"]["interval"][0] <= found["worst"]["gap"] <= 0 <= found["flagged"]
    assert found["probe"] == "probe"
    report, figures = (Path(answer.json[name].removeprefix("file://")) for name in ("report", "figures"))
    table = pd.read_csv(figures / "slices.csv")
    assert len(table) == found["judged"]
    cameras = table[table["column"] == "camera"]
    assert sorted(cameras["value"]) == ["left", "right"]
    assert cameras["images"].sum() == answer.json["images"]["test"]
    assert "<td>camera</td><td>left</td>" in report.read_text()


LOADS = """
import atexit, json, sys
@atexit.register
def tell():
    heavy = {"tensorflow", "keras", "great_expectations", "tensorflow_datasets", "sklearn", "matplotlib.pyplot"}
    open(sys.argv[1], "w").write(json.dumps(sorted(heavy & set(sys.modules))))
from flows.cli.app import app
app(sys.argv[2:], standalone_mode=False)
"""


def test_a_run_with_nothing_new_loads_neither_tensorflow_nor_great_expectations(trained, home, tmp_path):
    folder, first = trained
    command = [sys.executable, "-c", LOADS, str(tmp_path / "loaded"), "train", str(folder / "r.toml"), "--json"]
    done = subprocess.run(
        [*command, "--home", str(home)],
        capture_output=True,
        text=True,
        env=outside(),
        timeout=300,
    )
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert all(stage["cached"] for stage in answer["stages"].values())
    assert answer["metrics"] == first.json["metrics"]
    assert json.loads((tmp_path / "loaded").read_text()) == []


def test_predict_gives_a_label_and_a_probability_for_each_image(trained, command):
    folder, _ = trained
    images = [folder / "photos" / name / f"{name} 3.png" for name in ("red", "blue")]
    answer = command("predict", "redness@champion", *map(str, images))
    assert answer.code == 0, answer.err
    lines = [line.split("\t") for line in answer.out.strip().splitlines()]
    assert [(label, path) for label, _, path in lines] == [("red", str(images[0])), ("blue", str(images[1]))]
    assert all(0.5 <= float(probability) <= 1 for _, probability, _ in lines)
    (folder / "text.png").write_text("no image")
    refused = command("predict", "redness", str(folder / "text.png"))
    assert refused.code == 1
    assert "text.png" in refused.err
    others = command("predict", "redness", str(folder / "text.png"), str(images[0]), str(folder / "text.png"), "--json")
    assert (others.code, others.json["image"]) == (1, str(images[0]))
    assert command("predict", "nothing@champion", str(images[0])).code == 2


def test_predict_draws_what_an_answer_rests_on(trained, command, tmp_path):
    folder, _ = trained
    photo = sorted((folder / "photos").rglob("*.png"))[0]
    answer = command("predict", "redness@champion", str(photo), "--explain", str(tmp_path / "why"), "--json")
    drawn = Path(answer.json["explained"])
    assert drawn.parent == tmp_path / "why"
    with Image.open(drawn) as picture:
        assert picture.width == 2 * picture.height
    (tmp_path / "file").write_text("")
    refused = command("predict", "redness@champion", str(photo), "--explain", str(tmp_path / "file"))
    assert (refused.code, "--explain: expected a folder" in refused.err) == (2, True)


def test_a_label_that_a_person_corrects_is_used_by_the_next_run_and_can_be_taken_back(trained, command):
    folder, answer = trained
    file = Path(answer.json["audit"]["suspects_table"].removeprefix("file://"))
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[0, "corrected"] = table["suggested"][0]
    table.to_csv(folder / "mine.csv", index=False)
    refused = command("labels", "suspects", "redness", "--to", str(folder / "mine.csv"))
    assert (refused.code, "found 1 in" in refused.err) == (2, True)
    (change,) = command("labels", "apply", str(folder / "mine.csv"), "--json").json["changes"]
    assert (change["from"], change["to"]) == (table["label"][0], table["suggested"][0])
    (kept,) = command("labels", "list", "redness", "--json").json
    assert command("labels", "suspects", "redness", "--to", str(folder / "mine.csv")).code == 0
    assert pd.read_csv(folder / "mine.csv", dtype=str, keep_default_na=False)["corrected"].eq("").all()
    table.to_csv(folder / "mine.csv", index=False)
    assert (kept["recipe"], kept["key"]) == ("redness", table["key"][0])
    assert command("check", str(folder / "r.toml"), "--json").json["corrected_labels"] == 1
    assert "Changed labels of redness" in command("labels", "undo", str(folder / "mine.csv")).out
    assert command("check", str(folder / "r.toml"), "--json").json["corrected_labels"] == 0
    table.assign(corrected="purple").to_csv(folder / "mine.csv", index=False)
    refused = command("labels", "apply", str(folder / "mine.csv"))
    assert refused.code == 1
    assert "expected the classes blue, red" in refused.err
    assert command("labels", "apply", str(folder / "nothing.csv")).code == 2


def test_models_shows_versions_aliases_and_gates(trained, command):

    (version,) = command("models", "redness", "--json").json
    assert (version["model"], version["version"], version["aliases"]) == ("redness", "1", "champion")
    assert (version["gate"], version["rung"] in ("knn", "probe", "head", "blocks", "interpolated")) == ("promote", True)
    shown = command("models", "redness")
    assert "champion" in shown.out
    assert "No registered model named nothing" in command("models", "nothing").err


def test_a_failed_gate_is_exit_1_and_says_why(trained, command):
    folder, _ = trained
    answer = command(
        "train",
        str(folder / "r.toml"),
        "--set=name=strict",
        "--set=gates.min_metric.at_least.accuracy=1.01",
    )
    assert answer.code == 1
    assert "is below 1.01" in answer.out
    assert "keep" in answer.out
    (version,) = command("models", "strict", "--json").json
    assert version["aliases"] == "challenger"


@pytest.mark.parametrize(
    ("toml", "overrides", "code", "says"),
    [
        ('name = "x"\n[head]\nkindd = "linear"', (), 2, "head.kindd: there is no such setting"),
        ('name = "x"\n[backbone]\nkind = "resnet51"', (), 2, "found 'resnet51'"),
        ('name = "x"\n[source]\noptions = { path = "no/such/folder" }', (), 1, "no folder at no/such/folder"),
        (None, (), 2, "one of digits, elpv"),
        ('name = "x"\n[source]\noptions = { path = "." }', ("--set", "seed"), 2, "KEY=VALUE"),
    ],
)
def test_wrong_recipes_are_one_paragraph_with_the_right_exit_code(
    command, tmp_path, monkeypatch, toml, overrides, code, says
):
    if toml is not None:
        (tmp_path / "r.toml").write_text(toml.replace('"x"', '"wrong"' if code == 2 else '"without-data"'))
    monkeypatch.chdir(tmp_path)
    answer = command("train", "r.toml", *overrides)
    assert answer.code == code, answer.err
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""
    # Nothing that is wrong before the data is looked at leaves a trace in MLflow.
    assert tracking.client().get_experiment_by_name("wrong") is None


def test_the_trace_is_in_the_log_file(command, tmp_path):
    answer = command("train", "nothing", "--home", str(tmp_path))
    assert answer.code == 2
    (log,) = (tmp_path / "logs").glob("*-train.log")
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("kind", ["backbones", "heads", "sources", "gates", "engines"])
def test_what_can_be_used_is_listed(command, kind):
    from tasks.runtime import plugins

    answer = command(kind, "--json")
    assert answer.code == 0
    assert {row[kind.removesuffix("s")] for row in answer.json} == set(plugins.names(kind))


def test_tables_are_listed_and_those_of_no_version_are_pruned(trained, command, home, tmp_path, monkeypatch):
    from tasks.runtime.store.commits import SUFFIX

    # In a copy, as other tests' tables are here too.
    (tmp_path / "store").mkdir()
    own = set(versions.version_of("redness", "1").tags["headstart.tables"].split())
    for name in own:
        shutil.copytree(home / "store" / f"{name}{SUFFIX}", tmp_path / "store" / f"{name}{SUFFIX}")
    assert {name.split("-")[0] for name in own} >= {"images", "features"}
    orphan = tmp_path / "store" / f"features-orphan{SUFFIX}"
    shutil.copytree(next(orphan.parent.glob("features-*.lance")), orphan)
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    listed = command("store", "--json").json
    assert {row["table"] for row in listed} == own | {"features-orphan"}
    assert all(row["rows"] and row["bytes"] for row in listed)
    (only,) = (row for row in command("store", "prune", "--json").json if row["drop_count"])
    assert (only["names"], only["deleted"]) == (["features-orphan"], False)
    assert only["count"] == len(own) + 1 and only["bytes"] > only["drop_bytes"] > 0
    assert orphan.exists()
    assert "headstart store prune --yes" in command("store", "prune").err
    assert command("store", "prune", "--yes").code == 0
    assert not orphan.exists()
    assert {row["table"] for row in command("store", "--json").json} == own


def test_a_fresh_test_set_is_drawn_among_images_that_were_none(trained, command, home):
    folder, _ = trained
    recipe, known = str(folder / "r.toml"), set((home / "store" / "datasets").glob("*"))
    told = command("testset", recipe, "--json").json
    data = versions.data_of("redness", "1").set_index("key")["split"]
    assert (told["images"], told["champion"]) == ((data == "test").sum(), "1")
    assert told["unseen"] == told["images"] and not told["drawn"]
    assert "It costs a training" in command("testset", recipe).out
    try:
        assert command("testset", recipe, "--fresh", "--json").json["drawn"]
        assert command("check", recipe).code == 0
        (made,) = set((home / "store" / "datasets").glob("*")) - known
        fresh = pd.read_parquet(made / "images.parquet").set_index("key")["split"]
        assert set(fresh.index) == set(data.index)
        assert (fresh == "test").sum() >= 2
        assert not (fresh[data[data == "test"].index] == "test").any()
    finally:
        tracking.client().delete_registered_model_tag("redness", versions.FRESH)
    by_time = command("testset", recipe, "--fresh", "--set", "split.by_time=camera")
    assert by_time.code == 2
    assert command("testset", recipe, "--set", "name=nobody").code == 2


def test_init_looks_writes_a_recipe_and_checks_it(command, colours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = command("init", str(colours), "--out", "first.toml")
    assert refused.code == 1, refused.err
    assert "76 images, 3 classes" in refused.out
    assert "then: headstart check first.toml" in refused.err
    assert command("init", str(colours), "--out", "first.toml").code == 2
    answer = command("init", str(colours), "--set=name=first", "--set=validation.max_rejected=0.1", "--force", "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["recipe"], answer.json["next"]) == ("first.toml", "headstart train first.toml")
    own = str(tmp_path / "my home")
    elsewhere = command("init", str(colours), "--out", "second.toml", "--home", own)
    assert f"then: headstart check second.toml --home '{own}'" in elsewhere.err
    assert answer.json["found"]["classes"] == {"blue": 25, "green": 25, "red": 26}
    assert answer.json["check"]["images"]["rejected"] == 4
    assert "max_rejected = 0.1" in Path("first.toml").read_text()
    assert command("check", "first.toml").code == 0


def test_doctor_says_what_works_and_what_does_not(headstart, tmp_path):
    answer = headstart("doctor", "--json", "--home", str(tmp_path))
    assert answer.code == 0, answer.out
    assert all(row["ok"] and row["details"] for row in answer.json)
    away = headstart("doctor", "--json", "--home", str(tmp_path), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert away.code == 3
    assert [row["check"] for row in away.json if not row["ok"]] == ["Prefect server"]


def test_the_version_and_the_schema_of_recipes_are_printed(command):
    assert command("--version").out == f"headstart {metadata.version('headstart')}\n"
    schema = json.loads(command("schema").out)
    assert schema["properties"]["name"]["description"] == "Experiment and registered model"
    assert schema["$defs"]["Split"]["properties"]["rare"]["enum"] == ["aside", "train", "stop"]


def test_no_summary_of_a_command_is_cut_off(command):
    assert "..." not in command("--help").out.split("Start:")[1]


def test_help_needs_no_heavy_library():
    heavy = "('prefect', 'mlflow', 'tensorflow', 'pandas')"
    code = f"import sys, flows.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_command_that_is_told_to_end_waits_for_no_server_and_leaves_none_behind(tmp_path):
    (tmp_path / "r.toml").write_text(helpers.recipe(helpers.photos(tmp_path / "photos", each=2)))
    run = warm.Command("check", "r.toml", "--home", "home", env=outside(), cwd=tmp_path)
    servers = run.own_server()
    for server in servers:
        server.suspend()
    run.send(signal.SIGTERM)
    answer = run.answer()
    run.end()
    assert answer.code == 130
    assert "Run the same command again to continue" in answer.err
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive


@pytest.mark.parametrize("writer", ["pandas.DataFrame.to_parquet", "tasks.services.tracking.log.send"])
def test_a_disk_that_is_full_in_a_run_is_one_sentence_and_the_next_command_goes_on(
    command, tmp_path, monkeypatch, writer
):
    def full(*words, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "r.toml").write_text(helpers.recipe(helpers.photos(tmp_path / "photos", each=3), tmp_path.name))
    with monkeypatch.context() as faults:
        faults.setattr(writer, full)
        stopped = command("check", str(tmp_path / "r.toml"))
    assert stopped.code == 3
    assert len([line for line in stopped.err.splitlines() if "The disk is full: [Errno 28]" in line]) == 1
    runs = tracking.client().search_runs([experiment_id(tmp_path.name)], "attributes.status = 'RUNNING'")
    assert list(runs) == []
    assert command("check", str(tmp_path / "r.toml")).code == 0


PROJECT = """
config_version: 4
stores:
  expectations_store:
    class_name: ExpectationsStore
    store_backend: {class_name: TupleFilesystemStoreBackend, base_directory: expectations/}
  validation_results_store:
    class_name: ValidationResultsStore
    store_backend: {class_name: TupleFilesystemStoreBackend, base_directory: uncommitted/validations/}
  checkpoint_store:
    class_name: CheckpointStore
    store_backend: {class_name: TupleFilesystemStoreBackend, base_directory: checkpoints/}
  validation_definition_store:
    class_name: ValidationDefinitionStore
    store_backend: {class_name: TupleFilesystemStoreBackend, base_directory: validation_definitions/}
expectations_store_name: expectations_store
validation_results_store_name: validation_results_store
checkpoint_store_name: checkpoint_store
data_docs_sites: {}
"""


def test_expectations_of_a_persons_own_lie_beside_the_recipe_and_are_read_again_when_they_change(command, tmp_path):
    helpers.photos(tmp_path / "photos", each=6, classes=("red", "blue"))
    extra = '[validation]\nown = "expectations"\ncontext = "project"'
    (tmp_path / "r.toml").write_text(helpers.recipe(tmp_path / "photos", "own", extra))
    assert "validation.own: expected a folder" in command("check", str(tmp_path / "r.toml")).err
    suites = [tmp_path / name for name in ("expectations", "project/gx/expectations")]
    for folder, severity in zip(suites, ("warning", "critical"), strict=True):
        folder.mkdir(parents=True)
        wide = {"type": "expect_column_min_to_be_between", "kwargs": {"column": "width", "min_value": 41}}
        (folder / "wide.json").write_text(json.dumps({"name": "wide", "expectations": [wide | {"severity": severity}]}))
    (tmp_path / "project" / "gx" / "great_expectations.yml").write_text(PROJECT)
    refused = command("check", str(tmp_path / "r.toml"))
    assert refused.code == 1
    assert "context_wide.width column_min_to_be_between (min_value = 41); found 40" in refused.err
    (suites[1] / "wide.json").write_text((suites[0] / "wide.json").read_text())
    told = command("check", str(tmp_path / "r.toml"), "--json").json["warnings"]
    assert [text.partition(".")[0] for text in told] == ["Expected: own_wide", "Expected: context_wide"]
    (suites[0] / "wide.json").write_text("{")
    wrong = command("check", str(tmp_path / "r.toml"))
    assert wrong.code == 2
    assert "wide.json: expected JSON" in wrong.err


@pytest.mark.parametrize(("closed", "code"), [("<&- >&- 2>&-", 0), (">&-", 0), ("2>&-", 2)])
def test_a_closed_stream_changes_no_exit_code(tmp_path, closed, code):
    words = "heads" if code == 0 else "check no_such_recipe"
    command = f"exec {Path(sys.executable).with_name('headstart')} {words} --home {tmp_path} {closed}"
    done = subprocess.run(["sh", "-c", command], env=outside(), capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


STUCK = """
import time
from flows.cli import session
session.ENDS = 1
with session.own_process(), session.session("check") as s:
    s.note("begun")
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def test_a_command_that_an_interrupt_does_not_end_is_ended(tmp_path):
    env = outside() | {"HEADSTART_HOME": str(tmp_path)}
    run = warm.Command(env=env, cwd=tmp_path, code=STUCK)
    run.until("begun")
    run.send(signal.SIGTERM)
    answer = run.answer()
    run.end()
    assert answer.code == 130
    assert "Run the same command again" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_while_the_interpreter_ends_says_nothing_more(tmp_path, number):
    late = f"atexit.register(lambda: (os.kill(os.getpid(), {int(number)}), time.sleep(60)))"
    code = f"import atexit, os, sys, time; from flows.cli.app import main; {late}; sys.argv[1:] = ['heads']; main()"
    env = outside() | {"HEADSTART_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (130, "")
    assert "linear" in done.stdout


def test_a_project_has_all_that_its_own_files_ask_for(trained, command, tmp_path):
    folder, _ = trained
    project = tmp_path / "project"
    done = command("init", str(folder / "photos"), "--project", str(project), "--set", "name=paints", "--json")
    assert done.code == 0, done.err
    assert done.json["recipe"] == str(project / "paints.toml")
    assert not [file for file in project.rglob("*") if file.is_file() and "@" in file.read_text().replace("@v", "")]
    for line in yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["steps"]:
        if "run" in line and not line["run"].startswith("pip"):
            run = subprocess.run(
                ["bash", "-c", line["run"]], cwd=project, env=outside(), capture_output=True, text=True
            )
            assert run.returncode == 0, run.stdout + run.stderr
    listed = command("heads", "--plugins", str(project / "plugins"))
    assert "narrow" in listed.out
    narrow = ("--set", "head.kind=narrow", "--set", "head.options.units=16", "--set", "effort=none")
    trained_with_it = command("train", str(project / "paints.toml"), *narrow, "--set", "ladder.stop_at=head", "--json")
    assert trained_with_it.code == 0, trained_with_it.err
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    assert subprocess.run(check, cwd=project, capture_output=True).returncode == 0
    assert ".headstart/" in (project / ".dockerignore").read_text().splitlines()
    (mounted,) = [each for each in _compose(project)["volumes"] if isinstance(each, dict)]
    assert mounted["source"] == str(folder / "photos")
    deployments = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    assert [each["name"] for each in deployments][:2] == ["paints", "paints"]
    again = command("init", str(folder / "photos"), "--project", str(project))
    assert (again.code, "expected a new or empty folder" in again.err) == (2, True)
    (tmp_path / "none").mkdir()
    nothing = command("init", str(tmp_path / "none"), "--project", str(tmp_path / "other"))
    assert nothing.code == 1
    assert not (tmp_path / "other").exists()
    (tmp_path / "mine").mkdir()
    assert command("init", str(tmp_path / "none"), "--project", str(tmp_path / "mine")).code == 1
    assert (tmp_path / "mine").is_dir()


def _compose(project):
    return yaml.safe_load((project / "compose.yaml").read_text())["services"]["headstart"]
