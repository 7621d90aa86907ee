"""Shows retraining that runs itself, a line and its figure each; about 40 minutes on 2 cores.

uv run python -m tests.acceptance.retraining [NUMBER …]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance import drift as drift
from tests.acceptance import shared_servers as shared
from tests.acceptance.shown import BIN, HOME, ROOT, Shown, headstart, main, tests
from tests.benchmarks import cases

sys.path += [str(ROOT / "tests" / "system")]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them

import helpers

STAGES = (
    "ingest",
    "validate",
    "preprocess",
    "extract",
    "audit",
    "knn",
    "probe",
    "train_head",
    "fine_tune",
    "interpolate",
)
#: What a run of `retrain` may be started for.
WHY = {"the schedule", "new data was announced", "new data"}
LATER = ("choose", "transfer_check", "calibrate", "evaluate", "gate", "register")


@contextmanager
def _started(words: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=ROOT, env=env, **quiet) as process:
        try:
            yield process
        finally:
            process.terminate()


def _runs(api: str, flow: str) -> list[dict[str, Any]]:
    """Runs of a flow that have begun."""
    request = urllib.request.Request(
        f"{api}/flow_runs/filter",
        json.dumps({"flows": {"name": {"any_": [flow]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    return [run for run in json.loads(helpers.answer(request)) if run["start_time"]]


def deployments() -> Shown:
    """`prefect deploy --all` on a real server with a process pool: a schedule and `headstart notify` lead to runs."""
    port = helpers.free_port()
    api = f"http://127.0.0.1:{port}/api"
    home = Path(tempfile.mkdtemp(prefix="headstart-deployed-"))
    env = helpers.outside() | {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(home / "server"),
        "HEADSTART_HOME": str(home / "home"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NAME": "elpv",
        "RECIPE": "elpv",
    }

    def prefect(*words: str) -> None:
        subprocess.run([str(BIN / "prefect"), *words], cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)

    with _started([str(BIN / "prefect"), "server", "start", "--port", str(port)], env):
        helpers.answer(f"{api}/health")
        prefect("work-pool", "create", "headstart", "--type", "process")
        prefect("--no-prompt", "deploy", "--all")
        soon = time.gmtime(time.time() + 125)  # Prefect looks once a minute which runs come next
        prefect("deployment", "schedule", "create", "retrain/elpv", "--cron", f"{soon.tm_min} {soon.tm_hour} * * *")
        with _started([str(BIN / "prefect"), "worker", "start", "--pool", "headstart"], env):
            _until(api, "the schedule")
            subprocess.run([str(BIN / "headstart"), "notify", "elpv"], env=env, check=True, capture_output=True)
            found = _until(api, "new data was announced")
    # The watching deployment has seen the source for the first time and may have started one too.
    ended = sorted((run["parameters"]["why"], run["state"]["type"]) for run in found)
    told = {why for why, _ in ended}
    held = {"the schedule", "new data was announced"} <= told <= WHY and {state for _, state in ended} == {"COMPLETED"}
    return held, str(ended)


def _until(api: str, why: str, seconds: int = 900) -> list[dict[str, Any]]:
    """All runs, once there is one that was started for this reason and none is under way."""
    for _ in range(seconds // 3):
        found = _runs(api, "retrain")
        if any(run["parameters"]["why"] == why for run in found) and all(run["end_time"] for run in found):
            break
        time.sleep(3)
    return found


def burst() -> Shown:
    """50 files copied in over 10 seconds lead to one run."""
    from test_serve import Served

    folder = Path(tempfile.mkdtemp(prefix="headstart-burst-"))
    options = '[retrain]\nmin_new = 10\nsettle = 4\n[ladder]\nstop_at = "knn"'
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos"), "burst", options))
    served = Served(folder, ["serve", "r.toml", "--watch", "8"], "burst")
    try:
        before = len(served.until(1))
        for number in range(50):
            photo = helpers.photo(helpers.COLOURS["red"], 900 + number)
            photo.save(served.folder / "photos" / "red" / f"new {number}.png")
            time.sleep(0.2)
        served.until(before + 1)
        time.sleep(40)
        found = served.until(before + 1)
    finally:
        served.end()
    return len(found) == before + 1, f"{len(found) - before} run: {found[-1]['parameters']['why']}"


def kills() -> Shown:
    """SIGKILL once in every stage: each next command repeats no finished stage, and the end is the undisturbed one."""
    from test_recovery import UNDER_WAY, _killed_in

    folder = Path(tempfile.mkdtemp(prefix="headstart-kills-"))
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos"), "kills"))
    whole, _ = headstart("train", str(folder / "r.toml"), home=folder / "undisturbed")
    killed, problems = 0, []
    done: list[str] = []
    for stage in (*STAGES, *LATER):
        last = _killed_in(stage, folder / "r.toml", folder / "home")
        killed += last[-1] == stage
        done = [name for name in last if name in whole["stages"]]
    answer, _ = headstart("train", str(folder / "r.toml"), home=folder / "home")
    problems += [f"{name} again" for name in done if not answer["stages"][name]["cached"]]
    if answer["metrics"] != whole["metrics"]:
        problems.append(f"{answer['metrics']} instead of {whole['metrics']}")
    shown = subprocess.run(
        [sys.executable, "-c", UNDER_WAY, str(folder / "home")], capture_output=True, text=True, env=helpers.outside()
    )
    left = shown.stdout.strip().splitlines()[-1]
    held = killed == len(STAGES) + len(LATER) and not problems and left == "[[], []]"
    return held, f"{killed} kills, {len(problems)} problems {problems[:2]}, under way at the end: {left}"


def servers() -> Shown:
    """On PostgreSQL, MLflow and Prefect servers: runs at once, all complete; a server stopped in the middle."""
    return tests(
        "tests/system/test_servers.py", "tests/unit/services/test_outages.py", "tests/unit/infra/test_infra.py"
    )


def scores() -> Shown:
    """ELPV's 2,624 images: the labels of evaluate's on the test rows; at least 0.8 times the images/s of extraction."""
    import pandas as pd

    extracted = cases.streamed(HEADSTART_HOME=str(HOME / "extraction"))
    answer, _ = headstart("train", "elpv", "--set", "ladder.stop_at=head")
    out = HOME / "scores.parquet"
    found, _ = headstart("score", "elpv@champion", "elpv", "--out", str(out))
    told = pd.read_parquet(Path(answer["figures"].removeprefix("file://")) / "predictions.parquet")
    both = told.merge(pd.read_parquet(out), on="key")
    same = int((both["predicted"] == both["label_y"]).sum())
    rate, aim = found["computed"] / found["seconds"], extracted["images"] / extracted["seconds"]
    held = found["images"] == 2624 and same == len(told) == len(both) and rate >= 0.8 * aim
    figure = f"{same} of {len(told)} labels the same; {rate:.0f} of {aim:.0f} images/s, {rate / aim:.2f}"
    return held, f"{found['images']} images, {figure}"


if __name__ == "__main__":
    main([deployments, burst, kills, servers, drift.drifted, scores, shared.at_once, shared.minute])
