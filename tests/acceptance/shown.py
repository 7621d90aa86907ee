"""What the acceptance commands share: run the command or the tests, and print a line for what each showed."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


def tests(*words: str) -> Shown:
    """Whether tests pass, and pytest's last line."""
    done = subprocess.run([str(BIN / "pytest"), "-q", *words], capture_output=True, text=True, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1]
    return done.returncode == 0 and "passed" in last and "skipped" not in last, last


def main(lines: list[Callable[[], Shown]]) -> None:
    """Run the lines whose numbers are given to the command, else all; exit 1 where one falls short."""
    # A shell has what it starts in the background ignore this signal, and children too; Prefect's worker ends by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = [int(word) for word in sys.argv[1:]] or range(1, len(lines) + 1)
    held = []
    for number in wanted:
        line = lines[number - 1]
        holds, figure = line()
        held.append(holds)
        print(f"{'holds' if holds else 'FALLS SHORT'}  {number}. {line.__doc__} {figure}", flush=True)
    raise SystemExit(not all(held))
