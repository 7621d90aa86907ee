"""A recipe on tiny photos, its servers and its home, where commands are disturbed; for `tests.acceptance.chaos`."""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import helpers
import psutil
import tiny_networks
import warm
from servers import Server

from trouble import faults
from trouble.answers import Answer

BRIEF = """
[backbone]
kind = "file"
weights = "{weights}"
[extract]
engine = "tensorflow"
[ladder]
start_at = "head"
stop_at = "head"
[audit]
enabled = false
[transfer_check]
enabled = false
[retrain]
min_new = 5
significance = 0.49
force_after = 1
settle = 1
"""
#: What is there after a command: the verified version that each alias points to, and what is wrong or was left.
LOOK = """
import json
from tasks.services.orchestration import recovery
from tasks.services.registry import promotion
found = {"aliases": {}, "ledger": []}
for row in promotion.overview("pets"):
    found["ledger"] += row["ledger_problems"]
    for alias in row["aliases"].split():
        promotion.verify(f"pets/{row['version']}")
        found["aliases"][alias] = [row["gate"], row["rung"], row["data"]]
print(json.dumps(found | {"left": recovery.repair()}))
"""
#: The same from outside, while a command works.
ALIASES = """
select alias, key, value from registered_model_aliases join model_version_tags using (name, version)
where key in ('headstart.data', 'headstart.gate', 'headstart.rung') order by 1, 2
"""
#: How long a command may take after a fault, which is more than any wait of its own; `serve` after SIGTERM; and how
#: long it is left alone after its work.
PATIENCE, ENDS, AFTERWARDS = 150, 15, 3
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass
class Operation:
    """A command: the home that it starts from, its words, and how long it takes undisturbed."""

    start: str
    words: list[str]
    grown: bool = False
    right: Any = None
    seconds: float = 0.0
    #: What each alias points to afterwards, as `LOOK` and as `ALIASES` say.
    aliases: Any = None
    rows: Any = None
    #: `serve` does not end by itself; a command that does the same and ends.
    same_as: str = ""


