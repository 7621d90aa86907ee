"""Shows that a home of an older version is upgraded and used; about 10 minutes on 2 cores for each.

    git worktree add --detach ../older c3c27d6 && (cd ../older && uv sync --locked)
    uv run python -m tests.acceptance.upgrade ../older/.venv/bin/headstart

The older command makes a home: two versions, a promotion, a rollback, a corrected label, scores. Then this one does
in that home all that it can do. Each line is one command, with its exit code, its seconds and what it said.
"""

import csv
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.acceptance.shown import BIN, ROOT, ended

sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them

import helpers
from trouble import attacks

EXTRA = '[ladder]\nstart_at = "head"\nstop_at = "head"\n[transfer_check]\nenabled = false\n[retrain]\nmin_new = 4\n'
OURS = BIN / "headstart"
#: Answers of two versions of TensorFlow may differ in the last digits.
CLOSE = 1e-4


class Home:
    """A home, the photos and the recipe beside it, and what every command in it came to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.failed = folder, 0
        (folder / "r.toml").write_text(helpers.recipe(folder / "photos", extra=EXTRA, folds_below=""))

    def run(self, command: Path, *words: str, codes: tuple[int, ...] = (0,), machine: bool = True) -> Any:
        """What a command answers, a list of its lines of JSON; a line of ours says how it went."""
        line = [str(command), *words, "--home", str(self.folder / "home"), *(["--json"] if machine else [])]
        done = ended(line, cwd=self.folder, env=helpers.outside())
        holds = done.code in codes and "Traceback" not in done.err
        self.failed += not holds
        whose = "this one" if command == OURS else "the older"
        found = []
        for each in done.out.splitlines():
            with suppress(ValueError):
                found.append(json.loads(each))
        said = _computed(found) or (done.err.strip() or done.out.strip() or "nothing").splitlines()[-1][:200]
        figure = f"exit code {done.code}, {done.seconds:.0f} s, {done.megabytes:.0f} MB"
        print(f"{'holds' if holds else 'FALLS SHORT'}  {whose}: {' '.join(words)}: {figure}; {said}", flush=True)
        if not holds:
            print(done.err[-2000:], flush=True)
        return found

    def predictions(self, command: Path) -> list[tuple[str, float]]:
        """Label and probability of some photos by both versions."""
        photos = [str(file) for file in sorted((self.folder / "photos").rglob("* 1.png"))]
        answers = [one for version in ("1", "2") for one in self.run(command, "predict", f"colours/{version}", *photos)]
        return [(one["label"], one["probability"]) for one in answers]

    def same(self, before: list[tuple[str, float]], after: list[tuple[str, float]]) -> None:
        """A line that says whether the versions answer as before."""
        far = max((abs(one[1] - other[1]) for one, other in zip(before, after, strict=True)), default=1.0)
        holds = far <= CLOSE and [one[0] for one in before] == [one[0] for one in after]
        self.failed += not holds
        print(f"{'holds' if holds else 'FALLS SHORT'}  {len(before)} predictions as before, to within {far:.1e}")


def make(home: Home, older: Path) -> None:
    """Two versions, moved about; a corrected label; scores."""
    helpers.photos(home.folder / "photos", each=16)
    (found,) = home.run(older, "train", "r.toml")[-1:]
    helpers.photos(home.folder / "photos", each=24)
    _correct(home, found["audit"]["suspects_table"])
    home.run(older, "labels", "apply", "mine.csv")
    home.run(older, "train", "r.toml")
    home.run(older, "promote", "colours", "2", "--why", "newer", "--force")
    home.run(older, "rollback", "colours", "--why", "worse")
    home.run(older, "score", "colours@champion", "photos", "--out", "before.parquet")


def use(home: Home) -> None:
    """All that this version can do in the home."""
    home.run(OURS, "doctor", machine=False, codes=(0, 3))
    home.run(OURS, "doctor", "--repair", machine=False, codes=(0, 3))
    home.run(OURS, "models")
    home.run(OURS, "models", "colours")
    home.run(OURS, "store", "check")
    home.run(OURS, "verify")
    (home.folder / "frames.gif").write_bytes(attacks.many_frames())
    home.run(OURS, "predict", "colours/1", "frames.gif")
    home.run(OURS, "labels", "list")
    home.run(OURS, "store", "prune")
    home.run(OURS, "score", "colours@champion", "photos", "--out", "after.parquet")
    home.run(OURS, "retrain", "r.toml", codes=(0, 1))
    home.run(OURS, "train", "r.toml")
    home.run(OURS, "train", "r.toml")
    helpers.photos(home.folder / "photos", each=30)
    home.run(OURS, "retrain", "r.toml", codes=(0, 1))
    home.run(OURS, "train", "r.toml")
    home.run(OURS, "promote", "colours", "2", "--why", "newer", "--force")
    home.run(OURS, "rollback", "colours", "--why", "worse")
    home.run(OURS, "export", "colours/1", "--format", "saved_model", "--to", "exported")
    home.run(OURS, "labels", "undo", "mine.csv")
    home.run(OURS, "store", "prune", "--yes")
    home.run(OURS, "models", "colours")
    home.run(OURS, "verify")
    home.run(OURS, "store", "check")


def _computed(found: list[Any]) -> str:
    """Which stages a run computed, where the answer is that of a run."""
    stages = found[-1].get("stages") if found and isinstance(found[-1], dict) else None
    new = [name for name, stage in (stages or {}).items() if not stage["cached"]]
    return f"computed {', '.join(new) or 'nothing'}" if stages else ""


def _correct(home: Home, table: str) -> None:
    """A table of suspects with one label filled in."""
    with Path(table.removeprefix("file://")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["corrected"] = rows[0]["suggested"]
    with (home.folder / "mine.csv").open("w", newline="") as file:
        table_of = csv.DictWriter(file, rows[0])
        table_of.writeheader()
        table_of.writerows(rows)


def main() -> None:
    """Make the home with the command that is given, and use it; exit code 1 for trouble."""
    older, home = Path(sys.argv[1]).absolute(), Home(Path(tempfile.mkdtemp(prefix="headstart-upgrade-")))
    make(home, older)
    before = home.predictions(older)
    use(home)
    home.same(before, home.predictions(OURS))
    raise SystemExit(bool(home.failed))


if __name__ == "__main__":
    main()
