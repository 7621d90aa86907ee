"""Times what somebody new does first: the README's first command, and the first tutorial, in two Pythons.

uv run python -m tests.acceptance.newcomer [NUMBER …]

Each in a fresh clone with an environment of its own, installed from what uv has on this machine or fetches.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.acceptance.shown import ROOT, Shown, main

sys.path.insert(0, str(ROOT / "tests" / "support"))

PAGE = ROOT / "infra" / "docs" / "own_photos.md"


def _clone(python: str) -> tuple[Path, dict[str, str]]:
    """A clone as a new user has it, and that user's environment."""
    folder = Path(tempfile.mkdtemp(prefix=f"headstart-new-{python}-"))
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "headstart")], check=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return folder / "headstart", kept | {"UV_PYTHON": python}


def _timed(script: str, cwd: Path, env: dict[str, str]) -> tuple[int, float, str]:
    began = time.perf_counter()
    done = subprocess.run(["bash", "-ec", script], cwd=cwd, env=env, capture_output=True, text=True)
    return done.returncode, time.perf_counter() - began, done.stderr[-300:]


def first(python: str) -> Shown:
    """The first command of the README: installation and a model of solar cells."""
    clone, env = _clone(python)
    install, install_seconds, _ = _timed("uv sync --locked -q", clone, env)
    code, seconds, said = _timed("uv run headstart train elpv", clone, env)
    shutil.rmtree(clone.parent)
    return install == code == 0, f"installation {install_seconds:.0f} s, train {seconds:.0f} s {said * bool(code)}"


def tutorial(python: str) -> Shown:
    """The commands of the first tutorial, on drawn photos."""
    from helpers import photos

    clone, env = _clone(python)
    _timed("uv sync --locked -q", clone, env)
    photos(clone / "photos", each=100, classes=("red", "green"))
    (clone / "photos" / "red").rename(clone / "photos" / "cat")
    next((clone / "photos" / "cat").glob("*.png")).rename(clone / "photos" / "cat" / "1.jpg")
    seconds = {}
    for command in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        name = " ".join(command.split()[2:5])
        code, taken, said = _timed(command, clone, env)
        if code:
            return False, f"{name}: exit code {code}. {said}"
        seconds[name] = seconds.get(name, 0) + taken
    shutil.rmtree(clone.parent)
    each = ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items())
    return sum(seconds.values()) < 600, f"{sum(seconds.values()):.0f} s: {each}"


def _named(what: object, python: str) -> object:
    found = partial(what, python)
    found.__doc__ = f"Python {python}. {what.__doc__}"
    return found


if __name__ == "__main__":
    main([_named(what, python) for python in ("3.11", "3.13") for what in (first, tutorial)])