@dataclass
class World:
    """A folder with photos, servers, and a home on a disk of its own."""

    folder: Path
    clock: faults.Clock
    remote: bool
    disk: faults.Disk | None = None
    servers: dict[str, Server] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    def open(self) -> None:
        """Make the photos, start the servers, and run every operation undisturbed."""
        self.disk = faults.Disk(self.folder / "disk", 600) if os.getuid() == 0 else None
        self.home = (self.folder / "disk" if self.disk else self.folder) / "home"
        self.photos = helpers.photos(self.folder / "photos", 16)
        weights = tiny_networks.backbone(self.folder / "three_layers.keras")
        text = helpers.recipe(self.photos, "pets", BRIEF.format(weights=weights))
        (self.folder / "r.toml").write_text(text)
        self.servers["prefect"] = self._server("prefect")
        if self.remote:
            self.servers["mlflow"] = self._server("mlflow")
            self.registry = self.folder / "mlflow"
            self._keep("empty")
        self.proxies = {
            name: faults.Proxy(int(server.health.split(":")[2].split("/")[0])) for name, server in self.servers.items()
        }
        self.env = helpers.outside() | self.clock.env | {"HEADSTART_HOME": str(self.home)}
        self.env |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "PREFECT_CLIENT_MAX_RETRIES": "3", "PYTHONWARNINGS": ""}
        # A connection that is cut may say nothing for ever: MLflow waits 120 s for an answer, Prefect 60.
        self.env |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "PREFECT_API_REQUEST_TIMEOUT": "20"}
        self.env["PREFECT_API_URL"] = f"http://127.0.0.1:{self.proxies['prefect'].port}/api"
        if self.remote:
            self.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{self.proxies['mlflow'].port}"
        self.operations = {
            "train": Operation("empty", ["train", "r.toml", "--json"]),
            "retrain": Operation("one", ["retrain", "r.toml", "--json"], grown=True),
            "promote": Operation("two", ["promote", "pets", "2", "--force", "--json"]),
            "score": Operation("one", ["score", "pets@champion", "photos", "--out", "scores.parquet", "--json"]),
            "serve": Operation("one", ["serve", "r.toml", "--watch", "15"], grown=True, same_as="retrain"),
        }
        for name, keep in (("train", "one"), ("retrain", "two"), ("promote", ""), ("score", ""), ("serve", "")):
            operation = self.operations[name]
            self.back(operation)
            began, before = time.monotonic(), self.rows()
            found = self.ended(self.start(operation.words), operation)
            operation.right, operation.seconds = self.result(name, found), time.monotonic() - began
            if not operation.same_as and (found.code not in (0, 1) or "Error." in found.err):
                raise SystemExit(f"{name}, undisturbed: {found.code}: {found.err[-2000:]}")
            operation.rows, operation.aliases = self.rows(), self.look()["aliases"]
            if name != "score" and operation.rows == before:
                raise SystemExit(f"{name}, undisturbed: nothing was done: {found.out[-2000:]} {found.err[-2000:]}")
            if operation.same_as and operation.aliases != self.operations[operation.same_as].aliases:
                raise SystemExit(f"{name}, undisturbed: {operation.aliases}: {found.err[-2000:]}")
            if keep:
                self._keep(keep)

    def _server(self, name: str) -> Server:
        folder, port = self.folder / name, helpers.free_port()
        folder.mkdir()
        words = {
            "prefect": ["prefect", "server", "start", "--port", str(port)],
            "mlflow": [
                *("mlflow", "server", "--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", f"{folder}/artifacts"),
            ],
        }[name]
        env = helpers.outside() | {"PREFECT_HOME": str(folder), "DO_NOT_TRACK": "true"}
        env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        health = f"http://127.0.0.1:{port}{'/api' if name == 'prefect' else ''}/health"
        server = Server([str(Path(sys.executable).with_name(words[0])), *words[1:]], env, health, folder / "log")
        server.start()
        return server

    def close(self) -> None:
        """Stop the servers and take the disk away."""
        for server in self.servers.values():
            server.stop()
        if self.disk:
            self.disk.close()

    def _keep(self, name: str) -> None:
        if self.home.exists():
            shutil.copytree(self.home, self.folder / f"home-{name}", symlinks=True)
        if self.remote:
            kept = self.folder / f"registry-{name}"
            (self.registry / "artifacts").mkdir(exist_ok=True)
            shutil.copytree(self.registry / "artifacts", kept / "artifacts")
            _copy_database(self.registry / "mlflow.db", kept / "mlflow.db")

    def back(self, operation: Operation) -> None:
        """Home, registry and photos as they were before an operation."""
        self.own_prefect = bool(operation.same_as) and not self.remote
        for number in range(4):
            for colour, value in helpers.COLOURS.items():
                file = self.photos / colour / f"new {number}.png"
                if operation.grown and not file.exists():
                    helpers.photo(tuple(255 - each for each in value), 1000 + number).save(file)
                elif not operation.grown:
                    file.unlink(missing_ok=True)
        (self.folder / "scores.parquet").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "scores.parquet.parts", ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
        if operation.start != "empty":
            shutil.copytree(self.folder / f"home-{operation.start}", self.home, symlinks=True)
        if self.remote:
            kept = self.folder / f"registry-{operation.start}"
            shutil.rmtree(self.registry / "artifacts")
            shutil.copytree(kept / "artifacts", self.registry / "artifacts")
            _copy_database(kept / "mlflow.db", self.registry / "mlflow.db")

    def start(self, words: list[str], code: str = "") -> BaseProcess:
        """Begin a command, or Python with this code."""
        for name in ("out", "err"):
            (self.folder / name).unlink(missing_ok=True)
        env = {name: value for name, value in self.env.items() if name != "PREFECT_API_URL" or not self.own_prefect}
        return warm.command(words, env, self.folder, self.folder / "out", self.folder / "err", code)

    def look(self) -> dict[str, Any]:
        """What `LOOK` has found; what went wrong in `ledger`, if it did not end."""
        found = self.ended(self.start([], LOOK))
        if found.code:
            return {"aliases": None, "left": [], "ledger": [found.err[-700:]]}
        answer: dict[str, Any] = json.loads(found.out.splitlines()[-1])
        return answer

    def ended(self, process: BaseProcess, operation: Operation | None = None) -> Answer:
        """Wait for a command; `serve` is told to end once its work is done."""
        if operation and operation.same_as:
            # What failed since a server was away is started again after a minute.
            wanted, deadline = self.operations[operation.same_as].rows, time.monotonic() + 2 * PATIENCE
            while process.is_alive() and self.rows() != wanted and time.monotonic() < deadline:
                process.join(0.5)
            process.join(AFTERWARDS)
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGTERM)
        process.join(ENDS if operation and operation.same_as else PATIENCE)
        code = process.exitcode
        if code is None:
            os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
        read = [
            file.read_text(errors="replace") if file.exists() else ""
            for file in map(self.folder.joinpath, ("out", "err"))
        ]
        return Answer(code, *read)

    def run(self, words: list[str]) -> Answer:
        """A command from its beginning to its end."""
        return self.ended(self.start(words))

    def rows(self) -> Any:
        """What each alias of the registry points to; None if there is no registry yet."""
        file = (self.registry if self.remote else self.home) / "mlflow.db"
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                return database.execute(ALIASES).fetchall()
        except sqlite3.Error:
            return None

    def failed_runs(self) -> int:
        """How many runs are errors in Prefect's eyes."""
        file = (self.home if self.own_prefect else self.folder) / "prefect" / "prefect.db"
        count = "select count(*) from flow_run where state_type in ('FAILED', 'CRASHED')"
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                return int(database.execute(count).fetchone()[0])
        except sqlite3.Error:
            return 0

    def result(self, name: str, found: Answer) -> Any:
        """What is compared: the answer, and the table that `score` writes."""
        if name == "serve":
            return found.code, self.rows()
        if name != "score" or found.code:
            return found.essence
        import pandas as pd

        table = pd.read_parquet(self.folder / "scores.parquet").sort_values("uri").reset_index(drop=True)
        return found.essence, table.drop(columns=["scored_at"], errors="ignore").to_json()

    def disturb(self, name: str, kind: str, draw: random.Random) -> None:
        """One operation with one fault, the same again without, and a look at what is left."""
        operation = self.operations[name]
        self.back(operation)
        moment = draw.uniform(0, operation.seconds * 1.05)
        if kind == "byte" and operation.start != "empty" and draw.random() < 0.5:
            moment = 0.0
        at_first, failed = kind == "byte" and not moment, self.failed_runs()
        what = self.fault(kind, None, draw) if at_first else ""
        process = self.start(operation.words)
        process.join(moment)
        if not at_first:
            what = self.fault(kind, process, draw)
        mended = threading.Timer(draw.uniform(3, 20) if operation.same_as else PATIENCE, self.mend)
        mended.start()
        found = self.ended(process, operation)
        mended.cancel()
        mended.join()
        self.mend()
        where = f"{name}, {kind} at {moment:.1f} s, {what}"
        self.judge(where, name, found, excused=kind == "signal" or self.failed_runs() > failed)
        self.heal(where, operation.same_as or name, what)

    def fault(self, kind: str, process: BaseProcess | None, draw: random.Random) -> str:
        """Do it; what was done, in words."""
        if kind == "byte":
            file = faults.flip(self.home, draw)
            return str(file.relative_to(self.home)) if file else "no file"
        if kind == "clock":
            moved = draw.choice((-3600, -86400, -40 * 86400))
            self.clock.set(moved)
            return f"{moved} s"
        if kind == "disk" and self.disk:
            self.disk.fill(left := draw.choice((0, 4096, 65536)))
            return f"{left} bytes left"
        if kind == "network":
            proxy, how_long = draw.choice(sorted(self.proxies)), draw.choice((0.5, 3.0, 0))
            self.proxies[proxy].cut()
            if how_long:
                threading.Timer(how_long, self.proxies[proxy].mend).start()
            return f"{proxy} for {how_long or 'ever'}"
        assert process
        victims = [process.pid, *(each.pid for each in _children(process.pid))]
        number = signal.SIGKILL if kind == "kill" else draw.choice(SIGNALS)
        pid = draw.choice(victims) if kind == "kill" else process.pid
        try:
            os.kill(pid or 0, number)
            if kind == "signal" and draw.random() < 0.3:
                time.sleep(draw.uniform(0, 0.5))
                os.kill(pid or 0, number)
                return f"twice {number.name}"
        except ProcessLookupError:
            return "ended before"
        return f"{number.name} {'itself' if pid == process.pid else 'a child'}"

    def mend(self) -> None:
        """All is well again, except for what was killed or flipped."""
        self.clock.set(0)
        if self.disk:
            self.disk.free()
        for proxy in self.proxies.values():
            proxy.mend()

    def judge(self, where: str, name: str, found: Answer, excused: bool) -> None:
        """Whether a disturbed command ended as it may. `excused`: `serve` was told to end, or Prefect has an error."""
        if self.result_of(name, found) == self.operations[name].right:
            self.told["right"] += 1
        elif found.code is not None and found.code < 0:
            self.told["killed"] += 1
        elif found.named or (name == "serve" and found.code == 0 and excused):
            self.told["named"] += 1
        else:
            self.told["wrong"] += 1
            self.trouble.append(f"{where}: ended with {found.code}: {found.out[-700:]} {found.err[-700:]}")

    def result_of(self, name: str, found: Answer) -> Any:
        """As `result`, for a command that may have left nothing that can be read."""
        try:
            return self.result(name, found)
        except (OSError, ValueError) as error:
            return str(error)

    def heal(self, where: str, name: str, what: str) -> None:
        """The same command again, with the file that was damaged put back if it says that it needs it."""
        operation = self.operations[name]
        for attempt in range(2):
            found = self.run(operation.words)
            there = self.look()
            sound = there["aliases"] == operation.aliases and not there["ledger"]
            # Of what a disturbed command had done already, the second says that there is nothing to do.
            done = name != "score" and found.code in (0, 1)
            if sound and (done or self.result_of(name, found) == operation.right):
                break
            kept = self.folder / f"home-{operation.start}" / what
            if attempt or not (found.named or there["ledger"]) or not kept.is_file():
                self.trouble.append(f"{where}: again: {found.code}: {found.out[-700:]} {found.err[-700:]} {there}")
                return
            self.told["needs a backup"] += 1
            shutil.copy(kept, self.home / what)
            (self.home / what).with_name(f"{Path(what).name}-wal").unlink(missing_ok=True)
        if there["left"] and name != "promote":  # which starts no run, and so does not look for those of others
            self.trouble.append(f"{where}: left under way: {there['left']}")


def _copy_database(there: Path, to: Path) -> None:
    """Copy a SQLite database into one that a server may have open (https://sqlite.org/backup.html)."""
    with closing(sqlite3.connect(there)) as source, closing(sqlite3.connect(to, timeout=60)) as target:
        source.backup(target)


def _children(pid: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
