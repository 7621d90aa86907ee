"""One process that reads damaged files of one target, until its time is over or it dies. `__main__.py` starts it.

libFuzzer (https://llvm.org/docs/LibFuzzer.html, by way of Atheris) chooses what to damage, by the lines of the project
that a file reaches. It ends the process when a file takes too long or too much memory, or when a library crashes.
"""

import hashlib
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
import psutil

from tests.fuzz import SUPPORT

sys.path.insert(0, str(SUPPORT))
sys.dont_write_bytecode = True
with atheris.instrument_imports(include=["tasks"]):
    from tasks.runtime.errors import HeadstartError
    from tests.fuzz import guard, targets

#: A file may take so long, s, and so much memory more than the process had at its start, MB.
SECONDS, MEGABYTES = 20, 1024
#: Findings of one process are few, or all the same.
FINDINGS = 20
#: Executions that making a finding's file smaller may take.
TRIES = 300


def main(name: str, seconds: str, seed: str, at: str) -> None:
    """Fuzz the target in the folder `at`; the start is within the seconds."""
    target, folder = targets.TARGETS[name], Path(at).resolve()
    for each in ("files", "seeds", "findings", "tmp"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder / "tmp")
    files, out = folder / "files", folder / "counts"
    if not any((folder / "seeds").iterdir()):
        for data in [*target.seeds(files), *(each.read_bytes() for each in targets.CORPUS.glob(f"{name}/*"))]:
            (folder / "seeds" / hashlib.sha1(data).hexdigest()).write_bytes(data)
    with atheris.instrument_imports(include=["tasks"]):
        once = Once(target.reader(files), files / target.file, guard.Guard(folder), folder)
    for data in (folder / "seeds").iterdir():  # whatever is made once is made now
        once(data.read_bytes())
    once.counts, began = [0, 0, 0, 0.0, 0.0, 0.0], time.monotonic()
    _bound_memory()

    def mutated(data: bytes, most: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        if rng.random() < 0.4:
            return atheris.Mutate(data, most)
        return target.mutate(data, rng)[:most]

    def run(data: bytes) -> None:
        once(data)
        once.counts[4:] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - began
        out.write_bytes(targets.COUNTS.pack(*once.counts))

    options = {
        "max_total_time": max(2, int(float(seconds) - _age())),
        "timeout": SECONDS,
        "rss_limit_mb": int(_memory()) + MEGABYTES,
        "max_len": max(4096, *(2 * file.stat().st_size for file in (folder / "seeds").iterdir())),
        "len_control": 0,
        "detect_leaks": 0,
        "seed": seed,
        "artifact_prefix": f"{folder}/tmp/",
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup(["fuzz", *arguments, str(folder / "seeds")], run, custom_mutator=mutated)
    atheris.Fuzz()


class Once:
    """Reads a file's bytes, counts, and keeps what is a finding."""

    def __init__(self, read: Callable[[Path], object], file: Path, watch: guard.Guard, folder: Path) -> None:
        self.read, self.file, self.watch, self.folder = read, file, watch, folder
        self.counts: list[float] = [0, 0, 0, 0.0, 0.0, 0.0]
        self.known = set[str]()

    def __call__(self, data: bytes) -> None:
        started = time.perf_counter()
        wrong = self.wrong(data)
        self.counts[0] += 1
        self.counts[3] = max(self.counts[3], time.perf_counter() - started)
        if wrong and wrong not in self.known and len(self.known) < FINDINGS:
            self.known.add(wrong)
            smallest = smaller(data, lambda less: self.wrong(less) == wrong)
            place = self.folder / "findings" / f"{hashlib.sha1(wrong.encode()).hexdigest()[:10]}"
            place.write_bytes(smallest)
            place.with_suffix(".txt").write_text(wrong)

    def wrong(self, data: bytes) -> str:
        """What a file does that it may not do, in a line; "" for nothing."""
        self.file.write_bytes(data)
        self.watch.on, self.watch.seen, accepted = True, "", False
        try:
            self.read(self.file)
            accepted = True
        except (HeadstartError, targets.Refused):
            pass
        except BaseException as error:
            return _where(error)
        finally:
            self.watch.on = False
        self.counts[1 if accepted else 2] += 1
        if (self.folder / "planted").exists():
            return "code in the file was run"
        return self.watch.seen


def smaller(data: bytes, same: Callable[[bytes], bool]) -> bytes:
    """A part of the bytes that still has the same effect: runs are left out as long as it stays."""
    step, tries = max(1, len(data) // 2), 0
    while step and tries < TRIES:
        at = 0
        while at < len(data) and tries < TRIES:
            less = data[:at] + data[at + step :]
            tries += 1
            data, at = (less, at) if same(less) else (data, at + step)
        step //= 2
    return data


def _where(error: BaseException) -> str:
    """The error's type, and the last line of the project that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/tasks/" in frame.filename] or frames
    name = ours[-1].filename.rpartition("/tasks/")[2]
    return f"{type(error).__name__} at {name}:{ours[-1].lineno} {ours[-1].name}, from {Path(frames[-1].filename).name}"


def _memory() -> float:
    """What this process has now, MB."""
    return psutil.Process().memory_info().rss / 2**20


def _age() -> float:
    """Since the start of this process, s."""
    return time.time() - psutil.Process().create_time()


def _bound_memory() -> None:
    """A single huge request fails at once, rather than being granted and never used."""
    limit = psutil.Process().memory_info().vms + 4 * MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**28, 2**28))


if __name__ == "__main__":
    main(*sys.argv[1:])
