"""`headstart train` on a set, in a home of its own: `python -m tests.benchmarks.strangers.ours …`."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from tests.benchmarks.strangers import answers

#: What somebody types who has only a folder.
RECIPE = 'name = "strangers"\neffort = "{effort}"\nsource.options.path = "{folder}"\n'


def main(
    folder: Path,
    out: Path,
    seed: int = 0,
    effort: str = "standard",
    words: Annotated[list[str] | None, typer.Option("--set")] = None,
    change: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Train on `folder/train`, answer the questions; `change`: what a person knows of the photos, not used here.

    Beside `out` lies the run's own answer, for who asks why.
    """
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place, "strangers.toml")
        recipe.write_text(RECIPE.format(folder=folder.resolve(), effort=effort))
        command = ["train", str(recipe), "--json"]
        for word in (f"seed={seed}", *(words or [])):
            command += ["--set", word]
        started = time.perf_counter()
        answer = _headstart(place, *command)
        seconds = time.perf_counter() - started
        out.with_suffix(".json").write_text(answer)
        outcome = json.loads(answer)
        predicted = pd.read_parquet(Path(outcome["figures"].removeprefix("file://"), "predictions.parquet"))
        models = list(Path(place, "home", "artifacts").rglob("network.*"))
        size = sum(file.stat().st_size for file in models) / 1e6
        labels = np.array([outcome["classes"].index(label) for label in predicted["label"]])
        probabilities = np.stack(predicted["probabilities"].to_numpy())
        answers.save(out, answers.Answers(predicted["key"].to_numpy(str), labels, probabilities, seconds, size))
        _, *shifts = answers.questions(folder, out)
        for photos, file in shifts:
            table = Path(place, "scores.parquet")
            _headstart(place, "score", "strangers@champion", str(photos), "--out", str(table))
            scores = pd.read_parquet(table)
            answered = np.stack(scores["probabilities"].to_numpy())
            answers.write(file, list(scores["uri"]), answered, outcome["classes"], seconds, size)
        print(outcome["rung"], json.dumps(outcome["metrics"]))


def _headstart(place: str, *words: str) -> str:
    """The last line that a command prints, in the home of this run."""
    command = [str(Path(sys.executable).with_name("headstart")), *words, "--home", f"{place}/home"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    typer.run(main)
