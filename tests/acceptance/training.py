"""Shows what training must do, a line and its figure each: about two hours on 2 cores, most of it the first line.

uv run python -m tests.acceptance.training [NUMBER …]
"""

import tempfile
from pathlib import Path

from tests.acceptance.shown import Shown, headstart, main, tests

SEEDS = (0, 1, 2)
PROOFS = ("tests/flows/test_train.py", "tests/flows/test_endings.py", "tests/unit/training/test_training.py")


def best() -> Shown:
    """elpv_best, mean over three seeds: accuracy at least 0.885, ROC AUC 0.93, each in at most 20 minutes."""
    found = [headstart("train", "elpv_best", "--set", f"seed={seed}", home=_new()) for seed in SEEDS]
    accuracy, auc = (sum(a["metrics"][name] for a, _ in found) / len(found) for name in ("accuracy", "roc_auc"))
    each = "; ".join(f"{a['metrics']['accuracy']:.4f}, {a['metrics']['roc_auc']:.4f}, {s:.0f} s" for a, s in found)
    held = accuracy >= 0.885 and auc >= 0.93 and all(seconds <= 1200 for _, seconds in found)
    return held, f"accuracy {accuracy:.4f}, ROC AUC {auc:.4f} ({each})"


def default() -> Shown:
    """elpv from nothing: under 4 minutes, accuracy at least 0.86."""
    answer, seconds = headstart("train", "elpv", home=_new())
    accuracy = answer["metrics"]["accuracy"]
    return seconds < 240 and accuracy >= 0.86, f"{seconds:.0f} s, accuracy {accuracy:.4f}"


def comparisons() -> Shown:
    """headstart compare on ELPV and on digits: figures, and verdicts in words."""
    held, figures = True, []
    for name in ("elpv", "digits"):
        answer, seconds = headstart("compare", name)
        figure = Path(answer["figure"].removeprefix("file://"))
        held = held and figure.is_file() and answer["transfer"] != "unknown"
        figures.append(f"{name} ({seconds:.0f} s): {answer['verdict']}")
    return held, " | ".join(figures)


def search() -> Shown:
    """50 Optuna trials on ELPV's stored features in at most 90 s."""
    answer, _ = headstart("train", "elpv", "--set", "tune.enabled=true", "--set", "ladder.stop_at=head")
    seconds = answer["stages"]["tune"]["seconds"]
    return seconds <= 90, f"{seconds:.0f} s"


def proof() -> Shown:
    """What is frozen stays frozen on every rung; the documented idiom, planted, fails the stage."""
    return tests(*PROOFS, "-k", "idiom or frozen or rung")


def _new() -> Path:
    return Path(tempfile.mkdtemp(prefix="headstart-acceptance-"))


if __name__ == "__main__":
    main([best, default, comparisons, search, proof])
