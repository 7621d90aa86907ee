"""Does every attack and fault again that an audit of a91a795 has seen, a line and its figure each.

uv run python -m tests.acceptance.security [NUMBER …]     # about 12 minutes on 2 idle cores

Each line begins with the point of the audit that it belongs to, and says in brackets what was seen then.
"""

import atexit
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.shown import BIN, ROOT, Shown, ended, main, tests

#: Where pytest finds the tests' helpers, and tests.
WHERE = [str(ROOT / "tests" / room) for room in ("support", "system", "plugins")]
sys.path[:0] = WHERE
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

#: A file of a few KB may take so much more memory, MB, and so long, s.
MEGABYTES, SECONDS = 300, 10
#: A user of the machine who is not the owner.
NOBODY = 65534
#: The stages of a run on tiny photos after which one comes that takes seconds.
BEFORE_LONG_STAGES = ("ingest", "preprocess", "audit", "choose", "calibrate", "gate")


def _by(says: str, *named: str, only: str = "") -> Callable[[], Shown]:
    """A line that regression tests show: all of these files, or those whose names `only` picks."""

    def line() -> Shown:
        return tests("-n", "0", "-m", "", *[f"tests/{name}" for name in named], "-k", only)

    line.__doc__ = says
    return line


def _file(says: str, name: str, answer: str) -> Callable[[], Shown]:
    """A line that an attack by a file shows, in a process of its own; `answer` is a pattern of what is said."""

    def line() -> Shown:
        folder = tempfile.mkdtemp(prefix="headstart-attack-")
        script = f"from trouble import attacks; attacks.do({name!r}, {folder!r})"
        done = ended([sys.executable, "-c", script], cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join(WHERE)})
        if done.code:
            return False, f"exit code {done.code}, {done.seconds:.0f} s: {done.err[-300:]}"
        found = json.loads(done.out.splitlines()[-1])
        held = bool(re.search(answer, found["said"])) and found["megabytes"] < MEGABYTES and found["s"] < SECONDS
        figure = f"{found['bytes']} bytes took {found['megabytes']:.0f} MB and {found['s']:.2f} s"
        return held, f"{figure} ({done.megabytes:.0f} MB for the whole process): {found['said']:.160}"

    line.__doc__ = says
    return line


@functools.cache
def _served() -> Any:
    """`headstart serve` with a watch, which the last of its lines ends."""
    import helpers
    from test_serve import Served

    folder = Path(tempfile.mkdtemp(prefix="headstart-served-"))
    folder.chmod(0o755)  # the files in it keep others out by themselves
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos", each=8)))
    there = Served(folder, ["serve", "r.toml", "--watch", "60"], "colours")
    atexit.register(there.end)
    while not there.ask("deployments/filter", {}):
        time.sleep(0.5)
    return there


def another_user() -> Shown:
    """1. Another user asks for deployments, changes one, looks for the password [ran a shell in 15 s]:"""
    there = _served()
    deployment = there.ask("deployments/filter", {})[0]["id"]
    step = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id > /tmp/planted"}}]}
    asked = [
        ("POST", "deployments/filter", {}),
        ("PATCH", f"deployments/{deployment}", step),
        ("POST", f"deployments/{deployment}/create_flow_run", {}),
        ("GET", "admin/settings", None),
    ]
    # Whoever serves may read what is theirs.
    own = [str(there.secret), *(f"/proc/{pid}/environ" for pid in (there.process.pid, there.server()))]
    files = own if os.geteuid() == 0 else []
    with _as_nobody() as run:
        codes, read = run(there.api, asked, files)
    who = "another user" if os.geteuid() == 0 else "without a password"
    unchanged = not there.ask(f"deployments/{deployment}").get("pull_steps")
    return set(codes) <= {401, 403} and not read and unchanged, (
        f"{who}: answers {codes}, {len(read)} of {len(files)} places with the password read; unchanged: {unchanged}"
    )


@contextmanager
def _as_nobody() -> Iterator[Callable[..., Any]]:
    """A function that asks and reads in a process of another user, if this one may become it."""

    def run(api: str, asked: list[tuple[str, str, Any]], files: list[str]) -> tuple[list[int], list[str]]:
        reading, writing = os.pipe()
        if not (child := os.fork()):
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                said = [_codes(api, asked), [file for file in files if _can_read(file)]]
                os.write(writing, json.dumps(said).encode())
            finally:
                os._exit(0)  # nothing of this process is its own
        os.close(writing)
        os.waitpid(child, 0)
        return json.loads(os.read(reading, 10_000))

    yield run


