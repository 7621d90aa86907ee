"""What the acceptance commands share: run the command or the tests, and print a line for what each showed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN, ROOT = Path(sys.executable).parent, Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="headstart-acceptance-"))
#: Whether it holds, and the figure.
Shown = tuple[bool, str]


def headstart(*words: str, home: Path = HOME) -> tuple[Any, float]:
    """The JSON answer of a command in a home folder, that of this run by default, and its seconds."""
    started = time.perf_counter()
    command = [str(BIN / "headstart"), *words, "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr[-500:])
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


@dataclass(frozen=True)
class Ended:
    """What a process said, its exit code, its seconds, and the most memory that it or a child of it had, MB."""

    out: str
    err: str
    code: int
    seconds: float
    megabytes: float


def ended(command: list[str], **options: Any) -> Ended:
    """Run a command to its end; a minus and the signal's number is the exit code of one that was killed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, **options)
        _, status, used = os.wait4(process.pid, 0)  # a usage of this one process, which `resource` has not
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, err):
            file.seek(0)
        seconds = time.perf_counter() - began
        return Ended(out.read(), err.read(), process.returncode, seconds, used.ru_maxrss / 1024)


def tests(*words: str) -> Shown:
    """Whether tests pass; pytest's last line, and the most memory of a process of theirs."""
    done = ended([str(BIN / "pytest"), "-q", *words], cwd=ROOT)
    last = (done.out.strip() or done.err.strip() or "nothing").splitlines()[-1]
    return done.code == 0 and "passed" in last and "skipped" not in last, f"{last}, {done.megabytes:.0f} MB"


def main(lines: list[Callable[[], Shown]]) -> None:
    """Run the lines whose numbers are given to the command, else all; exit 1 where one falls short."""
    # A shell has what it starts in the background ignore this signal, and children too; Prefect's worker ends by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = [int(word) for word in sys.argv[1:]] or range(1, len(lines) + 1)
    held = []
    for number in wanted:
        line = lines[number - 1]
        try:
            holds, figure = line()
        except Exception as error:
            holds, figure = False, f"{type(error).__name__}: {error}"
        held.append(holds)
        print(f"{'holds' if holds else 'FALLS SHORT'}  {number}. {line.__doc__} {figure}", flush=True)
    raise SystemExit(not all(held))
