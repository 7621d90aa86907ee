"""What a method answered for the test photos of a set, and what it cost; one file a run."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.strangers import sets


@dataclass(frozen=True)
class Answers:
    """Probabilities float[n, classes] for photos, which sha256 names, with the time and the size of the model."""

    keys: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    seconds: float
    megabytes: float


def clock() -> float:
    """Seconds of work of all cores: what else the machine does shall not shorten a peer's training."""
    return time.process_time() / (os.cpu_count() or 1)


def questions(folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of photos to answer, and where: the set's test photos first, then those of its shift if it has one."""
    yield folder / "test", out
    name, rest = out.name.split("-", 1)
    if (shift := folder.with_name(sets.shifted(folder.name)) / "test").is_dir():
        yield shift, out.with_name(f"{sets.shifted(name)}-{rest}")


def write(
    out: Path,
    photos: Sequence[str],
    probabilities: np.ndarray,
    classes: Sequence[str],
    seconds: float,
    megabytes: float,
) -> None:
    """Photos are files in a folder that is named after their class."""
    keys = [hashlib.sha256(Path(photo).read_bytes()).hexdigest() for photo in photos]
    labels = [classes.index(Path(photo).parent.name) for photo in photos]
    save(out, Answers(np.array(keys), np.array(labels), probabilities, seconds, megabytes))


def save(out: Path, answers: Answers) -> None:
    """Write the file that `read` reads."""
    cost = np.array([answers.seconds, answers.megabytes])
    np.savez(out, keys=answers.keys, labels=answers.labels, probabilities=answers.probabilities, cost=cost)


def read(file: Path) -> Answers:
    """The answers in a file."""
    with np.load(file) as found:
        return Answers(found["keys"], found["labels"], found["probabilities"], *map(float, found["cost"]))


def paired(ours: Answers, theirs: Answers) -> tuple[Answers, Answers]:
    """Both for the photos that both answered, each photo once, in the same order."""
    _, here, there = np.intersect1d(ours.keys, theirs.keys, return_indices=True)
    return _of(ours, here), _of(theirs, there)


def _of(answers: Answers, rows: np.ndarray) -> Answers:
    return Answers(
        answers.keys[rows], answers.labels[rows], answers.probabilities[rows], answers.seconds, answers.megabytes
    )