def _codes(api: str, asked: list[tuple[str, str, Any]]) -> list[int]:
    import urllib.error
    import urllib.request

    found = []
    for method, path, body in asked:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(f"{api}/{path}", data, headers, method=method)
            found.append(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    return found


def _can_read(file: str) -> bool:
    try:
        Path(file).read_bytes()
    except OSError:
        return False
    return True


def other_sites() -> Shown:
    """1. Another site's page and another host's name ask it [CORS `*`, any Host]:"""
    import urllib.error
    import urllib.request

    api, status, allowed = _served().api, 0, None
    asked = urllib.request.Request(f"{api}/health", headers={"Origin": "http://elsewhere.example"})
    allowed = urllib.request.urlopen(asked, timeout=30).headers["Access-Control-Allow-Origin"]
    with suppress(urllib.error.HTTPError):
        asked = urllib.request.Request(f"{api}/health", headers={"Host": "elsewhere.example"})
        status = urllib.request.urlopen(asked, timeout=30).status
    return (
        allowed is None and status == 0,
        f"allowed origin {allowed}; another Host is {'answered' if status else 'refused'}",
    )


def noticed() -> Shown:
    """14. Its Prefect server is killed [silent for 150 s]:"""
    there = _served()
    os.kill(there.server(), signal.SIGKILL)
    began = time.monotonic()
    there.says("it is started again")
    said = time.monotonic() - began
    there.says("answers again")
    return said < 10, f"said after {said:.1f} s, answers again after {time.monotonic() - began:.1f} s"


def silent() -> Shown:
    """13. A run of a machine that is gone sends no heartbeat any more [under way for ever]:"""
    import helpers
    from test_serve import SILENT

    there, password = _served(), json.loads(_served().secret.read_text())["password"]
    env = helpers.outside() | {"PREFECT_API_URL": there.api, "PREFECT_API_AUTH_STRING": password}
    done = ended([sys.executable, "-c", SILENT, str(there.home)], env=env, cwd=ROOT)
    before, after, state, status = json.loads((done.out.splitlines() or [done.err])[-1])
    closed = sum("elsewhere" in line for line in after) - sum("elsewhere" in line for line in before)
    return (state, status, closed) == ("CRASHED", "KILLED", 1), f"Prefect says {state}, MLflow {status}"


def ends() -> Shown:
    """14. It is told to end while its server does not answer [deaf for 120 s]:"""
    import psutil

    there = _served()
    server = there.server()
    below = psutil.Process(there.process.pid).children(recursive=True)
    os.kill(server, signal.SIGSTOP)
    began = time.monotonic()
    there.process.send_signal(signal.SIGTERM)
    there.process.wait(200)
    took = time.monotonic() - began
    _, alive = psutil.wait_procs(below, timeout=5)
    _served.cache_clear()
    return took < 10 and not alive, f"ended after {took:.1f} s, {len(alive)} of {len(below)} processes left"


def first_commands() -> Shown:
    """9. Two first commands at once on a new home, five times [5 of 5 failed, 2 broken databases]:"""
    import helpers

    folder = Path(tempfile.mkdtemp(prefix="headstart-first-"))
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos", each=8)))
    well, sound = 0, 0
    for number in range(5):
        command = [str(BIN / "headstart"), "check", "r.toml", "--home", f"home-{number}"]
        both = [subprocess.Popen(command, cwd=folder, env=helpers.outside(), stdout=-3, stderr=-3) for _ in range(2)]
        well += [process.wait(300) for process in both] == [0, 0]
        sound += all(_whole(file) for file in (folder / f"home-{number}").rglob("*.db"))
    return well == sound == 5, f"{well} of 5 tries ended well, the databases are whole after {sound}"


def _whole(file: Path) -> bool:
    import sqlite3

    with sqlite3.connect(file) as database:
        return database.execute("pragma integrity_check").fetchone() == ("ok",)


def signals() -> Shown:
    """12. SIGTERM, SIGHUP and two Ctrl-C in each long stage of a run [servers and runs left]:"""
    import helpers
    import psutil
    import warm

    folder, left, codes = Path(tempfile.mkdtemp(prefix="headstart-signals-")), 0, Counter[int]()
    brief = '[audit]\nenabled = false\n[ladder]\nstart_at = "head"\nstop_at = "head"'
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos", each=8), extra=brief))
    for before in BEFORE_LONG_STAGES:
        for sent in ((signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGINT)):
            begun = warm.Command("train", "r.toml", "--home", "home", env=helpers.outside(), cwd=folder)
            begun.until(before)
            below = psutil.Process(begun.process.pid).children(recursive=True)
            for number in sent:
                time.sleep(0.3)
                with suppress(ProcessLookupError):
                    begun.send(number)
            codes[begun.answer().code] += 1
            begun.end()
            left += len(psutil.wait_procs(below, timeout=20)[1])
    under_way = _rows(folder / "home/mlflow.db", "select count(*) from runs where status = 'RUNNING'")
    under_way += _rows(next(folder.rglob("prefect.db")), "select count(*) from flow_run where state_type = 'RUNNING'")
    said = f"exit codes and how often {dict(codes)}, {left} processes and {under_way} runs left"
    return left == under_way == 0 and 0 not in codes, said


def _rows(file: Path, count: str) -> int:
    import sqlite3

    with sqlite3.connect(file) as database:
        return int(database.execute(count).fetchone()[0])


RUNTIME, SERVICES, DATA = "unit/runtime/test_", "unit/services/test_", "unit/data/test_"
TAMPERING, PROMOTION, MACHINE = (
    "flows/test_tampering.py::test_",
    "flows/test_promotion.py::test_",
    "system/test_machine.py",
)
#: The last line of those that share a server ends it.
LINES: list[Callable[[], Shown]] = [
    another_user,
    other_sites,
    silent,
    noticed,
    ends,
    _by("1. A server without a password is named by doctor and serve:", f"{SERVICES}health.py"),
    _by("2. A SavedModel runs a function that is on no list [wrote a file]:", "plugins/test_file.py"),
    _by(
        "3. A kept result chooses pickle [code ran]:",
        "flows/test_kept.py::test_a_result_that_would_run_code_is_computed_again",
        f"{SERVICES}results.py",
    ),
    _by(
        "4. A changed `pyfunc.py`, in predict and in the gate [ran]:",
        f"{TAMPERING}a_script_that_was_changed_is_not_run_whoever_asks",
    ),
    _by(
        "4. Files change between sending and sealing:",
        f"{TAMPERING}what_changes_between_sending_and_sealing_is_neither_run_nor_registered",
    ),
    _by(
        "4. Files and digest are changed together:",
        f"{TAMPERING}files_and_seal_that_were_changed_together_are_refused_by_the_key_alone",
    ),
    _file("5. A `.pth` file of few bytes [231 bytes took 7.8 GB]:", "pth_memory", "expected"),
    _file("5. Another [713 bytes took for ever]:", "pth_time", "expected"),
    _file("5. HDF5 weights of few bytes [1.4 KB took 4.8 GB]:", "hdf5_memory", "expected the weights of"),
    _file("5. HDF5 weights that are another file's bytes [read]:", "hdf5_elsewhere", "in the file itself"),
    _file("5. A `.keras` file of few bytes [2 KB took 11 GB]:", "keras_memory", "asks for"),
    _file("5. The same as weights of a known network:", "keras_weights", "asks for"),
    _file("5. A `.keras` file with a state of any size [took 6 GB]:", "keras_state", "a state"),
    _by("5. The same by virtual data sets, links and more [read]:", "plugins/test_hdf5.py"),
    _file("5. A GIF of 300 frames at ingest [8 KB took 4.7 GB]:", "gif_ingest", "answer"),
    _file("5. The same in the decoder of training [8 KB took 4.7 GB]:", "gif_decoder", "answer"),
    _file("5. The same in a served version [8 KB took 4.7 GB]:", "gif_served", "answer"),
    _by("5. The same for a version of an older release:", f"{DATA}decode.py", only="older_release or asked_for"),
    _file("5. A progressive JPEG of hundreds of scans:", "jpeg_scans", "scans"),
    _by("5. All that fuzzing has found:", "fuzz/test_corpus.py"),
    _by("6. An alert's message with newline, quote and backslash [no JSON]:", f"{SERVICES}alerts.py"),
    _by("6. Credentials in addresses [shown, kept]:", f"{RUNTIME}secrets.py", f"{RUNTIME}home.py"),
    _by("6. Labels in Markdown, on a terminal, in a table [`=cmd…`]:", f"{RUNTIME}escapes.py"),
    _by("6. git with a hostile configuration [`core.fsmonitor` ran]:", f"{RUNTIME}git.py"),
    _by("6. A working folder with Prefect's settings and Python files [code ran]:", f"{RUNTIME}children.py"),
    _by("7. Half a digest, another digest:", "plugins/test_weights.py", only="package or refused"),
    _by("7. Downloads that break off, two at once:", "plugins/test_published.py"),
    _by("8. Who holds which secret, what can be reached, with which rights:", "unit/infra"),
    _by("8. A role a database; a worker that administers nothing:", "system/test_servers.py", only="role or account"),
    first_commands,
    _by("9. Half-made and older databases:", f"{RUNTIME}databases.py"),
    _by("10. A photo overwritten during a run [wrong pixels for good]:", f"{DATA}images.py", only="overwritten"),
    _by("10. The same during score:", "flows/test_score.py", only="overwritten"),
    _by("11. Tables cut, flipped, of another schema [used silently]:", f"{RUNTIME}damaged_store.py"),
    _by("11. Folders, results, rows that are damaged [exit 3 for ever]:", "flows/test_kept.py"),
    _by("11. What is kept and for how long; store check:", f"{RUNTIME}upkeep.py", f"{SERVICES}integrity.py"),
    _by(
        "12. A full disk, a home that is read-only or a file [exit 1, a trace]:",
        MACHINE,
        f"{RUNTIME}home.py",
        only="disk or home or device",
    ),
    signals,
    _by("13. Processes in other containers [a live one was called dead]:", f"{RUNTIME}processes.py"),
    _by("13. A lock on another machine:", "flows/test_promotion.py", only="lock or flag"),
    _by(
        "15. A broken entry of the ledger, a changed one [fatal; unseen]:",
        f"{SERVICES}ledger.py",
        f"{SERVICES}pages.py",
    ),
    _file("15. 120 models [the first 100 alone]:", "many_models", "120 models listed, 120 tables"),
]

if __name__ == "__main__":
    main(LINES)
