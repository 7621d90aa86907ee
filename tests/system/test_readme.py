"""The blocks of the documents do what the documents say, in the order of a reader; the main job runs in CI."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import helpers
import pandas as pd
import pytest
from documents import BLOCKS, TEXTS, block
from helpers import outside

from tasks import settings

BIN = Path(sys.executable).parent


def _shell(script: str, cwd: Path) -> subprocess.CompletedProcess:
    """As a reader would, with this environment instead of a new one."""
    env = outside() | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    script = script.replace("uv run ", "")
    return subprocess.run(["bash", "-ec", script], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader with photos who has run the lines for own photos."""
    folder = tmp_path_factory.mktemp("reader")
    make, *rest = block("README.md", "headstart init").strip().splitlines()
    assert _shell(make, folder).returncode == 0
    for name, colour in (("cat", "red"), ("dog", "blue")):
        for number in range(24):
            # One photo is in the wrong folder.
            shown = "red" if (name, number) == ("dog", 5) else colour
            photo = helpers.photo(helpers.COLOURS[shown], number * 2 + len(colour), 64)
            photo.save(folder / "photos" / name / f"{number}.jpg")
    (folder / "1.jpg").write_bytes((folder / "photos" / "cat" / "1.jpg").read_bytes())
    return folder, _shell("\n".join(rest), folder)


def test_own_photos_in_two_commands(reader):
    folder, done = reader
    assert done.returncode == 0, done.stderr
    assert "Next: headstart train pets.toml" in done.stdout
    assert "pets version 1 (champion): promote" in done.stdout
    for stage in ("ingest", "register"):
        assert re.search(rf"│ {stage} +│ \d", done.stdout)
    assert (folder / ".headstart" / "mlflow.db").is_file()


def test_then_ask_the_model(reader):
    folder, _ = reader
    done = _shell(block("README.md", "headstart predict"), folder)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"cat\t0\.\d{6}\tphotos/cat/1\.jpg|cat\t1\.0{6}\tphotos/cat/1\.jpg", done.stdout.strip())


def test_the_version_answers_by_itself(reader):
    folder, _ = reader
    code = block("README.md", "mlflow.pyfunc")
    env = outside() | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/.headstart/mlflow.db"}
    shown = code.replace("model.predict(", "print(model.predict(").replace("  # label", ")  # label")
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "cat" in done.stdout


def test_a_server_answers_the_line_with_curl(reader):
    folder, _ = reader
    serve, ask = (block("mlflow/README.md", word) for word in ("models serve", "curl"))
    port = str(helpers.free_port())
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    words = ["bash", "-ec", "exec env " + serve.replace("uv run ", "").replace("5001", port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(words, cwd=folder, env=outside() | path, **quiet) as server:
        try:
            helpers.answer(f"http://127.0.0.1:{port}/health")
            done = _shell(ask.replace("5001", port), folder)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    (said,) = json.loads(done.stdout)["predictions"]
    assert (said["label"], said["set"][0]) == ("cat", "cat")
    # Of few photos one in some is farther from the others than most.
    assert said["novel"] == (said["novelty"] > 1)
    assert sum(said["probabilities"]) == pytest.approx(1)
    assert list(said) == ["label", "probability", "probabilities", "set", "abstain", "novelty", "novel"]


def test_a_folder_is_scored(reader):
    folder, _ = reader
    done = _shell(block("mlflow/README.md", "headstart score"), folder)
    assert done.returncode == 0, done.stderr
    assert "48 images: 48 predicted now" in done.stdout
    assert len(pd.read_parquet(folder / "scores.parquet")) == 48


def test_a_person_corrects_a_label_and_takes_it_back(reader):
    folder, _ = reader
    suspects, apply, listed, undo = block("tasks/evaluation/README.md", "labels suspects").strip().splitlines()
    assert _shell(suspects, folder).returncode == 0
    table = pd.read_csv(folder / "label_suspects.csv")
    table["corrected"] = table["corrected"].astype(object)
    table.loc[0, "corrected"] = {"cat": "dog", "dog": "cat"}[table.loc[0, "label"]]
    table.to_csv(folder / "label_suspects.csv", index=False)
    for line, words in ((apply, "Changed labels of pets"), (listed, "photos"), (undo, "Changed labels of pets")):
        done = _shell(line, folder)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout, line
    assert "photos" not in _shell(listed, folder).stdout


def test_the_table_of_files_is_a_recipe(tmp_path):
    (text,) = (each.text for each in BLOCKS if each.document == "README.md" and each.language == "toml")
    (tmp_path / "r.toml").write_text(text)
    assert settings.load(tmp_path / "r.toml").source.kind == "manifest"


def test_mlflow_shows_the_runs(reader):
    folder, _ = reader
    command = re.search(r"`uv run (mlflow ui [^`]*)`", TEXTS["README.md"])[1]
    port = helpers.free_port()
    # Without the job runners, which take 250 MB each and are not needed to look.
    env = outside() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = [str(BIN / "mlflow"), *command.split()[1:], "--port", str(port), "--workers", "1"]
    with subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert helpers.answer(f"http://127.0.0.1:{port}/health") == b"OK"
            assert b"<title>MLflow</title>" in helpers.answer(f"http://127.0.0.1:{port}/")
        finally:
            server.terminate()


def test_a_second_version_is_promoted_by_hand_taken_back_and_verified(reader):
    folder, _ = reader
    brief = "--set seed=1 --set ladder.stop_at=head --set transfer_check.enabled=false"
    again = _shell(f"headstart train pets.toml {brief}", folder)
    assert again.returncode == 0, again.stderr
    promote, rollback, models, verify = block("mlflow/README.md", "night photos").strip().splitlines()
    for line in (promote, rollback, verify):
        done = _shell(line, folder)
        assert done.returncode == 0, line + done.stderr
    ledger = _shell(models, folder).stdout
    assert ledger.index("fails on the new camera") < ledger.index("night photos")  # the newest first
