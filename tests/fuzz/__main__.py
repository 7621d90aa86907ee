"""Damaged files for every reader: `uv run --group fuzz python -m tests.fuzz --minutes 5 --target pth`.

A finding is an error that is not the project's, a crash, too much time or memory, a file written elsewhere, a program
started, or a use of the network. Its file is put into `tests/fuzz/corpus/TARGET`, which tests read from then on.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from secrets import randbelow
from typing import Annotated

import typer

from tests.fuzz import SUPPORT

sys.path.insert(0, str(SUPPORT))
from tests.fuzz import targets

#: A process is ended after so long, s, and another one goes on: libraries keep a little of each file.
LIFE = 240
#: What a process may take to start and to end, s.
GRACE = 120
#: Deaths of one target's processes, after which its rest is left.
DEATHS = 5
#: Larger files are not kept.
LARGEST = 2**16
COLUMNS = ("target", "executions", "a second", "accepted", "refused", "findings", "slowest, s", "memory, MB")


def main(
    minutes: Annotated[float, typer.Option(help="For all targets together.")] = 5,
    target: Annotated[list[str] | None, typer.Option(help="One of these; all without it.")] = None,
    seed: Annotated[int | None, typer.Option(help="As printed by an earlier run.")] = None,
    jobs: Annotated[int, typer.Option(help="Targets at the same time.")] = 1,
    draw: Annotated[int | None, typer.Option(help="Only so many of the targets, which the seed draws.")] = None,
) -> None:
    """Fuzz the targets, each for its part of the time."""
    names = target or list(targets.TARGETS)
    if unknown := set(names) - targets.TARGETS.keys():
        raise typer.BadParameter(f"expected {', '.join(targets.TARGETS)}, found {', '.join(unknown)}")
    seed = randbelow(2**31) if seed is None else seed
    if draw is not None:
        names = Random(seed).sample(names, min(draw, len(names)))
    seconds = 60 * minutes * jobs / len(names)
    print(f"seed {seed}")
    print(" ".join(f"{column:>12}" for column in COLUMNS), flush=True)
    sums, findings = [0, 0, 0], 0
    with ThreadPoolExecutor(jobs) as pool:
        for name, (counts, found) in zip(names, pool.map(lambda name: fuzz(name, seconds, seed), names), strict=True):
            rate = round(counts[0] / max(counts[5], 0.1), 1)
            row = (name, counts[0], rate, *counts[1:3], len(found), round(counts[3], 2), round(counts[4]))
            print(" ".join(f"{cell:>12}" for cell in row), flush=True)
            for each in found:
                print(f"    {each}", flush=True)
            sums, findings = [a + b for a, b in zip(sums, counts, strict=False)], findings + len(found)
    print(f"{sums[0]} executions: {sums[1]} accepted, {sums[2]} refused, {findings} findings")
    raise typer.Exit(bool(findings))


def fuzz(name: str, seconds: float, seed: int) -> tuple[list[float], list[str]]:
    """Counts as `targets.COUNTS`, and what was found, a line each, of one target."""
    counts, found, deaths, began = [0, 0, 0, 0.0, 0.0, 0.0], list[str](), 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as at:
        folder = Path(at)
        while (left := seconds - (time.monotonic() - began)) > 5 and deaths < DEATHS:
            (folder / "counts").write_bytes(bytes(targets.COUNTS.size))
            life, seed = min(left, LIFE), (seed + 1) % 2**31
            with (folder / "log").open("wb") as log:
                code = _worker(name, life, seed, folder, log)
            for place, value in enumerate(targets.COUNTS.unpack((folder / "counts").read_bytes())):
                counts[place] = max(counts[place], value) if place in (3, 4) else counts[place] + value
            if code:
                deaths += 1
                found.append(_death(name, folder, code))
            for text in sorted((folder / "findings").glob("*.txt")):
                found.append(f"{_kept(name, text.with_suffix('').read_bytes())}: {text.read_text()}")
            shutil.rmtree(folder / "findings", ignore_errors=True)
    return counts, list(dict.fromkeys(found))


def _worker(name: str, life: float, seed: int, folder: Path, log: object) -> int:
    """The exit code of one process; its start is within its time."""
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(max(1, int(life))), str(seed), str(folder)]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment["HEADSTART_HOME"] = str(folder / "home")
    try:
        done = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=life + GRACE, check=False)
    except subprocess.TimeoutExpired:
        return -9
    return done.returncode


def _death(name: str, folder: Path, code: int) -> str:
    """What a process died of, and of which file."""
    file = folder / "files" / targets.TARGETS[name].file
    log = (folder / "log").read_text(errors="replace")
    said = [line for line in log.splitlines() if "ERROR" in line or "Error" in line or "Check failed" in line]
    kept = _kept(name, file.read_bytes()) if file.is_file() else "no file"
    return f"{kept}: the process ended with {code}: {(said or log.splitlines() or ['?'])[-1][:300]}"


def _kept(name: str, data: bytes) -> str:
    """Put a finding's file into the corpus; returns where it is."""
    if len(data) > LARGEST:
        place = Path(tempfile.gettempdir(), f"fuzz-{name}-{hashlib.sha1(data).hexdigest()[:10]}")
    else:
        place = targets.CORPUS / name / hashlib.sha1(data).hexdigest()[:10]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return str(place)


if __name__ == "__main__":
    typer.run(main)
