"""Data that nobody tuned on, ours beside its peers: `uv run python -m tests.benchmarks.strangers FOLDER [NAME…]`.

Every method runs in a process of its own, one after the other, on the same photos and machine. What was answered is
kept in `FOLDER/answers`, so that a benchmark that was stopped goes on where it stopped.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tasks.evaluation import metrics
from tasks.evaluation.statistics import bootstrap
from tests.benchmarks.__main__ import machine
from tests.benchmarks.strangers import answers, sets

#: What keeps a photo's class; a careful engineer looks at the photos first.
CHANGES = {"tiny_defects": (), "digits": ("rotate",)}
OTHERS = ("flip", "rotate")
#: Name, module, and further words of its command.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "guide": ("guide", ("--seconds", "480")),
    "autokeras": ("automl", ("--seconds", "480")),
    "quick": ("ours", ("--effort", "quick")),
    "standard": ("ours", ("--effort", "standard")),
    "best": ("ours", ("--effort", "best")),
}
#: How Python is called for what needs a package that is no part of this environment.
#: AutoKeras hands Keras integers of numpy, which newer ones refuse, and Keras' callbacks import TensorBoard.
AUTOKERAS = ("--with", "autokeras==3.0.0", "--with", "keras==3.12.0", "--with", "tensorboard")
NEEDS = {"autokeras": ("uv", "run", *AUTOKERAS, "python")}
METRICS = ("accuracy", "log_loss", "ece")


def main(
    folder: Path,
    names: Annotated[list[str] | None, typer.Argument()] = None,
    seeds: int = 3,
    method: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Write the sets into FOLDER, run what has not run yet, and print the tables."""
    folder.joinpath("answers").mkdir(parents=True, exist_ok=True)
    for name in names or list(sets.SETS):
        place = sets.write(name, folder)
        for each in method or list(METHODS):
            for seed in range(seeds):
                file = folder / "answers" / f"{name}-{each}-{seed}.npz"
                if not file.exists():
                    _run(each, name, place, file, seed)
        _show(name, folder / "answers")
        _show(sets.shifted(name), folder / "answers")
    print(machine())


def _run(method: str, name: str, place: Path, file: Path, seed: int) -> None:
    module, words = METHODS[method]
    changes = [word for change in CHANGES.get(name, OTHERS) for word in ("--change", change)]
    python = NEEDS.get(method, (sys.executable,))
    command = [*python, "-m", f"tests.benchmarks.strangers.{module}", str(place), str(file), "--seed", str(seed)]
    subprocess.run([*command, *words, *changes], check=True, stdout=sys.stderr)


def _show(name: str, folder: Path) -> None:
    """A line a method: means over the seeds, with the interval of the first one, and what `standard` gained on it.

    Nothing for photos that no method answered.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("method", *METRICS, "seconds", "MB", "standard's gain in accuracy", "in log loss", title=name)
    ours = [answers.read(file) for file in sorted(folder.glob(f"{name}-standard-*.npz"))]
    for method in METHODS:
        found = [answers.read(file) for file in sorted(folder.glob(f"{name}-{method}-*.npz"))]
        if not found:
            continue
        first = metrics.intervals(found[0].labels, found[0].probabilities, 0)
        scores = [metrics.evaluate(each.labels, each.probabilities) for each in found]
        cells = []
        for metric in METRICS:
            low, high = first[metric]
            cells.append(f"{np.mean([score[metric] for score in scores]):.3f} ({low:.3f} to {high:.3f})")
        cells += [f"{np.mean([each.seconds for each in found]):.0f}", f"{np.mean([e.megabytes for e in found]):.0f}"]
        table.add_row(method, *cells, *(_gains(ours, found) if method != "standard" else ("", "")))
    if table.rows:
        Console(width=160).print(table)


def _gains(ours: list[answers.Answers], theirs: list[answers.Answers]) -> tuple[str, str]:
    """Mean over seeds and photos, with its 95 % interval over photos."""
    right, loss = [], []
    for one, other in zip(ours, theirs, strict=False):
        a, b = answers.paired(one, other)
        right.append(bootstrap.correct(a.labels, a.probabilities) * 1.0 - bootstrap.correct(b.labels, b.probabilities))
        loss.append(bootstrap.losses(b.labels, b.probabilities) - bootstrap.losses(a.labels, a.probabilities))
    if not right:
        return "", ""
    return _interval(np.mean(right, axis=0)), _interval(np.mean(loss, axis=0))


def _interval(values: np.ndarray) -> str:
    low, high = bootstrap.student(values, 0.975)  # one side of it
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    typer.run(main)
